"""Servers that answer nonsense, drip, go away and come back, or are asked much at once."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from serving.client import (
    AsyncPredictionClient,
    CircuitSettings,
    PredictionClient,
    PredictionError,
    Retries,
)
from serving.server.contract import Code
from tests.servers import free_port
from tests.serving.client.scripted import Scripted, rest_server, rpc_server, wait_until


@pytest.mark.parametrize("fault", ["garbage", "418"])
def test_what_is_no_server_of_models(fault: str) -> None:
    state = Scripted()
    state.always = fault
    with (
        rest_server(state) as server,
        PredictionClient(server.url) as client,
        pytest.raises(PredictionError) as caught,
    ):
        client.status("double")
    assert caught.value.code is Code.INTERNAL


def test_a_server_that_drips_ends_with_the_time() -> None:
    """A read that always brings something would otherwise go on for ever."""
    state = Scripted()
    state.always = "drip"
    with (
        rest_server(state) as server,
        PredictionClient(server.url, timeout=0.3) as client,
        pytest.raises(PredictionError) as caught,
    ):
        client.status("double")
    assert caught.value.code is Code.DEADLINE_EXCEEDED


def test_a_restart_is_hidden() -> None:
    """The server goes away and comes back on its port: callers wait, none sees an error."""
    state, port = Scripted(), free_port()
    patient = Retries(attempts=10_000, first_seconds=0.01, most_seconds=0.05)
    answers: list[float] = []
    faults: list[BaseException] = []
    done = threading.Event()
    circuit = CircuitSettings(failures=5, open_seconds=0.1)
    with PredictionClient(
        f"http://127.0.0.1:{port}", timeout=120, retries=patient, circuit=circuit
    ) as client:

        def ask() -> None:
            try:
                while not done.is_set():
                    answers.extend(client.predict("double", rows=[{"x": 1}], version=1).scores)
            except BaseException as fault:
                faults.append(fault)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for index in range(2):
            with rest_server(state, port):
                if not index:
                    for thread in threads:
                        thread.start()
                seen = len(answers)
                wait_until(lambda seen=seen: len(answers) > seen + 20)  # type: ignore[misc]
        with rest_server(state, port):
            seen = len(answers)
            wait_until(lambda: len(answers) > seen + 20)
            done.set()
            for thread in threads:
                thread.join(60)
    assert not faults
    assert set(answers) == {2.0}


def test_a_caller_who_gives_up_blocks_no_probe() -> None:
    """A cancelled probe must not leave the circuit half-open for ever."""
    state = Scripted()

    async def scenario(url: str) -> None:
        circuit = CircuitSettings(failures=1, open_seconds=0.01)
        retries = Retries(attempts=1)
        async with AsyncPredictionClient(url, circuit=circuit, retries=retries) as client:
            state.script = ["503", "hang"]
            with pytest.raises(PredictionError):
                await client.status("double")
            await asyncio.sleep(0.02)
            probe = asyncio.create_task(client.status("double", timeout=60))
            while state.asked("status") < 2:
                await asyncio.sleep(0.01)
            probe.cancel()
            with pytest.raises(asyncio.CancelledError):
                await probe
            assert len(await client.status("double")) == 2

    with rest_server(state) as server:
        asyncio.run(scenario(server.url))


def test_many_questions_at_once() -> None:
    state = Scripted()

    async def scenario(url: str) -> list[Any]:
        async with AsyncPredictionClient(url, timeout=60) as client:
            questions = [
                client.predict("double", rows=[{"x": number}], version=1) for number in range(100)
            ]
            return await asyncio.gather(*questions)

    with rpc_server(state) as url:
        found = asyncio.run(scenario(url))
    assert [one.scores for one in found] == [[2.0 * number] for number in range(100)]
