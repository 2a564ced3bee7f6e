"""What is too old goes, whatever it is, but of people who are held."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import sqlalchemy as sa

from feature_store.pushed import live_parts
from feature_store.store import FeatureStore
from learnloop.errors import UsageError
from learnloop.garbage import collect_garbage
from learnloop.ledger import open_ledger
from learnloop.ledger.tables import runs
from learnloop.settings import Retention, Settings, load_settings
from privacy.holds import hold_person, holds, release_person
from privacy.person import open_person
from privacy.retention import Retained, enforce_retention
from tests.privacy.quick import OTHER, THEM, run, write_source
from tests.privacy.school import FEATURE_VIEWS, collect_events

NUMBERS = {THEM: "4711", OTHER: "4712"}
"""Learners of the feature view, whose key is a number."""


@pytest.fixture
def kept(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Events, predictions, pushed rows and a run of two learners, all of ten days ago."""
    monkeypatch.setenv("LEARNLOOP_PSEUDONYM_KEYS", "2026:" + "k" * 32)
    project = settings.home_folder.parent
    package = project / f"views_{tmp_path.name}"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "feature_views.py").write_text(FEATURE_VIEWS)
    (project / "learnloop.toml").write_text(
        f'features = ["{package.name}"]\n[retention]\nevents = "9d"\nartifacts = "9d"\n'
        'features = "9d"\npredictions = "9d"\n'
    )
    found = load_settings()
    then = datetime.now(UTC) - timedelta(days=10)
    collect_events(found.events_folder, [THEM, OTHER])
    write_predictions(found, then)
    store = FeatureStore(found)
    store.apply()
    store.materialize(None, then)
    rows = [{"learner": int(NUMBERS[who]), "attempts": 1, "at": then} for who in (THEM, OTHER)]
    store.push("practice_stream", [*rows, {**rows[0], "at": datetime.now(UTC)}])
    for name in (THEM, OTHER):
        source = write_source(tmp_path / name, without={THEM: OTHER, OTHER: THEM}[name])
        run(found, source)
    with open_ledger(found.ledger_url).transaction() as connection:
        connection.execute(sa.update(runs).values(started=then))
    yield found
    store.online_stores[0].close()


def write_predictions(settings: Settings, at: datetime) -> None:
    """Write a part of the log as the log writes it."""
    from serving.prediction_log.columns import base_schema

    subjects = [open_person(who).pseudonyms[0] for who in (THEM, OTHER)]
    known = {"time": [at] * 2, "subject": subjects, "model": ["m"] * 2, "version": [1] * 2}
    columns = {
        field.name: known.get(field.name, ["" if pa.types.is_string(field.type) else 0] * 2)
        for field in base_schema()
    }
    folder = settings.predictions_folder / "model=m" / f"date={at:%Y-%m-%d}" / f"hour={at:%H}"
    folder.mkdir(parents=True)
    parquet.write_table(pa.table(columns, schema=base_schema()), folder / "a.parquet")


def removed(done: list[Retained]) -> dict[str, int]:
    return {one.what: one.removed for one in done}


ALL = {"events": 4, "predictions": 2, "features": 2, "artifacts": 2}


def test_what_is_too_old_goes(kept: Settings) -> None:
    planned = enforce_retention(kept, dry_run=True)
    assert removed(planned) == ALL
    assert {one.period for one in planned} == {"9d"}
    assert removed(enforce_retention(kept, dry_run=True)) == ALL, "nothing was changed"
    assert enforce_retention(kept) == planned
    assert removed(enforce_retention(kept)) == dict.fromkeys(ALL, 0)
    (part,) = [file for _, file in live_parts(kept.home_folder.parent / "features/practice")]
    assert parquet.read_table(part)["learner"].to_pylist() == [4711], "a row of today stays"


def test_what_is_young_or_has_no_period_stays(kept: Settings) -> None:
    young = kept.model_copy(
        update={"retention": Retention(events="4000d", predictions="11d", artifacts="11d")}
    )
    done = enforce_retention(young)
    assert removed(done) == dict.fromkeys(ALL, 0)
    assert [one.period for one in done] == ["4000d", "11d", "", "11d"]


def test_who_is_held_stays_until_they_are_released(kept: Settings) -> None:
    ledger = open_ledger(kept.ledger_url)
    for name in (THEM, NUMBERS[THEM]):
        hold_person(ledger, open_person(name), "case 17")
    assert [one.reason for one in holds(ledger)] == ["case 17"] * 2
    collected = collect_garbage(kept, keep_days=0, keep_runs=0, dry_run=True)
    assert collected.runs == 1, "no collection of garbage takes what is held"
    half = {what: count // 2 for what, count in ALL.items()}
    assert removed(enforce_retention(kept, dry_run=True)) == half
    assert removed(enforce_retention(kept)) == half
    assert removed(enforce_retention(kept)) == dict.fromkeys(ALL, 0)
    release_person(ledger, open_person(THEM), "it has ended")
    release_person(ledger, open_person(NUMBERS[THEM]), "it has ended")
    assert holds(ledger) == []
    assert removed(enforce_retention(kept)) == half
    with pytest.raises(UsageError) as nobody:
        release_person(ledger, open_person(THEM), "again")
    assert str(nobody.value) == (
        "This learner is not held.\n  where:    LEARNER\n  next:     learnloop hold lists the holds"
    )


def test_a_period_is_days(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    toml = settings.home_folder.parent / "learnloop.toml"
    toml.write_text('[retention]\nevents = "a year"\n')
    with pytest.raises(UsageError) as unfit:
        load_settings()
    assert unfit.value.received == "'a year'"
    assert unfit.value.what.startswith("Setting 'retention.events' does not fit:")
