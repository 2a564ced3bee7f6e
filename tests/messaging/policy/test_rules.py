"""Every rule, with the whole sentence that a person reads."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.policy import Estimate, Facts, Policy, Verdict, judge
from tests.messaging.requests import NOON

POLICY = Policy(
    minimum_new_rows=500, cool_down_hours=12, runs_a_day=2, minimum_gain=0.005, time_zone="UTC"
)
GOOD = Facts(now=NOON, last_run=NOON - timedelta(days=3), new_rows=2000, requested_by="monitor")
LOST = replace(GOOD, evaluated=Estimate(0.800, 0.790, 0.810), live=Estimate(0.750, 0.742, 0.758))
EQUAL = replace(GOOD, evaluated=Estimate(0.800, 0.790, 0.810), live=Estimate(0.796, 0.788, 0.804))

CASES = [
    (
        POLICY,
        replace(GOOD, new_rows=None),
        "run",
        "Run: the last run began 72.0 h ago, more than 12 h.",
    ),
    (POLICY, Facts(now=NOON), "run", "Run: there was no run before."),
    (POLICY, GOOD, "run", "Run: 2,000 new labelled rows, enough of 500."),
    (
        POLICY,
        LOST,
        "run",
        "Run: the champion's AUC went from 0.800 to 0.750, a loss of 0.050 (0.037 to 0.063, 95 %), "
        "surely 0.005 or more.",
    ),
    (
        POLICY,
        EQUAL,
        "refuse",
        "Refused: the champion's AUC went from 0.800 to 0.796, a loss of 0.004 (-0.009 to 0.017, "
        "95 %), which is not surely 0.005 or more.",
    ),
    (
        replace(POLICY, enough_new_rows=1500),
        EQUAL,
        "run",
        "Run: 2,000 new labelled rows are worth a run, 1,500 would do.",
    ),
    (
        POLICY,
        replace(GOOD, new_rows=499),
        "refuse",
        "Refused: 499 new labelled rows, at least 500 are wanted.",
    ),
    (
        POLICY,
        replace(GOOD, last_run=NOON - timedelta(hours=11.5)),
        "refuse",
        "Refused: the last run began 11.5 h ago, 12 h must lie between two.",
    ),
    (
        POLICY,
        replace(GOOD, runs_today=2),
        "refuse",
        "Refused: messages caused 2 of 2 runs that 24 h may have.",
    ),
    (
        replace(POLICY, quiet_hours=("08:00-10:00", "11:30-12:30")),
        GOOD,
        "wait",
        "Waiting: no run begins from 11:30 to 12:30 (UTC).",
    ),
    (
        replace(POLICY, quiet_hours=("22:00-21:30",), time_zone="Asia/Kathmandu"),
        GOOD,
        "wait",
        "Waiting: no run begins from 22:00 to 21:30 (Asia/Kathmandu).",
    ),
    (
        replace(POLICY, quiet_hours=("11:30-12:30",)),
        replace(GOOD, new_rows=3),
        "refuse",
        "Refused: 3 new labelled rows, at least 500 are wanted.",
    ),
    (
        POLICY,
        replace(GOOD, new_rows=3, override="marks were corrected", requested_by="ada"),
        "run",
        "Run: ada overrides the policy (marks were corrected) though 3 new labelled rows, at least "
        "500 are wanted.",
    ),
    (
        POLICY,
        replace(GOOD, override="marks were corrected", requested_by="ada"),
        "run",
        "Run: ada overrides the policy (marks were corrected).",
    ),
    (
        POLICY,
        replace(EQUAL, new_rows=3, runs_today=2, is_erasure=True),
        "run",
        "Run: a person was erased with whom models were trained.",
    ),
    (
        POLICY,
        replace(GOOD, last_run=NOON - timedelta(hours=11.5), is_erasure=True),
        "wait",
        "Waiting: the last run began 11.5 h ago, 12 h must lie between two.",
    ),
    (
        replace(POLICY, quiet_hours=("11:30-12:30",)),
        replace(GOOD, is_erasure=True),
        "wait",
        "Waiting: no run begins from 11:30 to 12:30 (UTC).",
    ),
]


@pytest.mark.parametrize(("policy", "facts", "verdict", "sentence"), CASES)
def test_a_verdict_and_its_sentence(
    policy: Policy, facts: Facts, verdict: str, sentence: str
) -> None:
    judgement = judge(policy, facts)
    assert (judgement.verdict, judgement.sentence) == (verdict, sentence)
    assert [rule.name for rule in judgement.rules] == [
        "cool-down",
        "budget",
        "new rows",
        "expected gain",
        "quiet hours",
    ]


@given(
    st.integers(0, 5),
    st.one_of(st.none(), st.integers(0, 1000)),
    st.one_of(st.none(), st.floats(0, 100)),
    st.floats(0, 24),
)
def test_it_runs_only_if_every_rule_lets_it(
    used: int, rows: int | None, hours: float | None, clock: float
) -> None:
    now = datetime(2026, 3, 2, tzinfo=UTC) + timedelta(hours=clock)
    last = None if hours is None else now - timedelta(hours=hours)
    policy = replace(POLICY, quiet_hours=("06:00-09:00",))
    judgement = judge(policy, Facts(now=now, last_run=last, runs_today=used, new_rows=rows))
    lets = all(rule.verdict is Verdict.run for rule in judgement.rules)
    assert (judgement.verdict is Verdict.run) == lets
    assert judgement.sentence.endswith(".")


@pytest.mark.parametrize(
    ("clock", "is_quiet"), [("21:59", False), ("22:00", True), ("05:59", True), ("06:00", False)]
)
def test_quiet_hours_may_go_past_midnight(clock: str, is_quiet: bool) -> None:
    hour, minute = map(int, clock.split(":"))
    facts = replace(GOOD, now=NOON.replace(hour=hour, minute=minute))
    judgement = judge(replace(POLICY, quiet_hours=("22:00-06:00",)), facts)
    assert (judgement.verdict is Verdict.wait) == is_quiet
