"""Drift against earlier data: which statistics are the reference, and when there are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from components.champion import open_registry
from components.reference import find_reference, load_reference
from components.statistics import statistics
from components.validate import validate
from learnloop.artifacts import Evaluation, Examples, PublishedModel, Statistics
from learnloop.component import Input, Output, component
from learnloop.ledger import open_ledger
from learnloop.pipeline import pipeline
from learnloop.runner import Run
from learnloop.settings import Settings
from serving.registry import CHAMPION, DIGEST_TAG, RUN_TAG

pytestmark = pytest.mark.xdist_group("publishing")


@component
def term(examples: Output[Examples], *, shift: float) -> None:
    """Make the rows of a term."""
    random = np.random.default_rng(1)
    rows = {"score": random.normal(60 + shift, 15, 3_000), "minutes": random.normal(30, 5, 3_000)}
    examples.write("train", pa.table(rows))


@component
def publish(report: Input[Evaluation], published: Output[PublishedModel]) -> None:
    """Stand for the steps from training to a published model."""
    published.write({"verdict": report.load()})


@component
def sign_off(statistics: Input[Statistics], report: Output[Evaluation]) -> None:
    """Take the statistics as training does, by another name than the gate's output has."""
    report.write({"rows": statistics.metadata["rows"]["train"]})


@pipeline
def watched(
    shift: float = 0.0, is_published: bool = True, refuse_on: tuple[str, ...] = ("tfdv",)
) -> None:
    """Judge a term against the terms before it."""
    rows = term(shift=shift)
    described = statistics(rows.examples)
    earlier = load_reference(described.statistics, name="watched")
    validate(described.statistics, rows.examples, earlier.reference, refuse_on=refuse_on)
    if is_published:
        publish(sign_off(described.statistics).report)


def run(settings: Settings, **parameters: Any) -> Run:
    ended = watched.run_in(settings, **parameters)
    assert ended.status == "done", ended.error
    return ended


def statuses(ended: Run) -> dict[str, str]:
    return {name: result.status for name, result in ended.results.items()}


def drift(ended: Run) -> list[tuple[str, bool, str]]:
    """Column, whether it passed, and how grave it is, of every comparison with the reference."""
    checks = ended.artifacts["validate.report"].load()["checks"]
    found = [(c["column"], c["passed"], c["severity"]) for c in checks if c["source"] == "drift"]
    return sorted(found)


ALL_CACHED = dict.fromkeys(
    ("term", "statistics", "load_reference", "validate", "sign_off", "publish"), "cached"
)


def test_a_term_is_held_against_the_one_published_before(settings: Settings) -> None:
    first = run(settings)
    assert "load_reference.reference" not in first.artifacts
    assert drift(first) == []
    assert statuses(run(settings)) == ALL_CACHED, "its own statistics are no earlier data"

    second = run(settings, shift=20.0)
    found = second.artifacts["load_reference.reference"].content_digest()
    assert found == first.artifacts["statistics"].content_digest()
    assert drift(second) == [("minutes", True, "warning"), ("score", False, "warning")]
    (check,) = [c for c in second.artifacts["validate.report"].load()["checks"] if not c["passed"]]
    assert check["what"] == "The column has drifted away from earlier data."
    assert check["figures"]["formula"] == (
        "H((p + q) / 2) - (H(p) + H(q)) / 2 in bits, over quantile bins"
    )
    assert check["figures"]["distance"] > 0.15 > check["figures"]["threshold"]
    assert statuses(run(settings, shift=20.0)) == ALL_CACHED, "the one before stays the reference"

    again = run(settings)
    found = again.artifacts["load_reference.reference"].content_digest()
    assert found == second.artifacts["statistics"].content_digest()


def test_drift_refuses_where_the_author_says_so(settings: Settings) -> None:
    run(settings)
    ended = watched.run_in(settings, shift=20.0, refuse_on=("tfdv", "drift"))
    assert ended.status == "refused"
    (reason,) = ended.results["validate"].reasons
    assert reason.startswith(
        "train.score: The column has drifted away from earlier data (expected Jensen-Shannon "
        "divergence from the reference of at most 0.05667; received 0."
    )


def test_a_run_that_published_nothing_is_no_reference(settings: Settings) -> None:
    run(settings, is_published=False)
    assert "load_reference.reference" not in run(settings, shift=20.0).artifacts


def register(settings: Settings, folder: Path, run_id: str) -> None:
    """Make a version that a run registered, and the champion."""
    registry = open_registry(settings)
    client = registry.client()
    tags = {RUN_TAG: run_id, DIGEST_TAG: "0"}
    if not client.search_registered_models("name = 'watched'"):
        client.create_registered_model("watched")
    version = client.create_model_version("watched", folder.as_uri(), tags=tags).version
    registry.set_alias("watched", CHAMPION, str(version))


def test_the_champions_data_is_the_reference_wherever_the_last_run_was(
    settings: Settings, tmp_path: Path
) -> None:
    champion = run(settings)
    run(settings, shift=5.0)
    register(settings, tmp_path, champion.id)
    third = run(settings, shift=20.0)
    found = third.artifacts["load_reference.reference"].content_digest()
    assert found == champion.artifacts["statistics"].content_digest()
    assert statuses(run(settings, shift=20.0)) == ALL_CACHED

    # The alias moves to the newest: the same command has no earlier data, and is judged anew.
    register(settings, tmp_path, third.id)
    moved = run(settings, shift=20.0)
    assert statuses(moved) == ALL_CACHED | {"load_reference": "done", "validate": "done"}
    assert "load_reference.reference" not in moved.artifacts

    # A champion of another ledger is nothing to be found here: the last published run is.
    register(settings, tmp_path, "a run of another place")
    own = third.artifacts["statistics"].content_digest()
    record = find_reference("watched", own, settings)
    assert record is not None
    ledger = open_ledger(settings.ledger_url)
    maker = ledger.producer(record.id)
    assert ledger.run(maker.run_id).parameters["shift"] == 5.0
