"""Raw OULAD tables: the real ones, ingested once, and a small one with hand-made rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.ingest import ingest
from learnloop.artifacts import Records
from learnloop.component import Context

Tables = dict[str, Path]


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
