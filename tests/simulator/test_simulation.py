"""A whole simulation: deterministic, bounded, whole, and hard in the way that real data are."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from simulator import SimulationSettings, simulate
from simulator.cohort import Cohort, World
from simulator.population import Span

KEY = ["code_module", "code_presentation", "id_student"]
Digests = Callable[[Path], dict[str, str]]


@pytest.mark.parametrize(("learners_at_once", "threads"), [(3, 1), (16, 3), (100_000, 1)])
def test_files_depend_on_the_settings_alone(
    tmp_path: Path, digests_of: Digests, learners_at_once: int, threads: int
) -> None:
    settings = SimulationSettings(attempts=2_000, seed=2, leak=True, drift=0.5, bias=0.5)
    simulate(settings, tmp_path / "reference")
    simulate(settings, tmp_path / "data", learners_at_once=learners_at_once, threads=threads)
    assert digests_of(tmp_path / "data") == digests_of(tmp_path / "reference")


def test_another_seed_gives_other_learners(tmp_path: Path, digests_of: Digests) -> None:
    for seed in (1, 2):
        simulate(SimulationSettings(attempts=2_000, seed=seed), tmp_path / str(seed))
    one, two = (digests_of(tmp_path / str(seed)) for seed in (1, 2))
    assert one.keys() == two.keys()
    same = {name for name in one if one[name] == two[name]}
    assert same == {"oulad/courses.csv", "oulad/assessments.csv"}


def test_the_summary_counts_what_is_in_the_files(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    summary = simulate(
        SimulationSettings(attempts=12_345, learners=400),
        tmp_path / "data",
        lambda done, total: seen.append((done, total)),
        learners_at_once=100,
    )
    oulad = tmp_path / "data" / "oulad"
    assert len(seen) == 4 and seen[-1] == (12_345, 12_345)
    assert summary.learners == 400
    assert summary.attempts == 12_345
    assert pq.read_table(tmp_path / "data" / "attempts").num_rows == 12_345
    assert pq.read_table(tmp_path / "data" / "truth" / "attempts").num_rows == 12_345
    assert pq.read_table(tmp_path / "data" / "truth" / "learners").num_rows == 400
    assert len(pd.read_csv(oulad / "studentInfo.csv")) == summary.enrolments
    assert len(pd.read_csv(oulad / "studentAssessment.csv")) == summary.submissions
    assert sum(map(len, vle_tables(oulad))) == summary.clicks


def vle_tables(oulad: Path) -> list[pd.DataFrame]:
    return [pq.read_table(path).to_pandas() for path in sorted((oulad / "studentVle").iterdir())]


def sequences(path: Path) -> list[tuple[list[int], list[int]]]:
    lines = path.read_text().splitlines()
    read = [
        ([*map(int, lines[row + 1].split(","))], [*map(int, lines[row + 2].split(","))])
        for row in range(0, len(lines), 3)
    ]
    assert [len(skills) for skills, _ in read] == [int(count) for count in lines[::3]]
    assert all(len(skills) == len(responses) for skills, responses in read)
    return read


def test_oulad_files_have_the_columns_and_types_of_the_real_ones(simulated: Path) -> None:
    headers = {
        path.stem: path.open().readline() for path in sorted((simulated / "oulad").glob("*.csv"))
    }
    assert headers == {
        "assessments": '"code_module","code_presentation","id_assessment","assessment_type",'
        '"date","weight"\n',
        "courses": '"code_module","code_presentation","module_presentation_length"\n',
        "studentAssessment": '"id_assessment","id_student","date_submitted","is_banked","score"\n',
        "studentInfo": '"code_module","code_presentation","id_student","gender","region",'
        '"highest_education","imd_band","age_band","num_of_prev_attempts","studied_credits",'
        '"disability","final_result"\n',
        "studentRegistration": '"code_module","code_presentation","id_student",'
        '"date_registration","date_unregistration"\n',
        "vle": '"id_site","code_module","code_presentation","activity_type","week_from",'
        '"week_to"\n',
    }
    schemas = {
        str(pq.read_schema(path).remove_metadata())
        for path in (simulated / "oulad" / "studentVle").iterdir()
    }
    assert schemas == {
        "code_module: string\ncode_presentation: string\nid_student: int32\nid_site: int32\n"
        "date: int16\nsum_click: int32"
    }


def test_every_reference_between_the_oulad_files_holds(simulated: Path) -> None:
    oulad = simulated / "oulad"
    info = pd.read_csv(oulad / "studentInfo.csv")
    registration = pd.read_csv(oulad / "studentRegistration.csv")
    submissions = pd.read_csv(oulad / "studentAssessment.csv")
    assessments = pd.read_csv(oulad / "assessments.csv")
    sites = pd.read_csv(oulad / "vle.csv")
    courses = pd.read_csv(oulad / "courses.csv")
    clicks = pd.concat(vle_tables(oulad))
    assert not info.duplicated(KEY).any()
    assert not assessments.duplicated("id_assessment").any()
    assert not sites.duplicated("id_site").any()
    assert len(info.merge(registration, on=KEY)) == len(info) == len(registration)
    assert len(info.merge(courses, on=KEY[:2])) == len(info)
    assert len(submissions.merge(assessments).merge(info, on=KEY)) == len(submissions)
    assert len(clicks.merge(sites).merge(info[KEY])) == len(clicks)
    assert not submissions.duplicated(["id_assessment", "id_student"]).any()
    assert submissions.score.dropna().between(0, 100).all()
    assert set(info.final_result) == {"Distinction", "Pass", "Fail", "Withdrawn"}
    for path in (oulad / "studentVle").iterdir():
        table = pq.read_table(path).to_pandas()
        assert {path.stem} == set(table.code_module + "_" + table.code_presentation)


def test_the_traps_of_the_real_data_are_there(simulated: Path) -> None:
    oulad = simulated / "oulad"
    info = pd.read_csv(oulad / "studentInfo.csv")
    late = set(info[info.code_presentation == "2014J"].id_student)
    assert late & set(info[info.code_presentation != "2014J"].id_student)
    assert pd.read_csv(oulad / "studentRegistration.csv").date_registration.isna().any()
    submissions = pd.read_csv(oulad / "studentAssessment.csv")
    assert submissions.score.isna().any()
    assert submissions.is_banked.any()
    assert pd.read_csv(oulad / "assessments.csv").date.isna().any()
    assert "10-20" in set(info.imd_band) and info.imd_band.isna().any()


def test_sequences_are_the_events_in_order(
    simulated: Path, simulation_settings: SimulationSettings
) -> None:
    events = pq.read_table(simulated / "attempts").to_pandas()
    assert events.attempt_id.tolist() == list(range(simulation_settings.attempts))
    assert not events.duplicated(["learner", "event_time"]).any()
    assert events.groupby("learner").event_time.is_monotonic_increasing.all()
    by_learner = {(tuple(rows.skill), tuple(rows.correct)) for _, rows in events.groupby("learner")}
    parts = {
        part: sequences(simulated / "kt" / f"simulated_{part}.csv")
        for part in ("train", "train1", "valid1", "test")
    }
    assert len(parts["train"]) + len(parts["test"]) == events.learner.nunique()
    assert {
        (tuple(skills), tuple(responses)) for skills, responses in parts["train"] + parts["test"]
    } == by_learner
    assert sorted(parts["train1"] + parts["valid1"]) == sorted(parts["train"])
    assert len(parts["test"]) / events.learner.nunique() == pytest.approx(0.3, abs=0.04)


def test_learners_are_the_same_people_in_both_layouts(simulated: Path) -> None:
    info = pd.read_csv(simulated / "oulad" / "studentInfo.csv")
    events = pq.read_table(simulated / "attempts", columns=["learner"])["learner"]
    assert set(events.unique().to_pylist()) <= set(info.id_student)


def test_the_truth_explains_the_attempts(simulated: Path) -> None:
    events = pq.read_table(simulated / "attempts").to_pandas()
    events = events.merge(pq.read_table(simulated / "truth" / "attempts").to_pandas())
    deviation = np.sqrt((events.probability * (1 - events.probability)).sum())
    assert abs(events.correct.sum() - events.probability.sum()) < 4 * deviation
    assert 0.80 < roc_auc_score(events.correct, events.probability) < 0.90
    assert 0.55 < events.correct.mean() < 0.72


def test_the_truth_tells_the_parameters(
    simulated: Path, simulation_settings: SimulationSettings
) -> None:
    truth = json.loads((simulated / "truth" / "parameters.json").read_text())
    assert SimulationSettings(**truth["settings"]) == simulation_settings
    assert [skill["skill"] for skill in truth["skills"]] == list(
        range(1, simulation_settings.skills + 1)
    )
    assert all(
        skill["prerequisite"] is None or skill["prerequisite"] < skill["skill"]
        for skill in truth["skills"]
    )
    events = pq.read_table(simulated / "attempts").to_pandas()
    skill_of = {item["item"]: item["skill"] for item in truth["items"]}
    assert (events.item.map(skill_of) == events.skill).all()


def test_leak_adds_a_column_to_each_layout_and_changes_no_other(
    tmp_path: Path, simulated: Path, simulation_settings: SimulationSettings
) -> None:
    leaking = SimulationSettings(
        attempts=simulation_settings.attempts, seed=simulation_settings.seed, leak=True
    )
    simulate(leaking, tmp_path / "leaking")
    info = pd.read_csv(tmp_path / "leaking" / "oulad" / "studentInfo.csv")
    at_risk = info.final_result.isin(["Fail", "Withdrawn"])
    assert roc_auc_score(at_risk, info.pop("completion_code")) > 0.98
    pd.testing.assert_frame_equal(info, pd.read_csv(simulated / "oulad" / "studentInfo.csv"))
    events = pq.read_table(tmp_path / "leaking" / "attempts").to_pandas()
    assert (events.pop("solution_shown") == 1 - events.correct).all()
    pd.testing.assert_frame_equal(events, pq.read_table(simulated / "attempts").to_pandas())


def day_60(folder: Path) -> pd.DataFrame:
    """Return three features and the label of everyone still enrolled on day 60."""
    oulad = folder / "oulad"
    rows = pd.read_csv(oulad / "studentInfo.csv").merge(
        pd.read_csv(oulad / "studentRegistration.csv"), on=KEY
    )
    rows = rows[(rows.date_registration <= 60) & ~(rows.date_unregistration <= 60)]
    marks = pd.read_csv(oulad / "studentAssessment.csv").merge(
        pd.read_csv(oulad / "assessments.csv"), on="id_assessment"
    )
    marks = marks[(marks.is_banked == 0) & (marks.date_submitted <= 60)].groupby(KEY).score
    clicks = pd.concat(vle_tables(oulad)).query("date <= 60").groupby(KEY).date
    rows = rows.merge(marks.agg(mean_score="mean", submitted="size"), on=KEY, how="left")
    rows = rows.merge(clicks.agg(days="nunique", last="max"), on=KEY, how="left")
    rows["at_risk"] = rows.final_result.isin(["Fail", "Withdrawn"])
    filled = {"mean_score": 0, "submitted": 0, "days": 0, "last": -25}
    return rows.fillna(filled).reset_index(drop=True)


def test_outcomes_are_learnable_but_not_certain(simulated: Path) -> None:
    """The protocol of the reference: three presentations train, the fourth tests, on day 60."""
    rows = day_60(simulated)
    inputs = ["mean_score", "submitted", "days", "last", "num_of_prev_attempts", "studied_credits"]
    test = rows.code_presentation == "2014J"
    assert test.sum() > 500 and (~test).sum() > 900
    model = make_pipeline(StandardScaler(), LogisticRegression())
    model.fit(rows.loc[~test, inputs], rows.at_risk[~test])
    predicted = model.predict_proba(rows.loc[test, inputs])[:, 1]
    assert 0.78 < roc_auc_score(rows.at_risk[test], predicted) < 0.88
    protected = LogisticRegression().fit(pd.get_dummies(rows[["gender"]]), rows.at_risk)
    chance = protected.predict_proba(pd.get_dummies(rows[["gender"]]))[:, 1]
    assert roc_auc_score(rows.at_risk, chance) < 0.54


@pytest.mark.parametrize("threads", [1, 3])
def test_no_more_cohorts_are_held_than_there_are_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    begun: list[Span] = []
    held: list[int] = []
    simulate_span = Cohort.of

    def counted(world: World, span: Span) -> Cohort:
        begun.append(span)
        return simulate_span(world, span)

    def written(done: int, total: int) -> None:
        held.append(len(begun) - len(held))

    monkeypatch.setattr(Cohort, "of", counted)
    settings = SimulationSettings(attempts=3_200)
    simulate(settings, tmp_path / "data", written, learners_at_once=10, threads=threads)
    assert len(held) == 10
    assert max(held) <= threads


RESIDENT = """
import resource, sys
from pathlib import Path
from simulator import SimulationSettings, simulate
simulate(SimulationSettings(attempts=int(sys.argv[1])), Path(sys.argv[2]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_ten_million_attempts_fit_in_a_gibibyte(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RESIDENT, "10_000_000", str(tmp_path / "data")]
    told = subprocess.run(command, check=True, capture_output=True, text=True)
    assert int(told.stdout) < 1_024
