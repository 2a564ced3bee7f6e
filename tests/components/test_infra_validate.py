"""The gate before the registry: a model is served in a fresh process, over both protocols."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest

from components.infra_validate import infra_validate
from learnloop.artifacts import Blessing, Examples, Model
from learnloop.component import Context
from learnloop.errors import GateRefused
from learnloop.settings import Settings
from serving.client import PredictionClient
from serving.embedded import ServerNotStarted, embedded_server
from tests.components.served import (
    COURSE,
    SCORE,
    STEPS,
    write_blessing,
    write_examples,
    write_model,
)

pytestmark = pytest.mark.xdist_group("served")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    columns = (COURSE, SCORE, STEPS)
    return write_model(tmp_path_factory.mktemp("model") / "model", columns)


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    return write_examples(tmp_path_factory.mktemp("examples") / "examples")


@pytest.fixture(autouse=True)
def no_child_is_left() -> Iterator[None]:
    before = children()
    yield
    assert children() <= before


def children() -> set[str]:
    told = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(os.getpid())], capture_output=True, text=True
    )
    return {line.strip() for line in told.stdout.splitlines() if "learnloop serve" in line}


def judged(
    folder: Path, model: Model, examples: Examples, *earlier: str, **limits: Any
) -> tuple[dict[str, Any], tuple[str, ...], Blessing]:
    """Judge a model; give the document, the reasons of a refusal, and the artifact."""
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    blessing = write_blessing(folder / "blessing", *earlier)
    verdict = Blessing.create(folder / "infra")
    reasons: tuple[str, ...] = ()
    try:
        infra_validate.function(
            model,
            blessing,
            examples,
            verdict,
            name="small",
            context=Context.for_test(scratch),
            **{"max_p99_milliseconds": 60_000.0, **limits},
        )
    except GateRefused as refused:
        reasons = refused.reasons
        assert refused.where == "the model in a server"
        assert refused.next == "learnloop show by-hand"
    assert not (scratch / "served").exists()
    return verdict.load(), reasons, verdict


def test_a_model_that_is_served_as_it_should_be(
    tmp_path: Path, model: Model, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With numbers, texts and sequences that are padded; on a machine that is disturbed once."""
    document, reasons, first = judged(tmp_path, model, examples)
    assert not reasons
    assert document["blessed"] is True
    assert document["reasons"] == []
    measured = document["measured"]
    assert measured["largest_difference"].keys() == {
        "REST, 'serving_default' by graph",
        "gRPC, 'serving_default' by graph",
    }
    assert max(measured["largest_difference"].values()) <= 1e-6
    assert 0 < measured["milliseconds"]["REST"]["p50"] <= measured["milliseconds"]["REST"]["p99"]
    assert 50 < measured["peak_memory_mib"] < 4096
    (tmp_path / "again").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(PredictionClient, "predict", _disturbed_once(PredictionClient.predict))
        again, _, second = judged(
            tmp_path / "again", model, examples, requests=5, max_p99_milliseconds=4_000.0
        )
    assert 0 < again["measured"]["milliseconds"]["REST"]["p99"] <= 4_000
    assert first.content_digest() == second.content_digest(), "measured times are no content"


def _disturbed_once(predict: Any) -> Any:
    """The client's method, whose first question of one row takes five seconds."""
    left = [5.0]

    def disturbed(self: Any, *given: Any, columns: Any, **options: Any) -> Any:
        if left and len(columns["score"]) == 1:
            time.sleep(left.pop())
        return predict(self, *given, columns=columns, **options)

    return disturbed


def test_too_slow_too_large_and_different(tmp_path: Path, model: Model, examples: Examples) -> None:
    """Budgets and the tolerance refuse, each with its figures; the report is written anyway."""
    document, reasons, _ = judged(
        tmp_path,
        model,
        examples,
        tolerance=-1.0,
        max_p99_milliseconds=0.001,
        max_memory_mib=1.0,
        requests=5,
    )
    starts = [
        "Over REST, answers of 'serving_default' by graph lie up to ",
        "Over gRPC, answers of 'serving_default' by graph lie up to ",
        "Over REST, 99 of 100 questions of one row took up to ",
        "Over gRPC, 99 of 100 questions of one row took up to ",
        "The server held ",
    ]
    ends = [
        " from those in this process, at most -1 is allowed.",
        " from those in this process, at most -1 is allowed.",
        " ms, at most 0.0 ms are allowed.",
        " ms, at most 0.0 ms are allowed.",
        " MiB, at most 1 MiB are allowed.",
    ]
    assert len(reasons) == 5
    for reason, start, end in zip(reasons, starts, ends, strict=True):
        assert reason.startswith(start)
        assert reason.endswith(end)
    assert document["blessed"] is False
    assert tuple(document["reasons"]) == reasons


def test_a_model_whose_answers_differ_in_the_server(
    tmp_path: Path, model: Model, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is served is not what was judged: other weights under the same name."""
    other = write_model(tmp_path / "other", (SCORE, COURSE, STEPS))
    monkeypatch.setattr(Model, "load", lambda self: _Doubled(_load(other)))
    _, reasons, _ = judged(tmp_path, model, examples, requests=2)
    assert len(reasons) == 2
    assert "Over REST, answers of 'serving_default' by graph lie up to " in reasons[0]


def test_every_way_in_which_the_server_answers_is_tried(
    tmp_path: Path, settings: Settings, examples: Examples
) -> None:
    """The graph and what the server makes of it; where that answers otherwise, it is refused."""
    model = write_model(tmp_path / "model", (SCORE,))
    document, reasons, _ = judged(tmp_path, model, examples, requests=2)
    assert not reasons
    largest = document["measured"]["largest_difference"]
    assert max(largest.values()) <= 1e-6
    (plan,) = settings.home_folder.rglob("plan.json")
    chosen = json.loads(plan.read_bytes())["serving_default"]
    assert chosen["execution"] in ("tflite", "onnx"), chosen
    assert largest.keys() == {
        f"{protocol}, 'serving_default' by {execution}"
        for execution in ("graph", chosen["execution"])
        for protocol in ("REST", "gRPC")
    }
    score, probability = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["rows"])
        for name in ("score", "probability")
    )
    node = onnx.helper.make_node("Sigmoid", ["score"], ["probability"])
    graph = onnx.helper.make_graph([node], "other", [score], [probability])
    opset = onnx.helper.make_opsetid("", 17)
    other = onnx.helper.make_model(graph, ir_version=8, opset_imports=[opset])
    onnx.save(other, plan.with_name("serving_default.onnx"))
    plan.write_text(json.dumps({"serving_default": {**chosen, "execution": "onnx"}}))
    (tmp_path / "again").mkdir()
    _, reasons, _ = judged(tmp_path / "again", model, examples, requests=2)
    assert [reason.partition(" lie up to ")[0] for reason in reasons] == [
        "Over REST, answers of 'serving_default' by onnx",
        "Over gRPC, answers of 'serving_default' by onnx",
    ]


class _Doubled:
    """A SavedModel whose answers are twice what it says."""

    def __init__(self, loaded: Any) -> None:
        function = loaded.signatures["serving_default"]
        self.loaded = loaded
        self.signatures = {
            "serving_default": lambda **raw: {k: v * 2 for k, v in function(**raw).items()}
        }


def _load(model: Model) -> Any:
    import tensorflow as tf

    return tf.saved_model.load(str(model.saved_model))


def test_a_model_that_does_not_load(tmp_path: Path, examples: Examples) -> None:
    model = write_model(tmp_path / "model")
    (model.saved_model / "saved_model.pb").write_bytes(b"no graph")
    document, reasons, _ = judged(tmp_path, model, examples)
    assert document["blessed"] is False
    (reason,) = reasons
    assert reason.startswith("The server does not load the model. ")
    assert "saved_model.pb" in reason


def test_the_verdict_before_counts(tmp_path: Path, model: Model, examples: Examples) -> None:
    """An overridden refusal lets this gate try the model; the model stays unblessed."""
    document, reasons, _ = judged(tmp_path, model, examples, "AUC is 0.5.", requests=2)
    assert not reasons
    assert document["blessed"] is False
    assert document["reasons"] == ["AUC is 0.5."]


def test_a_server_that_does_not_start(
    tmp_path: Path, model: Model, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason has the last lines of what the server wrote."""
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho one\necho 'the library is missing' >&2\nexit 7\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    document, reasons, _ = judged(tmp_path, model, examples)
    assert reasons == (
        "The embedded server did not start. exit code 7: one / the library is missing.",
    )
    assert document["blessed"] is False


def test_a_server_that_is_never_ready_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    mark = tmp_path / "pid"
    program.write_text(f"#!/bin/sh\necho $$ > {mark}\necho loading\nexec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with (
        pytest.raises(ServerNotStarted) as caught,
        embedded_server(tmp_path, tmp_path / "log", ready_seconds=2.0),
    ):
        pass
    assert str(caught.value) == (
        "The embedded server did not start.\n"
        f"  where:    {tmp_path / 'log'}\n"
        "  expected: a server that takes questions\n"
        "  received: it still starts: loading\n"
        "  next:     learnloop serve"
    )
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)
