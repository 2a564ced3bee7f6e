"""The pipelines that fill the feature store, as their READMEs have them run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from feature_store.store import FeatureStore
from learnloop.errors import UsageError
from learnloop.settings import Settings
from messaging.events.schema import part_schema
from pipelines.enrolment_days.pipeline import enrolment_days
from pipelines.learner_outcome.features import FEATURES
from pipelines.practice_histories.pipeline import practice_histories
from simulator import SimulationSettings, simulate

BEGIN = datetime(2026, 3, 1, 9, tzinfo=UTC)


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("school") / "learners"
    simulate(SimulationSettings(attempts=2_000), folder)
    return folder / "oulad"


def look_up(store: FeatureStore, model: str, keys: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return store.get_online_features(model, keys).to_dict()


def enrolled(school: Path) -> list[dict[str, Any]]:
    """Everybody of a presentation, also those who have left."""
    from pyarrow import csv

    rows = csv.read_csv(school / "studentInfo.csv").to_pylist()
    keys = {"code_module": "code_module", "code_presentation": "code_presentation"}
    keys["id_student"] = "learner"
    found = [{name: row[column] for column, name in keys.items()} for row in rows]
    return [row for row in found if row["code_presentation"] == "2014J"]


def test_each_day_of_a_span_is_known(school: Path, settings: Settings, store: FeatureStore) -> None:
    run = enrolment_days.run_in(
        settings, source=str(school), since="2014-10-31T03:00", until="2014-11-02T03:00"
    )
    assert run.status == "done"
    rows = run.artifacts["enrolments_of_days.features"].table("enrolment_day")  # type: ignore[attr-defined]
    days = set(rows["as_of"].to_pylist())
    assert days == {datetime(2014, 11, 1, tzinfo=UTC), datetime(2014, 11, 2, tzinfo=UTC)}
    found = look_up(store, "learner_outcome", enrolled(school))
    last = rows.filter(pa.compute.equal(rows["as_of"], pa.scalar(max(days), rows["as_of"].type)))
    assert sum(clicks is not None for clicks in found["clicks"]) == last.num_rows > 10
    assert sorted(filter(None, found["clicks"])) == sorted(filter(None, last["clicks"].to_pylist()))
    assert set(FEATURES) < set(found)


def test_out_of_term_nothing_is_known_and_nothing_breaks(
    school: Path, settings: Settings, store: FeatureStore
) -> None:
    run = enrolment_days.run_in(settings, source=str(school), until="2012-01-01")
    assert run.status == "done"
    assert run.artifacts["enrolments_of_days.features"].counts == {"enrolment_day": 0}  # type: ignore[attr-defined]


def test_a_span_that_is_none_is_explained(school: Path, settings: Settings) -> None:
    run = enrolment_days.run_in(
        settings, source=str(school), since="2014-11-02", until="2014-11-01"
    )
    assert isinstance(run.error, UsageError)
    assert str(run.error).startswith("The span ends before it begins.")


def attempt(number: int, learner: str, skill: str) -> dict[str, Any]:
    moment = BEGIN + timedelta(minutes=number)
    told = {"at": moment, "recorded_at": moment, "source": "app", "sequence": number}
    return told | {"learner": learner, "skill": skill, "item": None, "correct": number % 2 == 0}


def test_histories_grow_with_the_events(settings: Settings, store: FeatureStore) -> None:
    events = settings.events_folder
    folder = events / "attempt" / "hour=2026-03-01T09"
    folder.mkdir(parents=True)
    learners = [{"learner": "ada"}, {"learner": "bo"}, {"learner": "nobody"}]
    told = [[attempt(1, "ada", "sums"), attempt(2, "bo", "sums")], [attempt(3, "ada", "fractions")]]
    for number, rows in enumerate(told):
        table = pa.Table.from_pylist(rows, part_schema("attempt"))
        parquet.write_table(table, folder / f"{number}.parquet")
        run = practice_histories.run_in(settings, source=str(events))
        assert run.status == "done", run.error
        found = look_up(store, "knowledge_tracing", learners)
        expected = ["sums"] if number == 0 else ["sums", "fractions"]
        assert found["skills"] == [expected, ["sums"], None]
    assert found["responses"] == [[0, 0], [1], None]
