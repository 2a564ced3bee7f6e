"""Raw OULAD tables: the real ones, ingested once, and a small one with hand-made rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.ingest import ingest
from components.join_features import join_features
from learnloop.artifacts import Examples, Records
from learnloop.component import CodeReference, Context
from pipelines.learner_outcome.enrolments import enrolments
from pipelines.learner_outcome.pipeline import SERVICE

Tables = dict[str, Path]


def make_examples(records: Records, folder: Path, **parameters: Any) -> Examples:
    """What the pipeline learns from: enrolments, with their features from the feature view."""
    entities, examples = (Examples.create(folder / name) for name in ("entities", "examples"))
    features = Records.create(folder / "features")
    enrolments.function(records, entities, features, **parameters)
    join_features.function(entities, features, examples, service=CodeReference(SERVICE))
    return examples


@pytest.fixture(scope="session")
def real_records(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Records:
    """The whole of OULAD, read by the ingest component."""
    folder = tmp_path_factory.mktemp("oulad")
    (folder / "scratch").mkdir()
    records, quarantine = (Records.create(folder / name) for name in ("records", "quarantine"))
    context = Context.for_test(folder / "scratch")
    source = str(real_data / "oulad")
    ingest.function(records, quarantine, source=source, layout="oulad", context=context)
    assert quarantine.counts == {"rejected": 0}
    return records


@pytest.fixture(scope="session")
def real_tables(real_records: Records) -> Tables:
    return {name: real_records.file(name) for name in real_records.names}
