"""The commands of the online store, as people type them."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from feature_store.command import features_commands
from feature_store.store import FeatureStore
from learnloop.errors import UsageError
from tests.feature_store.online.school import NOW, ago, attempt, write_activity


@pytest.fixture
def typed(local_school: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> FeatureStore:
    """The project whose commands are typed."""
    monkeypatch.setattr("feature_store.store.FeatureStore", lambda: local_school)
    write_activity("a", [{"learner": 7, "happened_at": ago(days=1), "clicks": 3, "score": 0.5}])
    return local_school


def run(*words: str) -> str:
    done = CliRunner().invoke(features_commands, words)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_materialize_and_get(typed: FeatureStore) -> None:
    (done,) = json.loads(run("materialize", "--view", "activity", "--end", str(NOW), "--json"))
    assert (done["view"], done["rows"], done["start"]) == ("activity", 1, None)
    assert done["watermark"] == NOW.isoformat()
    assert "activity" in run("materialize-incremental")
    found = run("get", "activity:clicks", "activity:score", "--entity", "learner=7", "--json")
    assert json.loads(found) == {
        "values": {"clicks": 3, "score": 0.5},
        "statuses": {"activity": "PRESENT"},
    }
    told = run("get", "tutor", "--entity", "learner=8", "--entity", "skill=sums")
    assert "attempts: NOT_FOUND\nactivity: NOT_FOUND" in told


def test_push_and_compact(typed: FeatureStore, tmp_path: Path) -> None:
    run("materialize", "--view", "attempts")
    for number in range(3):
        rows = pa.Table.from_pylist([attempt(number, 7, "sums", number, ago(hours=9 - number))])
        parquet.write_table(rows, tmp_path / "rows.parquet")
        told = run("push", "attempt_stream", str(tmp_path / "rows.parquet"))
        assert told == "1 of 1 rows are new; online: attempts\n"
    assert json.loads(run("compact", "--json")) == {"attempt_stream": 3}
    found = run("get", "attempts", "--entity", "learner=7", "--entity", "skill=sums", "--json")
    assert json.loads(found)["values"] == {"count": 2, "correct": 1.0}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("materialize", "--start", "yesterday"),
            "A date is not written as ISO 8601 writes it.\n"
            "  where:    --start\n"
            "  expected: 2014-10-01, or 2014-10-01T04:00:00+00:00\n"
            "  received: 'yesterday'",
        ),
        (
            ("get", "activity", "--entity", "lerner=7"),
            "This names no join key of what is asked for.\n"
            "  where:    --entity\n"
            "  expected: did you mean 'learner=…'?\n"
            "  received: 'lerner'",
        ),
        (
            ("get", "activity", "--entity", "learner=seven"),
            "A value of 'learner' is not of its type.\n"
            "  where:    --entity\n"
            "  expected: int64\n"
            "  received: text",
        ),
    ],
)
def test_words_that_do_not_fit(typed: FeatureStore, words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        run(*words)
    assert str(raised.value) == message


def test_rows_that_are_no_parquet(typed: FeatureStore, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("learner,skill\n")
    with pytest.raises(UsageError) as raised:
        run("push", "attempt_stream", str(file))
    assert raised.value.what == "The rows cannot be read."
    assert raised.value.where == str(file)
