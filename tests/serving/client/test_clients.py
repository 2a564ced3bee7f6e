"""Both clients over both protocols, against servers that fail as they are told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from feature_store.pseudonyms import Keyring, PseudonymKey
from learnloop.errors import UsageError
from serving.client import (
    AsyncPredictionClient,
    Canary,
    CircuitSettings,
    CircuitState,
    PredictionClient,
    PredictionError,
    Retries,
    pseudonym,
)
from serving.client.endpoint import TOKEN_VARIABLE
from serving.server.contract import Code, VersionState
from tests.servers import free_port
from tests.serving.client.scripted import Scripted, rest_server, rpc_server, wait_until

RING = Keyring((PseudonymKey("2026", b"k" * 32),))
ADA = pseudonym("ada", RING)
QUICK = Retries(first_seconds=0.001, most_seconds=0.01)
KINDS = ["rest sync", "rest async", "grpc sync", "grpc async"]


class Awaited:
    """An asynchronous client that is waited for, so that one test does for both."""

    def __init__(self, client: AsyncPredictionClient, runner: asyncio.Runner) -> None:
        self.client = client
        self.runner = runner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.client, name)
        if not asyncio.iscoroutinefunction(found):
            return found
        return lambda *given, **named: self.runner.run(found(*given, **named))


@dataclass
class Served:
    """A scripted server, and clients of it."""

    kind: str
    state: Scripted
    url: str
    stack: ExitStack

    def client(self, *urls: str, **options: Any) -> Any:
        options = {"retries": QUICK, "timeout": 30.0, **options}
        if self.kind.endswith("async"):
            runner = self.stack.enter_context(asyncio.Runner())
            client = AsyncPredictionClient(*(urls or (self.url,)), **options)
            self.stack.callback(lambda: runner.run(client.close()))
            return Awaited(client, runner)
        return self.stack.enter_context(PredictionClient(*(urls or (self.url,)), **options))

    def fault(self, code: Code, retry_after: str = "") -> str:
        """What a script says for a refusal of this code."""
        over_http = {
            Code.UNAVAILABLE: "503",
            Code.RESOURCE_EXHAUSTED: "429",
            Code.INVALID_ARGUMENT: "400",
            Code.INTERNAL: "500",
            Code.NOT_FOUND: "404",
            Code.UNAUTHENTICATED: "401",
            Code.DEADLINE_EXCEEDED: "504",
        }
        name = over_http[code] if self.kind.startswith("rest") else code.name
        return f"{name} {retry_after}".strip()


@pytest.fixture(params=KINDS)
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    with ExitStack() as stack:
        state = Scripted()
        if request.param.startswith("rest"):
            url = stack.enter_context(rest_server(state)).url
        else:
            url = stack.enter_context(rpc_server(state))
        yield Served(request.param, state, url, stack)


def test_it_predicts_rows_and_columns(served: Served) -> None:
    client = served.client()
    by_row = client.predict("double", rows=[{"x": 1.5}, {"x": 2}], version=1)
    assert by_row.outputs == {"y": [3.0, 4.0]}
    assert by_row.scores == [3.0, 4.0]
    assert (by_row.model, by_row.version, by_row.label, by_row.attempts) == ("double", 1, "", 1)
    by_column = client.predict("double", columns={"x": np.array([1.0, 2.0])}, label="stable")
    assert by_column.outputs == {"y": [2.0, 4.0]}
    assert by_column.label == "stable"
    both = client.predict(
        "double", rows=[{"x": 1, "who": "Ada"}], signature="both", version=1
    ).outputs
    assert both == {"y": [2.0], "name": ["Ada"]}
    assert served.state.asked("metadata") == 2, "signatures are asked for once a version or label"


def test_it_classifies_and_regresses(served: Served) -> None:
    client = served.client()
    classified = client.classify("double", [{"x": 0.25}, {"x": 0.5}], label="stable")
    assert classified.classes == [{"0": 0.75, "1": 0.25}, {"0": 0.5, "1": 0.5}]
    regressed = client.regress("double", [{"x": 0.25}], version=2)
    assert regressed.scores == [1.0]
    assert regressed.version == 2


def test_it_tells_status_and_metadata(served: Served) -> None:
    client = served.client()
    statuses = client.status("double")
    assert [(status.version, status.state) for status in statuses] == [
        (2, VersionState.AVAILABLE),
        (1, VersionState.AVAILABLE),
    ]
    signature = client.metadata("double")["serving_default"]
    assert signature.method == "tensorflow/serving/predict"
    assert {name: (spec.dtype, spec.shape) for name, spec in signature.inputs.items()} == {
        "x": (1, (-1,)),
        "who": (7, (-1,)),
    }


@pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED])
def test_it_asks_again_where_that_may_help(served: Served, code: Code) -> None:
    client = served.client()
    served.state.script = ["", served.fault(code), served.fault(code)]
    prediction = client.predict("double", rows=[{"x": 1}], version=1)
    assert prediction.scores == [2.0]
    assert prediction.attempts == 3
    assert served.state.asked("predict") == 3


@pytest.mark.parametrize("fault", ["reset", "cut"])
def test_a_connection_that_breaks_is_opened_again(served: Served, fault: str) -> None:
    if not served.kind.startswith("rest"):
        fault = "UNAVAILABLE"  # what gRPC calls it
    client = served.client()
    served.state.script = ["", fault, fault]
    assert client.predict("double", rows=[{"x": 1}], version=1).attempts == 3


@pytest.mark.parametrize(
    "code", [Code.INVALID_ARGUMENT, Code.INTERNAL, Code.UNAUTHENTICATED, Code.DEADLINE_EXCEEDED]
)
def test_it_does_not_ask_again_where_that_helps_nobody(served: Served, code: Code) -> None:
    client = served.client()
    served.state.always = served.fault(code)
    with pytest.raises(PredictionError) as caught:
        client.status("double")
    assert caught.value.code is code
    assert caught.value.attempts == served.state.asked("status") == 1


def test_it_gives_up_after_so_many_attempts(served: Served) -> None:
    client = served.client(retries=Retries(3, 0.001, 0.01))
    served.state.always = served.fault(Code.UNAVAILABLE)
    with pytest.raises(PredictionError) as caught:
        client.status("double", label="stable")
    assert served.state.asked("status") == 3
    said = "scripted 503" if served.kind.startswith("rest") else "scripted UNAVAILABLE"
    assert str(caught.value) == (
        "The question to double stable was not answered.\n"
        f"  where:    status of double stable at {served.url}\n"
        "  expected: an answer\n"
        f"  received: UNAVAILABLE: {said}, after 3 attempts\n"
        "  next:     ask again later; learnloop serving status tells what is served"
    )


def test_it_waits_as_long_as_the_server_asks(served: Served) -> None:
    client = served.client()
    served.state.script = [served.fault(Code.RESOURCE_EXHAUSTED, "0.4")]
    began = time.monotonic()
    client.status("double")
    assert time.monotonic() - began >= 0.4
    assert served.state.asked("status") == 2


def test_it_does_not_wait_beyond_its_time(served: Served) -> None:
    client = served.client(timeout=20.0)
    served.state.script = [served.fault(Code.RESOURCE_EXHAUSTED, "3600")]
    began = time.monotonic()
    with pytest.raises(PredictionError) as caught:
        client.status("double")
    assert caught.value.code is Code.RESOURCE_EXHAUSTED
    assert time.monotonic() - began < 15.0, "an hour's wait is not begun"
    assert served.state.asked("status") == 1


def test_a_server_that_hangs_ends_with_the_time(served: Served) -> None:
    client = served.client(timeout=0.3)
    served.state.always = "hang"
    with pytest.raises(PredictionError) as caught:
        client.status("double")
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    assert served.state.asked("status") == 1


def test_the_server_is_told_how_long_it_has(served: Served) -> None:
    served.client().status("double", timeout=7.0)
    headers = served.state.requests[0][3]
    if served.kind.startswith("rest"):
        assert headers["grpc-timeout"] == "7000m"
    else:
        assert 0 < float(headers["remaining"]) < 7.5


def test_nothing_listens(served: Served) -> None:
    scheme = served.url.partition(":")[0]
    url = f"{scheme}://127.0.0.1:{free_port()}"
    with pytest.raises(PredictionError) as caught:
        served.client(url, retries=Retries(2, 0.001, 0.01)).status("double")
    error = caught.value
    assert error.code is Code.UNAVAILABLE
    assert error.what == f"No server answers at {url}."
    assert error.next == "start a server: learnloop serve"
    assert error.received.endswith("after 2 attempts")


def test_a_circuit_opens_is_probed_and_closes(served: Served) -> None:
    client = served.client(
        retries=Retries(attempts=1), circuit=CircuitSettings(failures=3, open_seconds=0.2)
    )
    circuit = client.circuits[served.url]
    served.state.always = served.fault(Code.UNAVAILABLE)
    for _ in range(3):
        with pytest.raises(PredictionError):
            client.status("double")
    assert circuit.state is not CircuitState.CLOSED
    if circuit.state is CircuitState.OPEN:  # on a slow machine it may be half-open by now
        with pytest.raises(PredictionError) as caught:
            client.status("double")
        if served.state.asked("status") == 3:
            assert caught.value.what == f"{served.url} is not asked now."
            assert circuit.counts.refused == 1
    wait_until(lambda: circuit.state is CircuitState.HALF_OPEN)
    served.state.always = ""
    assert len(client.status("double")) == 2
    assert circuit.state is CircuitState.CLOSED
    assert circuit.counts.opened >= 1


def test_bad_questions_open_no_circuit(served: Served) -> None:
    client = served.client(circuit=CircuitSettings(failures=1))
    for _ in range(3):
        with pytest.raises(PredictionError):
            client.metadata("nobody")
    assert client.circuits[served.url].state is CircuitState.CLOSED


def test_a_replica_that_is_gone_is_stepped_over(served: Served) -> None:
    scheme = served.url.partition(":")[0]
    gone = f"{scheme}://127.0.0.1:{free_port()}"
    client = served.client(gone, served.url, circuit=CircuitSettings(2, open_seconds=3600))
    for _ in range(8):
        assert len(client.status("double")) == 2
    assert client.circuits[gone].state is CircuitState.OPEN
    assert client.circuits[gone].counts.passed == 2, "it is left alone afterwards"


def test_one_subject_sees_one_version(served: Served) -> None:
    client = served.client(canary=Canary.fixed(0.5))
    asked = [pseudonym(str(number), RING) for number in range(12)]
    first = [client.predict("double", rows=[{"x": 0}], subject=who) for who in asked]
    again = [client.predict("double", rows=[{"x": 0}], subject=who) for who in asked]
    assert [one.label for one in first] == [one.label for one in again]
    assert {one.label: one.scores for one in first} == {"stable": [0.0], "canary": [0.5]}


def test_without_a_canary_the_stable_version_answers(served: Served) -> None:
    served.state.has_canary = False
    client = served.client(canary=Canary.fixed(1.0))
    answered = client.predict("double", rows=[{"x": 1}], subject=ADA)
    assert (answered.label, answered.scores) == ("stable", [2.0])
    assert client.regress("double", [{"x": 0.5}], subject=ADA).label == "stable"
    assert client.fallbacks == 2


def test_a_label_or_version_that_is_named_is_not_changed(served: Served) -> None:
    served.state.has_canary = False
    client = served.client(canary=Canary.fixed(1.0))
    assert client.predict("double", rows=[{"x": 1}], version=1).scores == [2.0]
    with pytest.raises(PredictionError) as caught:
        client.predict("double", rows=[{"x": 1}], label="canary")
    assert caught.value.code is Code.NOT_FOUND
    assert caught.value.next == "learnloop serving status"
    assert client.fallbacks == 0


def test_who_is_asked_about_and_what_may_be_logged_goes_along(served: Served) -> None:
    client = served.client()
    bob = pseudonym("bob", RING)
    rows = [{"x": 1}, {"x": 2}]
    client.predict("double", rows=rows, version=1, subject=[ADA, bob], log_features=False)
    headers = served.state.requests[-1][3]
    assert headers["x-learnloop-subject"] == f"{ADA},{bob}"
    assert headers["x-learnloop-log"] == "digest"
    client.predict("double", rows=rows, version=1)
    assert not {"x-learnloop-subject", "x-learnloop-log"} & served.state.requests[-1][3].keys()


def test_a_raw_id_is_never_sent(served: Served) -> None:
    with pytest.raises(UsageError) as caught:
        served.client().predict("double", rows=[{"x": 1}], subject="learner-28400")
    assert str(caught.value) == (
        "A subject is a pseudonym, never a learner's id.\n"
        "  where:    subject\n"
        "  expected: what serving.client.pseudonym(learner) gives\n"
        "  received: another text"
    )
    assert not served.state.requests


def test_the_token_goes_along(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "hunter2")
    served.client().status("double")
    assert served.state.requests[0][3]["authorization"] == "Bearer hunter2"


def test_the_trace_goes_on_at_the_server(served: Served) -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace, "get_tracer_provider", lambda: provider)
        patch.setattr(trace, "get_tracer", lambda name, *rest: provider.get_tracer(name))
        served.state.script = ["", served.fault(Code.UNAVAILABLE)]
        served.client().predict("double", rows=[{"x": 7.25}], version=1, subject=ADA)
    (span,) = exporter.get_finished_spans()
    sent = served.state.requests[-1][3]["traceparent"]
    assert sent == f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-01"
    assert dict(span.attributes or {}) == {
        "learnloop.operation": "predict",
        "learnloop.model": "double",
        "learnloop.attempts": 2,
        "learnloop.label": "",
    }
    assert span.kind is trace.SpanKind.CLIENT


def test_a_callers_trace_is_passed_on_without_an_sdk(served: Served) -> None:
    from opentelemetry import context, propagate

    given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    token = context.attach(propagate.extract({"traceparent": given}))
    try:
        served.client().status("double")
    finally:
        context.detach(token)
    assert served.state.requests[0][3]["traceparent"] == given


def test_a_new_version_with_other_inputs_is_understood(served: Served) -> None:
    client = served.client()
    client.predict("double", rows=[{"x": 1}], label="stable")
    served.state.input_name = "z"
    assert client.predict("double", rows=[{"z": 1}], label="stable").scores == [2.0]
    assert served.state.asked("metadata") == 2


BAD: list[tuple[dict[str, Any], str]] = [
    (
        {"rows": [{"who": "a", "number": 1}]},
        "double has no input 'number'.\n"
        "  where:    signature 'serving_default' of double version 1\n"
        "  expected: one of who, x\n"
        "  received: 'number'",
    ),
    (
        {"rows": [{"whom": "a"}]},
        "double has no input 'whom'.\n"
        "  where:    signature 'serving_default' of double version 1\n"
        "  expected: did you mean 'who'?\n"
        "  received: 'whom'",
    ),
    (
        {"rows": [{"x": 1}], "signature": "bot"},
        "double has no signature 'bot'.\n"
        "  where:    double version 1\n"
        "  expected: did you mean 'both'?\n"
        "  received: 'bot'",
    ),
    (
        {"rows": [{"x": 1}, {"who": "a"}]},
        "Every row needs the same columns.\n  where:    row 1\n  expected: x\n  received: who",
    ),
    (
        {"rows": []},
        "There is no row to ask about.\n  where:    predict\n  expected: a row",
    ),
    (
        {},
        "A question is either rows or columns.\n"
        "  where:    predict\n"
        "  expected: rows=[{…}, …] or columns={…}\n"
        "  received: neither",
    ),
    (
        {"rows": [{"x": 1}], "columns": {"x": [1]}},
        "A question is either rows or columns.\n"
        "  where:    predict\n"
        "  expected: rows=[{…}, …] or columns={…}\n"
        "  received: both",
    ),
    (
        {"rows": [{"x": 1}], "label": "stable"},
        "A question names a version or a label, not both.\n"
        "  where:    predict\n"
        "  expected: version or label\n"
        "  received: version 1 and label 'stable'",
    ),
    (
        {"rows": [{"x": 1}] * 101, "subject": [ADA] * 101},
        "There are more subjects than a question's headers hold.\n"
        "  where:    subject\n"
        "  expected: at most 100 rows with subjects a question\n"
        "  received: 101",
    ),
]


@pytest.mark.parametrize(("given", "said"), BAD)
def test_questions_that_do_not_fit(served: Served, given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        served.client().predict("double", version=1, **given)
    assert str(caught.value) == said
    assert served.state.asked("predict") == 0


@pytest.mark.parametrize(
    ("rows", "expected", "received"),
    [
        ([{"x": "secret"}], "float32", "Cannot cast array data from dtype('<U6')"),
        ([{"x": [1, {}]}], "float32", "Cannot cast array data from dtype('O')"),
        ([{"x": 1}, {"x": [1, 2]}], "float32", "rows of unequal length"),
        ([{"x": 1j}], "float32", "Cannot cast array data from dtype('complex128')"),
        ([{"who": 5}], "text", "Cannot cast int to text"),
    ],
)
def test_values_that_fit_no_tensor(
    rows: list[dict[str, Any]], expected: str, received: str
) -> None:
    state = Scripted()
    with (
        rpc_server(state) as url,
        PredictionClient(url) as client,
        pytest.raises(UsageError) as caught,
    ):
        client.predict("double", rows=rows, version=1)
    (name,) = rows[0]
    assert caught.value.what == f"The values of input '{name}' do not fit it."
    assert caught.value.expected == f"{expected} in rows of equal length"
    assert caught.value.received.startswith(received)
    assert "secret" not in str(caught.value)


def test_values_that_fit_no_json() -> None:
    state = Scripted()
    with (
        rest_server(state) as server,
        PredictionClient(server.url) as client,
        pytest.raises(UsageError) as caught,
    ):
        client.predict("double", rows=[{"x": {1, 2}}], version=1)
    assert str(caught.value) == (
        "A value cannot be sent to a model.\n"
        "  where:    a question to double\n"
        "  expected: numbers, texts, bytes, or sequences or arrays of them\n"
        "  received: a value of type set"
    )
