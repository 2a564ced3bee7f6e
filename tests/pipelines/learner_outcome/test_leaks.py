"""The leaks of the real OULAD, each shown closed from raw rows on.

Rows that were not known on the day, or may not be known at all, are falsified in the raw tables;
the features of every enrolment must stay equal to the bit. Clicks, of which there are ten million,
are thinned out to those of two modules except where they are what is falsified.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as parquet
import pytest

from learnloop.artifacts import Records
from pipelines.learner_outcome.features import FEATURES, LABEL, SLICES, enrolment_features
from tests.pipelines.learner_outcome.conftest import make_examples

pytestmark = pytest.mark.xdist_group("real oulad")
DAY = 60
JUDGED = ("2014J",)
Tables = dict[str, Path]
Change = Callable[[pa.Table], pa.Table]


@pytest.fixture(scope="module")
def tables(real_tables: Tables, tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """The raw tables, with the clicks of two modules only."""
    file = tmp_path_factory.mktemp("thinned") / "studentVle.parquet"
    wanted = [("code_module", "in", ["AAA", "BBB"]), ("code_presentation", "in", JUDGED)]
    clicks = parquet.read_table(real_tables["studentVle"], filters=wanted)
    parquet.write_table(clicks, file)
    return {**real_tables, "studentVle": file}


@pytest.fixture(scope="module")
def known(tables: Tables) -> pa.Table:
    """The test presentation's enrolments, from the raw tables as they are."""
    return enrolment_features(tables, JUDGED, DAY)


@pytest.fixture
def falsified(tables: Tables, tmp_path: Path) -> Callable[..., pa.Table]:
    """Computes the enrolments from raw tables of which one was changed."""

    def compute(table: str, change: Change, **options: Any) -> pa.Table:
        file = tmp_path / f"{table}.parquet"
        changed = change(parquet.read_table(tables[table]))
        parquet.write_table(changed, file, compression="none")
        return enrolment_features({**tables, table: file}, JUDGED, DAY, **options)

    return compute


def put(table: pa.Table, column: str, values: Any, where: Any = None) -> pa.Table:
    """Replace a column's values, everywhere or where a condition holds."""
    place = table.schema.get_field_index(column)
    field = table.schema.field(column).with_nullable(True)
    new = pa.scalar(values, field.type) if not isinstance(values, pa.ChunkedArray) else values
    if where is not None:
        new = pc.if_else(pc.fill_null(where, False), new, table[column])
    elif isinstance(new, pa.Scalar):
        new = pa.array([values] * table.num_rows, field.type)
    return table.set_column(place, field, new.cast(field.type))


def inputs(table: pa.Table) -> pa.Table:
    return table.select(["learner", "code_module", *FEATURES])


def enrolments(table: pa.Table, learner: str = "learner") -> list[tuple[int, str]]:
    columns = (table[learner].to_pylist(), table["code_module"].to_pylist())
    return list(zip(*columns, strict=True))


def late(table: pa.Table, column: str) -> Any:
    return pc.greater(table[column], DAY)


def test_the_protocol_is_reproduced(real_records: Records, tmp_path: Path) -> None:
    examples = make_examples(real_records, tmp_path)
    tables = {name: examples.table(name) for name in examples.names}
    training = pa.concat_tables([tables["train"], tables["validation"]])
    assert training.num_rows == 17_525
    assert tables["test"].num_rows == 8_728
    assert round(pc.mean(training[LABEL]).as_py(), 3) == 0.434
    assert round(pc.mean(tables["test"][LABEL]).as_py(), 3) == 0.375
    assert set(training["code_presentation"].to_pylist()) == {"2013B", "2013J", "2014B"}
    assert set(tables["test"]["code_presentation"].to_pylist()) == {"2014J"}
    learners = {name: set(table["learner"].to_pylist()) for name, table in tables.items()}
    assert learners["train"].isdisjoint(learners["validation"])
    assert (
        0.14 < len(learners["validation"]) / len(learners["train"] | learners["validation"]) < 0.16
    )
    known_before = learners["train"] | learners["validation"]
    assert sum(map(known_before.__contains__, tables["test"]["learner"].to_pylist())) == 1_148
    for table in tables.values():
        for name in FEATURES:
            assert np.isfinite(table[name].to_numpy()).all()


FUTURE: dict[str, tuple[str, Change]] = {
    "marks of assessments submitted after the day": (
        "studentAssessment",
        lambda table: put(table, "score", 100.0, late(table, "date_submitted")),
    ),
    "assessments submitted after the day": (
        "studentAssessment",
        lambda table: table.filter(pc.invert(late(table, "date_submitted"))),
    ),
    "assessments due by the day and submitted after it": (
        "studentAssessment",
        lambda table: put(table, "date_submitted", 61, late(table, "date_submitted")),
    ),
    "the day of a later withdrawal": (
        "studentRegistration",
        lambda table: put(table, "date_unregistration", 61, late(table, "date_unregistration")),
    ),
    "banked marks": (
        "studentAssessment",
        lambda table: put(table, "score", 0.0, pc.equal(table["is_banked"], 1)),
    ),
    "banked submissions": (
        "studentAssessment",
        lambda table: table.filter(pc.equal(table["is_banked"], 0)),
    ),
    "registrations after the day": (
        "studentRegistration",
        lambda table: put(table, "date_registration", 200, late(table, "date_registration")),
    ),
}


@pytest.mark.parametrize("name", FUTURE)
def test_what_was_not_known_on_the_day_changes_nothing(
    name: str, known: pa.Table, falsified: Callable[..., pa.Table]
) -> None:
    table, change = FUTURE[name]
    assert falsified(table, change).equals(known)


def test_clicks_after_the_day_change_nothing(real_tables: Tables, tmp_path: Path) -> None:
    """All clicks of the presentation, those of every module."""
    files = []
    clicks = parquet.read_table(
        real_tables["studentVle"], filters=[("code_presentation", "in", JUDGED)]
    )
    falsified = put(clicks, "sum_click", 9_999, late(clicks, "date"))
    new_sites = pa.chunked_array([pa.array(np.arange(clicks.num_rows), pa.int32())])
    falsified = put(falsified, "id_site", new_sites, late(clicks, "date"))
    for rows in (clicks, falsified):
        files.append(tmp_path / f"{len(files)}.parquet")
        parquet.write_table(rows, files[-1], compression="none")
    before, after = (
        enrolment_features({**real_tables, "studentVle": file}, JUDGED, DAY) for file in files
    )
    assert after.equals(before)


def test_what_was_known_on_the_day_does_change_the_features(
    known: pa.Table, falsified: Callable[..., pa.Table]
) -> None:
    """The control: the same falsifications one day earlier are seen."""
    for table, column, value, date in (
        ("studentVle", "sum_click", 9_999, "date"),
        ("studentAssessment", "score", 0.0, "date_submitted"),
    ):
        changed = falsified(
            table,
            lambda rows, column=column, value=value, date=date: put(
                rows, column, value, pc.equal(rows[date], DAY)
            ),
        )
        assert changed.num_rows == known.num_rows
        assert not inputs(changed).equals(inputs(known))


def test_the_end_of_the_course_reaches_the_label_alone(
    known: pa.Table, falsified: Callable[..., pa.Table], real_tables: Tables
) -> None:
    """With everybody passing, only those whose withdrawal has no date appear beside the others."""
    changed = falsified("studentInfo", lambda table: put(table, "final_result", "Pass"))
    assert set(changed[LABEL].to_pylist()) == {0}
    keys = {tuple(row.values()) for row in known.select(["learner", "code_module"]).to_pylist()}
    is_old = pa.array(
        [
            tuple(row.values()) in keys
            for row in changed.select(["learner", "code_module"]).to_pylist()
        ]
    )
    assert inputs(changed.filter(is_old)).equals(inputs(known))
    undated = _join(real_tables).filter(
        (pc.field("final_result") == "Withdrawn")
        & pc.is_null(pc.field("date_unregistration"))
        & (pc.field("code_presentation") == "2014J")
        & (pc.field("date_registration") <= DAY)
    )
    assert changed.num_rows - known.num_rows == undated.num_rows > 0


def test_learners_who_left_by_the_day_or_are_not_registered_are_no_examples(
    known: pa.Table, real_tables: Tables
) -> None:
    everyone = _join(real_tables).filter(pc.field("code_presentation") == "2014J")
    left = everyone.filter(pc.field("date_unregistration") <= DAY)
    unregistered = everyone.filter(pc.is_null(pc.field("date_registration")))
    later = everyone.filter(pc.field("date_registration") > DAY)
    for table in (left, unregistered, later):
        assert set(enrolments(known)).isdisjoint(enrolments(table, "id_student"))
    assert left.num_rows > 1_000
    assert unregistered.num_rows > 0


def _join(tables: Tables) -> pa.Table:
    keys = ["code_module", "code_presentation", "id_student"]
    info = parquet.read_table(tables["studentInfo"], columns=[*keys, "final_result"])
    return info.join(parquet.read_table(tables["studentRegistration"]), keys)


def test_marks_are_unknown_while_they_are_being_marked(
    known: pa.Table, falsified: Callable[..., pa.Table], tables: Tables
) -> None:
    def spoil(table: pa.Table) -> pa.Table:
        return put(table, "score", 0.0, pc.greater(table["date_submitted"], DAY - 14))

    lagged = enrolment_features(tables, JUDGED, DAY, marking_days=14)
    assert falsified("studentAssessment", spoil, marking_days=14).equals(lagged)
    assert not falsified("studentAssessment", spoil).equals(known)
    assert lagged["submitted_share"].equals(known["submitted_share"])
    assert not lagged["mean_score"].equals(known["mean_score"])


def test_missing_marks_are_neither_zero_nor_an_error(
    known: pa.Table, falsified: Callable[..., pa.Table]
) -> None:
    changed = falsified(
        "studentAssessment", lambda table: table.filter(pc.is_valid(table["score"]))
    )
    for name in ("mean_score", "last_score"):
        assert changed[name].equals(known[name])


def test_protected_attributes_reach_no_input(
    known: pa.Table, falsified: Callable[..., pa.Table]
) -> None:
    attributes = ["gender", "age_band", "imd_band", "disability", "region"]

    def hide(table: pa.Table) -> pa.Table:
        for attribute in attributes:
            table = put(table, attribute, "other")
        return table

    changed = falsified("studentInfo", hide)
    assert set(attributes) < set(SLICES)
    assert {value for name in attributes for value in changed[name].to_pylist()} == {"other"}
    assert inputs(changed).equals(inputs(known))
