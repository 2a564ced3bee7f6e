"""The listener, on a real broker: what it does with every answer, and when it acks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from learnloop.errors import LearnLoopError
from messaging.broker import DEAD_QUEUE, EVENTS, QUEUE, ROUTING_KEY, opened_channel
from messaging.dead_letters import read_dead_letters
from messaging.decisions import Decisions
from messaging.listener import listener as module
from messaging.listener.airflow import AirflowTarget
from messaging.messages import poison_id
from messaging.publisher import Publisher, publish
from messaging.records import Outcome
from tests.messaging.airflow_stand_in import AirflowStandIn
from tests.messaging.conftest import Listen, count, wait_until
from tests.messaging.requests import a_request, message_id

pytestmark = pytest.mark.xdist_group("rabbitmq")


def outcome_of(decisions: Decisions, number: int) -> Outcome:
    found = {message.id: message.outcome for message in decisions.every_message()}
    return found.get(message_id(number), Outcome.open)


def test_a_request_becomes_a_run_that_says_why(
    broker: str, listen: Listen, publisher: Publisher, airflow: AirflowStandIn, decisions: Decisions
) -> None:
    listening = listen()
    publisher.send(a_request(1, parameters={"epochs": 20}))
    wait_until(lambda: outcome_of(decisions, 1) is Outcome.caused)
    (run,) = airflow.runs.values()
    cause = (
        f"message {message_id(1)} (new_data, asked by ingest). "
        "Run: 5,000 new labelled rows, enough of 500."
    )
    assert run == {
        "dag": "learner_outcome",
        "id": f"retrain-{message_id(1)}",
        "conf": {"epochs": 20, "cause": cause},
        "note": cause,
    }
    listening.stop()
    assert count(broker, QUEUE) == 0


def test_a_long_reason_is_cut_for_the_note_alone(
    listen: Listen, publisher: Publisher, airflow: AirflowStandIn, decisions: Decisions
) -> None:
    listen()
    publisher.send(a_request(1, reason="person", override="x" * 1000))
    wait_until(lambda: outcome_of(decisions, 1) is Outcome.caused)
    (run,) = airflow.runs.values()
    assert run["note"] == run["conf"]["cause"][:1000]
    assert len(run["conf"]["cause"]) > 1000


def test_a_burst_becomes_one_run(
    listen: Listen, publisher: Publisher, airflow: AirflowStandIn, decisions: Decisions
) -> None:
    for number in range(1, 31):
        publisher.send(a_request(number, minutes=number))
    listen()
    wait_until(lambda: outcome_of(decisions, 30) is Outcome.coalesced)
    assert [run["id"] for run in airflow.runs.values()] == [f"retrain-{message_id(1)}"]
    assert [outcome_of(decisions, n) for n in (1, 2)] == [Outcome.caused, Outcome.coalesced]


@pytest.mark.parametrize("fault", ["500", "503", "lost answer", "401", "403"])
def test_a_fault_of_airflow_is_outlived(
    fault: str,
    broker: str,
    listen: Listen,
    publisher: Publisher,
    airflow: AirflowStandIn,
    decisions: Decisions,
) -> None:
    airflow.faults = [fault]
    listening = listen()
    publisher.send(a_request(1))
    wait_until(lambda: outcome_of(decisions, 1) is Outcome.caused)
    assert len(airflow.runs) == 1
    posts = [status for method, path, status in airflow.requests if path.endswith("dagRuns")]
    assert posts == ([409] if fault == "lost answer" else [int(fault), 200])
    listening.stop()
    assert count(broker, QUEUE) == 0


def test_parameters_that_airflow_refuses_are_dead_letters_with_the_reason(
    broker: str, listen: Listen, publisher: Publisher, decisions: Decisions
) -> None:
    listen()
    publisher.send(a_request(1, parameters={"share": "a lot"}))
    wait_until(lambda: outcome_of(decisions, 1) is Outcome.dead_lettered)
    wait_until(lambda: count(broker, DEAD_QUEUE) == 1)
    (letter,) = read_dead_letters(broker, 10)
    reason = "Airflow answered 400: Invalid input for param share: 'a lot' is not a number"
    assert (letter.id, letter.reason) == (message_id(1), reason)
    assert decisions.find(message_id(1)).why == reason


def test_a_dag_that_is_not_there_is_waited_for_and_in_the_end_given_up(
    broker: str,
    listen: Listen,
    publisher: Publisher,
    airflow: AirflowStandIn,
    decisions: Decisions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listen()
    publisher.send(a_request(1, pipeline="unknown_pipeline"))
    wait_until(lambda: [s for _, _, s in airflow.requests].count(404) >= 3)
    assert outcome_of(decisions, 1) is Outcome.open
    monkeypatch.setattr(module, "UNKNOWN_HOURS", 0.0)
    wait_until(lambda: outcome_of(decisions, 1) is Outcome.dead_lettered)
    wait_until(lambda: count(broker, DEAD_QUEUE) == 1)
    assert decisions.find(message_id(1)).why == (
        "Airflow answered 404: The Dag was not found (0 h long)"
    )


def test_wrong_credentials_lose_nothing(
    listen: Listen, publisher: Publisher, airflow: AirflowStandIn, decisions: Decisions
) -> None:
    wrong = listen(AirflowTarget(airflow.url, "listener", "a word"))
    publisher.send(a_request(1))
    wait_until(lambda: [s for _, _, s in airflow.requests].count(401) >= 2)
    assert airflow.runs == {}
    wrong.stop()
    listen()
    wait_until(lambda: outcome_of(decisions, 1) is Outcome.caused)


def test_poison_is_set_aside_with_the_reason_and_the_rest_goes_on(
    broker: str, listen: Listen, publisher: Publisher, decisions: Decisions
) -> None:
    with opened_channel(broker) as channel:
        publish(channel, EVENTS, ROUTING_KEY, b'{"learner": "Ada"}', "whatever")
    publisher.send(a_request(1))
    listen()
    wait_until(lambda: outcome_of(decisions, 1) is Outcome.caused)
    wait_until(lambda: count(broker, DEAD_QUEUE) == 1)
    (letter,) = read_dead_letters(broker, 10)
    assert letter.id == poison_id(b'{"learner": "Ada"}')
    assert letter.reason.startswith("The message does not fit its schema. the whole message ")
    assert letter.to_json()["request"] is None
    assert decisions.find(letter.id).outcome is Outcome.dead_lettered


def test_a_message_that_comes_twice_is_one(
    broker: str, listen: Listen, publisher: Publisher, airflow: AirflowStandIn, decisions: Decisions
) -> None:
    listening = listen()
    publisher.send(a_request(1))
    publisher.send(a_request(1))
    wait_until(lambda: outcome_of(decisions, 1) is Outcome.caused)
    publisher.send(a_request(1))
    publisher.send(a_request(2, parameters={"epochs": 7}))
    wait_until(lambda: outcome_of(decisions, 2) is not Outcome.open)
    listening.stop()
    assert len(airflow.runs) == 1
    assert count(broker, QUEUE) == 0


def test_without_a_ledger_nothing_is_acked_and_nothing_asked(
    broker: str,
    listen: Listen,
    publisher: Publisher,
    airflow: AirflowStandIn,
    decisions: Decisions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def gone(*arguments: object) -> None:
        asked.append(arguments)
        raise LearnLoopError("The ledger's database did not do as asked.")

    monkeypatch.setattr(module, "LEDGER_RETRY_SECONDS", 0.05)
    listening = listen()
    with monkeypatch.context() as patch:
        patch.setattr(Decisions, "decide", gone)
        publisher.send(a_request(1))
        wait_until(lambda: len(asked) > 3)
        assert listening.health.parts == {"broker": True, "ledger": False, "target": True}
        assert not listening.health.is_healthy
        assert airflow.runs == {}
    wait_until(lambda: outcome_of(decisions, 1) is Outcome.caused)
    assert listening.health.is_healthy


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_decision_is_on_record_before_airflow_is_asked_and_the_ack_comes_last(
    broker: str, listen: Listen, publisher: Publisher, decisions: Decisions
) -> None:
    seen = []

    class Watching:
        def create(self, decision: object) -> object:
            seen.append([(m.id, m.outcome) for m in decisions.every_message()])
            raise SystemExit  # as if killed: the thread ends without another word

        def close(self) -> None:
            """Nothing is held."""

    first = listen(Watching())
    publisher.send(a_request(1))
    first.thread.join(60)
    assert seen == [[(message_id(1), Outcome.open)]]
    wait_until(lambda: count(broker, QUEUE) == 1)
    listen()
    wait_until(lambda: outcome_of(decisions, 1) is Outcome.caused)


def test_two_listeners_take_turns(
    listen: Listen, publisher: Publisher, airflow: AirflowStandIn, decisions: Decisions
) -> None:
    first = listen()
    wait_until(lambda: first.health.parts["broker"])
    second = listen()
    wait_until(lambda: second.health.parts["broker"])
    for number in range(1, 6):
        publisher.send(replace(a_request(number), pipeline=f"pipeline_{number}"))
    wait_until(lambda: outcome_of(decisions, 5) is Outcome.caused)
    told = second.health.registry.get_sample_value
    assert told("learnloop_retrain_messages_total", {"outcome": "caused"}) is None
    first.stop()
    publisher.send(a_request(6))
    wait_until(lambda: outcome_of(decisions, 6) is Outcome.caused)
    wait_until(lambda: told("learnloop_retrain_messages_total", {"outcome": "caused"}) == 1)
    assert len(airflow.runs) == 6
