"""Columns of the log: every kind of array, subjects, digests, and reading them back."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays

from feature_store.pseudonyms import PseudonymKey
from learnloop.errors import LearnLoopError, UsageError
from serving.prediction_log import (
    LogSettings,
    PredictionLog,
    prediction_batches,
    read_predictions,
)
from serving.prediction_log.columns import Layout, Note, arrow_of, score_of
from tests.serving.prediction_log.notes import ADA, BOB, KEY, answered

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def note(moment: datetime = NOON, **told: Any) -> Note:
    return Note(time=moment.timestamp(), **answered(**told))


def laid_out(*notes: Note, key: PseudonymKey = KEY, keeps_features: bool = True) -> pa.Table:
    layout = Layout(key, 1.0, keeps_features=keeps_features)
    return pa.Table.from_batches([layout.batch(notes)])


NUMBERS = st.sampled_from([np.float32, np.float64, np.int64, np.int32, np.uint8, np.bool_])


@st.composite
def requests(draw: st.DrawFn) -> list[np.ndarray[Any, Any]]:
    """Arrays of one dtype and rank, of unlike sizes."""
    dtype, rank = draw(NUMBERS), draw(st.integers(1, 3))
    shapes = st.lists(st.integers(0, 3), min_size=rank, max_size=rank).map(tuple)
    return draw(
        st.lists(shapes.flatmap(lambda shape: arrays.arrays(dtype, shape)), min_size=1, max_size=4)
    )


@settings(max_examples=150, deadline=None)
@given(requests())
def test_numbers_of_any_shape_come_back(given_arrays: list[np.ndarray[Any, Any]]) -> None:
    expected = [row for array in given_arrays for row in array.tolist()]
    np.testing.assert_equal(arrow_of(given_arrays).to_pylist(), expected)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.text(), max_size=3), min_size=1, max_size=3))
def test_texts_come_back(rows: list[list[str]]) -> None:
    found = arrow_of([np.array([text.encode() for text in row], object) for row in rows])
    assert found.to_pylist() == [text for row in rows for text in row]


def test_bytes_that_are_no_text_stay_bytes() -> None:
    found = arrow_of([np.array([[b"\xff", b"a"]], object)])
    assert found.to_pylist() == [[b"\xff", b"a"]]


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ({"probability": [np.array([0.25, 0.5], np.float32)]}, [0.25, 0.5]),
        ({"probability": [np.array([[0.25], [0.5]])]}, [0.25, 0.5]),
        ({"count": [np.array([3]), np.array([4])]}, [3.0, 4.0]),
        (
            {
                "scores": [np.array([[0.75, 0.25]])],
                "classes": [np.array([[b"0", b"1"]], object)],
            },
            [0.25],
        ),
        ({"scores": [np.array([[0.75, 0.25]])]}, [0.25]),
        ({"steps": [np.array([[0.1, 0.2]])]}, None),
        ({"name": [np.array([b"Ada"], object)]}, None),
        ({"one": [np.array([1.0])], "two": [np.array([2.0])]}, None),
    ],
)
def test_the_score(outputs: dict[str, Any], expected: list[float] | None) -> None:
    found = score_of(outputs)
    assert (None if found is None else found.tolist()) == expected


def test_answers_that_are_not_one_number_a_row() -> None:
    steps = {"probability": np.array([[0.5, 0.25, -1.0]])}
    table = laid_out(note(outputs=steps))
    assert table["score"].to_pylist() == [None]
    assert table["answer.probability"].to_pylist() == [[0.5, 0.25, -1.0]]
    assert "answer.probability" not in laid_out(note()).schema.names


@pytest.mark.parametrize(
    ("header", "subjects", "unfit"),
    [
        (None, [None, None], 0),
        (ADA, [ADA, ADA], 0),
        (f"{ADA},{BOB}", [ADA, BOB], 0),
        (f"{ADA}, {BOB}", [ADA, BOB], 0),
        ("learner-28400", [None, None], 2),
        (f"{ADA},28400", [None, None], 2),
        (f"{ADA},{BOB},{ADA}", [None, None], 2),
    ],
)
def test_only_pseudonyms_are_written_down(
    header: str | None, subjects: list[str | None], unfit: int
) -> None:
    layout = Layout(KEY, 1.0, keeps_features=True)
    metadata = {} if header is None else {"x-learnloop-subject": header}
    rows = {
        "inputs": {"x": np.zeros(2)},
        "outputs": {"probability": np.zeros(2)},
        "metadata": metadata,
    }
    batch = layout.batch([note(**rows)])
    assert batch.column(5).to_pylist() == subjects
    assert layout.unfit_subjects == unfit


def test_who_opts_out_leaves_a_digest_only() -> None:
    opted_out = {"x-learnloop-log": "digest"}
    table = laid_out(note(number=7.0, metadata=opted_out), note(number=7.0, metadata=opted_out))
    assert table["feature.x"].to_pylist() == [None, None]
    assert table["feature.course"].to_pylist() == [None, None]
    one, two = table["digest"].to_pylist()
    assert one == two
    assert len(one) == 32
    assert table.schema.equals(laid_out(note()).schema), "they lie in one part with the others"


def test_a_log_without_features_holds_none() -> None:
    table = laid_out(note(number=7.0), note(number=8.0), keeps_features=False)
    assert not [name for name in table.schema.names if name.startswith("feature.")]
    one, two = table["digest"].to_pylist()
    assert one != two
    other_key = laid_out(
        note(number=7.0), key=PseudonymKey("2026", b"j" * 32), keeps_features=False
    )
    assert other_key["digest"].to_pylist() != [one], "nobody finds a row by trying"


def test_a_digest_tells_rows_apart_by_any_column() -> None:
    kept = {"keeps_features": False}
    changes = [
        {},
        {"inputs": {"x": np.array([0.0]), "course": np.array([b"logic"], object)}},
        {"inputs": {"x": np.array([0.0]), "course": np.array([b""], object)}},
        {"inputs": {"x": np.array([1.0]), "course": np.array([b"algebra"], object)}},
    ]
    found = [laid_out(note(**change), **kept)["digest"][0].as_py() for change in changes]  # type: ignore[arg-type]
    assert len(set(found)) == len(found)


def logged(folder: Path, *notes: dict[str, Any], **options: Any) -> None:
    with PredictionLog(LogSettings(folder, flush_seconds=60, **options)) as log:
        for told in notes:
            log(**told)


def test_versions_with_unlike_columns_are_read_together(tmp_path: Path) -> None:
    logged(tmp_path, answered(1.0))
    inputs = {"x": np.array([2], np.int64), "minutes": np.array([[3.0, 4.0]])}
    logged(tmp_path, answered(version=2, inputs=inputs))
    raw = {"inputs": {"x": np.array([5.0]), "course": np.array([b"\xff"], object)}}
    logged(tmp_path, answered(version=3, **raw))
    table = read_predictions(tmp_path, "outcome").sort_by("version")
    assert table["version"].to_pylist() == [1, 2, 3]
    assert table["feature.x"].to_pylist() == [1.0, 2.0, 5.0]
    assert table["feature.minutes"].to_pylist() == [None, [3.0, 4.0], None]
    assert table["feature.course"].to_pylist() == [b"algebra", None, b"\xff"]
    assert read_predictions(tmp_path, "outcome", columns=["score"]).schema.names == ["score"]
    batches = list(prediction_batches(tmp_path, "outcome", columns=["version", "feature.x"]))
    assert sum(batch.num_rows for batch in batches) == 3
    assert {tuple(batch.schema.names) for batch in batches} == {("version", "feature.x")}


def test_columns_of_unlike_types_are_refused(tmp_path: Path) -> None:
    logged(tmp_path, answered(1.0))
    logged(tmp_path, answered(inputs={"x": np.array([b"one"], object)}))
    with pytest.raises(LearnLoopError) as caught:
        read_predictions(tmp_path, "outcome")
    assert caught.value.what == (
        "Two versions of the model have a column 'feature.x' of unlike types."
    )
    assert {caught.value.expected, caught.value.received} == {"double", "string"}


def test_a_span_of_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = [NOON + timedelta(minutes=30 * number) for number in range(6)]
    clock = iter(moments)
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: next(clock).timestamp())
        log = PredictionLog(LogSettings(tmp_path, flush_seconds=60))
        for number in range(6):
            log(**answered(number))
    log.close()

    def found(since: datetime | None, until: datetime | None) -> list[float]:
        table = read_predictions(tmp_path, "outcome", since, until)
        numbers: list[float] = table["feature.x"].to_pylist()
        return numbers

    assert found(None, None) == [0, 1, 2, 3, 4, 5]
    assert found(moments[1], moments[4]) == [1, 2, 3], "the first moment counts, the last does not"
    assert found(moments[3], None) == [3, 4, 5]
    assert found(None, moments[1]) == [0]
    berlin = moments[1].astimezone().replace(tzinfo=moments[1].astimezone().tzinfo)
    assert found(berlin, moments[2]) == [1]
    assert read_predictions(tmp_path, "nobody").num_rows == 0
    assert read_predictions(tmp_path, "nobody").schema.names[0] == "time"


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_predictions(tmp_path / "nowhere", "outcome")
    assert str(caught.value) == (
        "There is no prediction log.\n"
        f"  where:    {tmp_path / 'nowhere'}\n"
        "  expected: the folder that a server logs to\n"
        "  next:     learnloop serve --help"
    )
    with pytest.raises(UsageError) as caught:
        read_predictions(tmp_path, "outcome", since=datetime(2026, 1, 2))
    assert str(caught.value) == (
        "A moment without a time zone is not one moment.\n"
        "  where:    since, until\n"
        "  expected: datetime(…, tzinfo=UTC)\n"
        "  received: 2026-01-02T00:00:00"
    )
    logged(tmp_path, answered(1.0))
    with pytest.raises(UsageError) as caught:
        read_predictions(tmp_path, "outcome", columns=["scor"])
    assert str(caught.value) == (
        "The prediction log has no column 'scor'.\n"
        "  expected: did you mean 'score'?\n"
        "  received: 'scor'"
    )
    (part,) = tmp_path.rglob("*.parquet")
    part.write_bytes(b"PAR1 no part")
    with pytest.raises(LearnLoopError) as damaged:
        read_predictions(tmp_path, "outcome")
    assert damaged.value.what == "A part of the prediction log cannot be read."
    assert damaged.value.where == str(part)
