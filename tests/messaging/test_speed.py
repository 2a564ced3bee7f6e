"""How many requests the listener decides about in a second, all of them coalesced."""

from __future__ import annotations

import time

import pytest

from messaging.broker import EVENTS, QUEUE, ROUTING_KEY, opened_channel
from messaging.decisions import Decisions
from messaging.publisher import publish
from tests.messaging.airflow_stand_in import AirflowStandIn
from tests.messaging.conftest import Listen, count, wait_until
from tests.messaging.requests import a_request

REQUESTS = 10_000


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.xdist_group("rabbitmq")
def test_10_000_requests_of_ten_pipelines(
    broker: str, listen: Listen, airflow: AirflowStandIn, decisions: Decisions
) -> None:
    with opened_channel(broker) as channel:
        for number in range(1, REQUESTS + 1):
            request = a_request(number, pipeline=f"pipeline_{number % 10}")
            publish(channel, EVENTS, ROUTING_KEY, request.to_bytes(), request.message_id)
    began = time.monotonic()
    listening = listen()
    wait_until(lambda: count(broker, QUEUE) == 0, 300)
    told = listening.health.registry.get_sample_value
    name, outcomes = "learnloop_retrain_messages_total", ("caused", "coalesced", "refused")

    def ended() -> float:
        return sum(told(name, {"outcome": outcome}) or 0 for outcome in outcomes)

    wait_until(lambda: ended() == REQUESTS, 300)
    seconds = time.monotonic() - began
    print(f"{REQUESTS / seconds:,.0f} requests a second, {len(airflow.runs)} runs")
    assert len(airflow.runs) == 10
    assert len(list(decisions.every_message())) == REQUESTS
