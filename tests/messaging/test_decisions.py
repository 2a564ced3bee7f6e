"""Decisions on record: made once for each message, on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from learnloop.errors import UsageError
from learnloop.ledger import Ledger, open_ledger
from learnloop.ledger.tables import retrain_decisions, retrain_messages, runs
from messaging.coalescing import deduplicate
from messaging.decisions import Decisions
from messaging.messages import RetrainRequest
from messaging.policy import Policy
from messaging.policy.settings import Policies
from messaging.records import Outcome, State
from tests.messaging.requests import NOON, a_request, estimate, message_id, requests

POLICY = Policy(minimum_new_rows=500, cool_down_hours=12, runs_a_day=2, burst_seconds=30)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def one_ledger(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    new_postgres_database: Callable[[], str],
) -> Ledger:
    is_sqlite = request.param == "sqlite"
    file = tmp_path_factory.mktemp("decisions") / "ledger.db"
    return open_ledger(f"sqlite:///{file}" if is_sqlite else new_postgres_database())


@pytest.fixture
def ledger(one_ledger: Ledger) -> Ledger:
    """An empty ledger."""
    empty(one_ledger)
    return one_ledger


def empty(ledger: Ledger) -> None:
    with ledger.transaction() as connection:
        for table in (retrain_messages, retrain_decisions, runs):
            connection.execute(sa.delete(table))


@pytest.fixture
def decisions(ledger: Ledger) -> Decisions:
    return Decisions(ledger, Policies(POLICY))


def test_a_burst_is_one_decision_that_names_its_run(decisions: Decisions) -> None:
    burst = [a_request(3, minutes=2), a_request(2, minutes=1), a_request(1, minutes=3)]
    decided = decisions.decide(burst, NOON)
    assert {one.id for one in decided.values()} == {message_id(2)}
    decision = decided[message_id(1)]
    assert (decision.state, decision.run_id) == (State.approved, f"retrain-{message_id(2)}")
    assert decision.sentence == "Run: 5,000 new labelled rows, enough of 500."
    outcomes = {m.id: m.outcome for m in decisions.every_message()}
    assert set(outcomes.values()) == {Outcome.open}
    decisions.answer(decision, State.started, NOON)
    outcomes = {m.id: m.outcome for m in decisions.every_message()}
    assert outcomes == {
        message_id(1): Outcome.coalesced,
        message_id(2): Outcome.caused,
        message_id(3): Outcome.coalesced,
    }


def test_a_message_that_comes_again_finds_its_decision(decisions: Decisions) -> None:
    first = decisions.decide([a_request(1)], NOON)
    again = decisions.decide([a_request(1, evidence={"new_labelled_rows": 0})], NOON)
    assert again == first
    assert [count for _, count in decisions.newest()] == [1]


def test_who_comes_while_a_run_is_asked_for_joins_it(decisions: Decisions) -> None:
    first = decisions.decide([a_request(9)], NOON)[message_id(9)]
    late = NOON + timedelta(hours=2)
    assert decisions.decide([a_request(1)], late)[message_id(1)] == first
    started = decisions.answer(first, State.started, late)
    soon, later = late + timedelta(seconds=29), late + timedelta(seconds=31)
    assert decisions.decide([a_request(2)], soon)[message_id(2)] == started
    refused = decisions.decide([a_request(3)], later)[message_id(3)]
    assert refused.state is State.refused
    assert refused.sentence == "Refused: the last run began 2.0 h ago, 12 h must lie between two."


def test_other_parameters_are_another_wish(decisions: Decisions) -> None:
    decided = decisions.decide([a_request(1), a_request(2, parameters={"epochs": 3})], NOON)
    states = sorted(one.state for one in decided.values())
    assert states == [State.approved, State.refused]
    assert decisions.decide([a_request(3, pipeline="knowledge_tracing")], NOON)[
        message_id(3)
    ].state is (State.approved)


def test_a_person_overrides(decisions: Decisions) -> None:
    decisions.decide([a_request(1)], NOON)
    wish = a_request(2, reason="person", requested_by="ada", parameters={"epochs": 3})
    wish = replace(wish, override="marks were corrected")
    decision = decisions.decide([wish], NOON)[message_id(2)]
    assert decision.state is State.approved
    assert decision.sentence == (
        "Run: ada overrides the policy (marks were corrected) though the last run began 0.0 h ago, "
        "12 h must lie between two."
    )


def test_waiting_ends_with_the_quiet_hours(ledger: Ledger) -> None:
    policy = replace(POLICY, quiet_hours=("11:00-13:00",))
    decisions = Decisions(ledger, Policies(policy))
    waiting = decisions.decide([a_request(5, minutes=4)], NOON)[message_id(5)]
    assert (waiting.state, waiting.run_id) == (State.waiting, None)
    later = NOON + timedelta(minutes=30)
    joined = decisions.decide([a_request(4, evidence={"new_labelled_rows": 7})], later)
    assert joined[message_id(4)].id == message_id(5)
    end = NOON + timedelta(hours=1)
    approved = decisions.decide([a_request(4)], end)[message_id(4)]
    assert (approved.state, approved.run_id) == (State.approved, f"retrain-{message_id(5)}")
    assert decisions.decide([a_request(5)], end)[message_id(5)].state is State.approved


def test_an_erasure_joins_no_run_that_may_have_read_the_person(decisions: Decisions) -> None:
    begun = decisions.decide([a_request(1)], NOON)[message_id(1)]
    wish = {"reason": "erasure", "requested_by": "erasure", "evidence": {}}
    waiting = decisions.decide([a_request(2, **wish)], NOON)[message_id(2)]
    assert (begun.state, waiting.state) == (State.approved, State.waiting)
    second = decisions.decide([a_request(3, **wish)], NOON + timedelta(hours=1))[message_id(3)]
    assert second.id == waiting.id, "one run answers many erasures"
    decisions.answer(begun, State.started, NOON)
    approved = decisions.decide([a_request(3, **wish)], NOON + timedelta(hours=12))[message_id(3)]
    assert (approved.id, approved.state) == (waiting.id, State.approved)


def test_the_evidence_of_all_is_weighed(decisions: Decisions) -> None:
    live, evaluated = estimate(0.798), estimate(0.8)
    burst = [
        a_request(1),
        a_request(2, minutes=1, evidence={"live": live, "evaluated": evaluated}),
    ]
    decision = decisions.decide(burst, NOON)[message_id(1)]
    assert decision.state is State.refused
    assert decision.sentence.startswith("Refused: the champion's AUC went from 0.800 to 0.798")


def start_run(ledger: Ledger, run_id: str, status: str) -> None:
    ledger.start_run(
        run_id,
        "learner_outcome",
        {},
        [("train", "m:f")],
        [],
        runner="airflow",
        user="ada",
        git_commit="",
        cause="",
    )
    if status != "running":
        ledger.end_run(run_id, status)


@pytest.mark.parametrize(("status", "state"), [("done", "refused"), ("failed", "approved")])
def test_a_run_by_anybody_counts_unless_it_failed(
    decisions: Decisions, ledger: Ledger, status: str, state: str
) -> None:
    start_run(ledger, "learner_outcome~scheduled", status)
    now = datetime.now(UTC)
    assert decisions.decide([a_request(1)], now)[message_id(1)].state == state


def test_a_run_by_message_that_failed_may_be_tried_again_within_the_budget(
    decisions: Decisions, ledger: Ledger
) -> None:
    for number, state in ((1, "approved"), (2, "approved"), (3, "refused")):
        now = NOON + timedelta(hours=number)
        decision = decisions.decide([a_request(number)], now)[message_id(number)]
        assert decision.state == state
        if decision.run_id:
            decisions.answer(decision, State.started, now)
            start_run(ledger, f"learner_outcome~{decision.run_id}", "failed")
    assert decision.sentence == "Refused: messages caused 2 of 2 runs that 24 h may have."


def test_poison_is_on_record_once(decisions: Decisions) -> None:
    for _ in range(2):
        decisions.record_poison(
            {"poison-1": "The message is not JSON.", "poison-2": "Too large."}, NOON
        )
    found = {m.id: (m.outcome, m.why) for m in decisions.every_message()}
    assert found == {
        "poison-1": (Outcome.dead_lettered, "The message is not JSON."),
        "poison-2": (Outcome.dead_lettered, "Too large."),
    }


def test_a_message_is_found_by_what_a_person_has_at_hand(decisions: Decisions) -> None:
    decisions.decide([a_request(1), a_request(2**120, pipeline="knowledge_tracing")], NOON)
    whole = message_id(2**120)
    for name in (whole, whole[:6], f"retrain-{whole}", f"knowledge_tracing~retrain-{whole}"):
        assert decisions.find(name).id == whole
    with pytest.raises(UsageError) as caught:
        decisions.find("0")
    assert str(caught.value) == (
        "Several messages begin with '0'.\n"
        "  expected: the id of a message, a beginning of it, or the id of a run\n"
        "  received: '0'\n"
        "  next:     learnloop retrain decisions"
    )
    with pytest.raises(UsageError, match="There is no message 'beef'."):
        decisions.find("beef")


@hypothesis_settings(max_examples=25)
@given(st.lists(st.lists(requests, max_size=8), max_size=8), st.data())
def test_whatever_comes_however_often_each_message_has_one_decision(
    ledger: Ledger, batches: list[list[RetrainRequest]], data: st.DataObject
) -> None:
    """Redelivery, duplicates and target faults at any point: the first decision stands."""
    empty(ledger)
    decisions = Decisions(ledger, Policies(replace(POLICY, cool_down_hours=0.1)))
    first: dict[str, str] = {}
    leaders: dict[str, str] = {}
    now = NOON
    for batch in batches:
        now += timedelta(minutes=data.draw(st.integers(0, 10)))
        for name, decision in decisions.decide(deduplicate(batch), now).items():
            assert first.setdefault(name, decision.id) == decision.id
            if decision.state is State.approved and data.draw(st.booleans()):
                assert decision.run_id is not None
                assert leaders.setdefault(decision.run_id, decision.id) == decision.id
                decisions.answer(decision, State.started, now)
    for message in decisions.every_message():
        assert message.decision is not None
        assert message.decision.id == first[message.id]
        assert message.decision.sentence
    assert {m.id for m in decisions.every_message()} == first.keys()


def test_a_thousand_requests_cost_a_few_statements(decisions: Decisions, ledger: Ledger) -> None:
    """What makes the listener quick: a batch costs by its bursts, not by its messages."""
    said: list[str] = []

    def note(_1: object, _2: object, statement: str, *_3: object) -> None:
        said.append(statement)

    sa.event.listen(ledger._engine, "before_cursor_execute", note)
    try:
        burst = [a_request(number) for number in range(1, 1001)]
        decided = decisions.decide(burst, NOON)
    finally:
        sa.event.remove(ledger._engine, "before_cursor_execute", note)
    assert {decision.id for decision in decided.values()} == {message_id(1)}
    assert len(said) <= 12, said
