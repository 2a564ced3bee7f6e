"""Features of a few hand-made enrolments, worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from components.engines.readers.oulad import table_schema
from pipelines.learner_outcome.features import FEATURES, LABEL, SLICES, enrolment_features

COURSE = {"code_module": "AAA", "code_presentation": "2013J"}
PERSON = {
    "gender": "F",
    "region": "Wales",
    "highest_education": "A Level or Equivalent",
    "imd_band": None,
    "age_band": "0-35",
    "num_of_prev_attempts": 0,
    "studied_credits": 60,
    "disability": "N",
    "final_result": "Pass",
}


class Oulad:
    """Raw tables under construction."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = {
            "assessments": [],
            "studentInfo": [],
            "studentRegistration": [],
            "studentAssessment": [],
            "studentVle": [],
        }

    def enrol(
        self, learner: int, registered: int | None = -20, left: int | None = None, **person: Any
    ) -> Oulad:
        key = {**COURSE, "id_student": learner}
        dates = {"date_registration": registered, "date_unregistration": left}
        self.rows["studentInfo"].append({**PERSON, **key, **person})
        self.rows["studentRegistration"].append({**key, **dates})
        return self

    def assess(self, number: int, due: int | None, kind: str = "TMA") -> Oulad:
        row = {"id_assessment": number, "assessment_type": kind, "date": due, "weight": 10.0}
        self.rows["assessments"].append({**COURSE, **row})
        return self

    def submit(
        self, learner: int, number: int, day: int, score: float | None, banked: int = 0
    ) -> Oulad:
        row = {"id_assessment": number, "id_student": learner, "date_submitted": day}
        self.rows["studentAssessment"].append({**row, "is_banked": banked, "score": score})
        return self

    def click(self, learner: int, day: int, clicks: int, site: int = 1) -> Oulad:
        row = {"id_student": learner, "id_site": site, "date": day, "sum_click": clicks}
        self.rows["studentVle"].append({**COURSE, **row})
        return self

    def features(self, folder: Path, day: int = 60, **options: Any) -> dict[int, dict[str, Any]]:
        """Write the tables and compute the features, by learner."""
        tables = {}
        for name, rows in self.rows.items():
            tables[name] = folder / f"{name}.parquet"
            parquet.write_table(pa.Table.from_pylist(rows, table_schema(name)), tables[name])
        found = enrolment_features(tables, ["2013J"], day, **options).to_pylist()
        return {row["learner"]: row for row in found}


@pytest.fixture
def oulad() -> Oulad:
    """One learner with two of three assessments and some clicks."""
    world = Oulad().assess(1, 19).assess(2, 54).assess(3, 80).assess(4, 10, "Exam")
    return (
        world.enrol(7, num_of_prev_attempts=2, final_result="Fail")
        .submit(7, 1, 17, 80.0)
        .submit(7, 2, 56, 61.0)
        .click(7, -5, 10)
        .click(7, 31, 20)
        .click(7, 31, 1, site=2)
        .click(7, 58, 4)
    )


def test_the_features_of_one_enrolment(oulad: Oulad, tmp_path: Path) -> None:
    assert oulad.features(tmp_path)[7] == {
        "learner": 7,
        "mean_score": 70.5,
        "last_score": 61.0,
        "submitted_share": 1.0,
        "days_early": 0.0,
        "previous_attempts": 2.0,
        "studied_credits": 60.0,
        "education": 2.0,
        "clicks": 35.0,
        "active_days": 3.0,
        "days_since_active": 2.0,
        **{name: 1.0 for name in FEATURES if name.endswith("_standing")},
        LABEL: 1,
        "gender": "F",
        "age_band": "0-35",
        "imd_band": "unknown",
        "disability": "N",
        "region": "Wales",
        **COURSE,
    }


def test_an_enrolment_without_any_activity_has_values_too(tmp_path: Path) -> None:
    row = Oulad().assess(1, 19).enrol(7, highest_education="No Formal quals").features(tmp_path)[7]
    assert [row[name] for name in FEATURES[:10]] == [0, 0, 0, -30, 0, 60, 0, 0, 0, 85]


def test_a_standing_is_the_share_of_the_roll_that_has_no_more(tmp_path: Path) -> None:
    world = Oulad().assess(1, 19)
    for learner, clicks in enumerate((5, 9, 5, 40), 1):
        world.enrol(learner).click(learner, 3, clicks)
    world.enrol(5)
    rows = world.features(tmp_path)
    assert [rows[learner]["clicks_standing"] for learner in range(1, 6)] == [
        np.float32(share) for share in (0.6, 0.8, 0.6, 1.0, 0.2)
    ]


def test_sites_visited_after_the_day_do_not_count(tmp_path: Path) -> None:
    world = Oulad().assess(1, 19).enrol(1).enrol(2)
    world.click(1, 3, 1, site=1).click(2, 3, 1, site=1).click(2, 4, 1, site=2)
    world.click(1, 61, 1, site=3).click(1, 61, 1, site=4)
    rows = world.features(tmp_path)
    assert [rows[learner]["sites_standing"] for learner in (1, 2)] == [0.5, 1.0]


def test_recent_activity_is_that_of_the_last_four_weeks(tmp_path: Path) -> None:
    world = Oulad().assess(1, 19).enrol(1).enrol(2)
    world.click(1, 32, 100).click(2, 33, 1)
    rows = world.features(tmp_path)
    assert rows[1]["recent_clicks_standing"] == 0.5
    assert rows[2]["recent_clicks_standing"] == 1.0
    assert rows[1]["clicks_standing"] == 1.0


ROLL = {
    "registered on the day": ({"registered": 60}, True),
    "registered later": ({"registered": 61}, False),
    "no registration date": ({"registered": None}, False),
    "left on the day": ({"left": 60, "final_result": "Withdrawn"}, False),
    "left the day after": ({"left": 61, "final_result": "Withdrawn"}, True),
    "withdrawn without a date": ({"final_result": "Withdrawn"}, False),
    "failed": ({"final_result": "Fail"}, True),
    "left and failed all the same": ({"left": 10, "final_result": "Fail"}, False),
}


@pytest.mark.parametrize("name", ROLL)
def test_who_is_on_the_roll(name: str, tmp_path: Path) -> None:
    given, is_there = ROLL[name]
    rows = Oulad().assess(1, 19).enrol(1).enrol(2, **given).features(tmp_path)
    assert (2 in rows) is is_there


def test_the_label_is_fail_or_withdrawn(tmp_path: Path) -> None:
    world = Oulad().assess(1, 19)
    for learner, result in enumerate(("Pass", "Distinction", "Fail", "Withdrawn")):
        world.enrol(learner, left=100 if result == "Withdrawn" else None, final_result=result)
    rows = world.features(tmp_path)
    assert [rows[learner][LABEL] for learner in range(4)] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    "add",
    [
        lambda world: world.submit(7, 3, 61, 99.0),
        lambda world: world.click(7, 61, 50, site=9),
        lambda world: world.submit(7, 4, 10, 99.0),
        lambda world: world.submit(7, 3, -1, 99.0, banked=1),
        lambda world: world.assess(5, 61),
        lambda world: world.assess(5, None),
        lambda world: world.submit(8, 1, 10, 99.0),
        lambda world: world.click(8, 10, 50),
    ],
    ids=[
        "submitted after the day",
        "clicked after the day",
        "the exam",
        "a banked mark",
        "due after the day",
        "due at no date",
        "a stranger's submission",
        "a stranger's clicks",
    ],
)
def test_what_does_not_count(add: Any, oulad: Oulad, tmp_path: Path) -> None:
    before = oulad.features(tmp_path)
    assert add(oulad).features(tmp_path) == before


def test_the_submission_counts_by_its_date_not_by_the_due_date(
    oulad: Oulad, tmp_path: Path
) -> None:
    early = oulad.submit(7, 3, 60, 99.0).features(tmp_path)[7]
    assert (early["mean_score"], early["last_score"]) == (80.0, 99.0)
    assert early["submitted_share"] == 1.5


def test_a_submission_without_a_mark_counts_as_submitted_only(oulad: Oulad, tmp_path: Path) -> None:
    row = oulad.submit(7, 3, 58, None).features(tmp_path)[7]
    assert (row["mean_score"], row["last_score"]) == (70.5, 61.0)
    assert row["submitted_share"] == 1.5


def test_a_mark_is_known_once_marking_is_done(oulad: Oulad, tmp_path: Path) -> None:
    row = oulad.features(tmp_path, marking_days=14)[7]
    assert (row["mean_score"], row["last_score"]) == (80.0, 80.0)
    assert (row["submitted_share"], row["days_early"]) == (1.0, 0.0)
    assert oulad.features(tmp_path, marking_days=4)[7]["last_score"] == 61.0


def test_an_earlier_day_knows_less(oulad: Oulad, tmp_path: Path) -> None:
    row = oulad.features(tmp_path, day=30)[7]
    assert [row[name] for name in FEATURES[:10]] == [80, 80, 1, 2, 2, 60, 2, 10, 1, 35]


def test_no_input_is_a_slice() -> None:
    assert set(FEATURES).isdisjoint((*SLICES, LABEL, "learner"))
