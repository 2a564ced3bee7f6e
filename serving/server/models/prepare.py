"""The process beside the server that tries a version before the server does, and makes it faster.

``python -m serving.server.models.prepare check FOLDER RESULT`` loads a version as the server would,
asks it its warm-up requests and measures it. A version that crashes crashes this process, and
nothing else.

``python -m serving.server.models.prepare convert FOLDER TARGET`` translates what it can to TFLite
and ONNX (:mod:`.translate`, once more in a process of its own), keeps of that only what answers as
the version's own graph does, measures it, and chooses for each signature the execution that took
the least time. ``TARGET`` appears complete or not at all.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from serving.server.contract import Code, ServingError, Signature
from serving.server.models.executions import GRAPH, ONNX, TFLITE, open_converted, where_finite
from serving.server.models.questions import (
    Question,
    blank_questions,
    variations,
    warmup_questions,
)
from serving.server.models.requests import RequestPlan
from serving.server.models.runtime import Function
from serving.server.models.saved_model import SavedModel
from serving.server.protos import types_pb2

PLAN = "plan.json"
MANY_ROWS = 32
TOLERANCE = 1e-6
_PARITY_ROWS = (1, 3, MANY_ROWS)
_TRANSLATION_SECONDS = 900
_MEASURED_SECONDS = 0.02
_NICE = {"check": 5, "convert": 15}


def check(folder: Path) -> dict[str, Any]:
    """Try a version.

    Returns:
        The measured seconds of one row and of many, by signature; ``{}`` of one that has no
        warm-up request and refuses a blank row.

    Raises:
        ServingError: It does not load, refuses its own warm-up requests, or lacks variables or
            tables that a signature needs.
    """
    saved = SavedModel.read(folder)
    functions = saved.open()
    signatures = saved.signatures
    questions = warmup_questions(folder, signatures)
    for number, question in enumerate(questions, 1):
        try:
            functions[question.signature](question.values)
        except ServingError as refusal:
            raise ServingError(
                refusal.code,
                f"Warm-up request {number} ({question.signature}) failed: {refusal.message}",
            ) from None
    asked = {question.signature for question in questions}
    blank = [q for q in blank_questions(signatures) if q.signature not in asked]
    return {
        name: _measure_first(
            functions[name], [q for q in (*questions, *blank) if q.signature == name], signature
        )
        for name, signature in signatures.items()
    }


def convert(folder: Path, target: Path) -> None:
    """Translate, compare, measure and choose.

    Args:
        folder: The version's folder.
        target: Where the chosen files and the plan are to be.
    """
    incoming = target.with_name(f".{target.name}-{uuid.uuid4().hex[:8]}")
    incoming.mkdir(parents=True)
    try:
        plan = _plan(folder, incoming)
        (incoming / PLAN).write_text(json.dumps(plan, indent=1, sort_keys=True))
        incoming.rename(target)
    except OSError:
        if not target.exists():  # else another server was first
            raise
    finally:
        shutil.rmtree(incoming, ignore_errors=True)


def _plan(folder: Path, incoming: Path) -> dict[str, Any]:
    saved = SavedModel.read(folder)
    functions = saved.open()
    questions = warmup_questions(folder, saved.signatures)
    wanted = {
        name: [question for question in questions if question.signature == name]
        for name, signature in saved.signatures.items()
        if _is_translatable(name, signature)
    }
    wanted = {name: asked for name, asked in wanted.items() if asked}
    reasons = _translate(folder, incoming, list(wanted)) if wanted else {}
    plan = {}
    for name, asked in wanted.items():
        signature = saved.signatures[name]
        plan[name] = _choose(name, signature, functions[name], asked, incoming, reasons)
    return plan


def _is_translatable(name: str, signature: Signature) -> bool:
    specs = (*signature.inputs.values(), *signature.outputs.values())
    return RequestPlan(name, signature).is_batchable and all(
        spec.dtype != types_pb2.DT_STRING for spec in specs
    )


def _translate(folder: Path, incoming: Path, names: Sequence[str]) -> Mapping[str, str]:
    """Translate in another process: the translators are known to abort the one they run in."""
    module = "serving.server.models.translate"
    command = [sys.executable, "-m", module, str(folder), str(incoming), *names]
    with contextlib.suppress(subprocess.TimeoutExpired):  # what came until then is there
        subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_TRANSLATION_SECONDS,
            check=False,
        )
    reasons = incoming / "reasons.json"
    return json.loads(reasons.read_bytes()) if reasons.exists() else {}


def _choose(
    name: str,
    signature: Signature,
    graph: Function,
    asked: Sequence[Question],
    incoming: Path,
    reasons: Mapping[str, str],
) -> dict[str, Any]:
    """Choose the execution of one signature."""
    baseline = _measure(graph, asked[0], many=True)
    chosen: dict[str, Any] = {"execution": GRAPH, "seconds": baseline, "finite_only": False}
    tried: dict[str, Any] = {GRAPH: baseline}
    for execution in (TFLITE, ONNX):
        file = incoming / f"{name}.{execution}"
        if not file.exists():
            tried[execution] = reasons.get(file.name, "the translator crashed")
            continue
        try:
            function = open_converted(
                execution, file, list(signature.inputs), list(signature.outputs)
            )
            difference = _difference(graph, function, asked)
            if difference.finite:
                tried[execution] = difference.finite
                continue
            if difference.other:
                is_float = [value.dtype.kind == "f" for value in asked[0].values]
                function = where_finite(function, graph, is_float)
            seconds = _measure(function, asked[0], many=True)
        except Exception as fault:
            tried[execution] = f"{type(fault).__name__}: {fault}"
            continue
        tried[execution] = seconds
        if _relative(seconds, baseline) < _relative(chosen["seconds"], baseline):
            chosen = {
                "execution": execution,
                "seconds": seconds,
                "finite_only": bool(difference.other),
            }
    return {**chosen, "tried": tried}


def _relative(seconds: Sequence[float], baseline: Sequence[float]) -> float:
    """Weigh a run of one row and a run of many alike."""
    return sum(own / reference for own, reference in zip(seconds, baseline, strict=True))


class _Difference(NamedTuple):
    """Where a translation does not answer as the graph does.

    Args:
        finite: Of requests of finite numbers; "" where it always does.
        other: Of requests with NaN or infinity; "" where it always does.
    """

    finite: str
    other: str


def _difference(graph: Function, function: Function, asked: Sequence[Question]) -> _Difference:
    found = {True: "", False: ""}
    for question in asked:
        for rows in _PARITY_ROWS:
            sized = question.resized(rows)
            for varied in (sized, *(variations(sized) if rows == _PARITY_ROWS[1] else ())):
                if not found[varied.is_finite]:
                    found[varied.is_finite] = _compare(graph, function, varied)
    return _Difference(found[True], found[False])


def _compare(graph: Function, function: Function, question: Question) -> str:
    expected, received = _answer(graph, question), _answer(function, question)
    if expected is None or received is None:
        return "" if expected is received else "it refuses other requests than the graph does"
    for own, other in zip(expected, received, strict=True):
        if own.shape != other.shape or own.dtype != other.dtype:
            return "its answers have another shape or dtype than the graph's"
        if not np.allclose(own, other, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True):
            return f"its answers differ from the graph's by up to {np.abs(own - other).max():.2g}"
    return ""


def _answer(function: Function, question: Question) -> Sequence[Any] | None:
    try:
        return function(question.values)
    except ServingError:
        return None


def _measure_first(
    function: Function, questions: Sequence[Question], signature: Signature
) -> list[float]:
    """Measure with the first question that is answered."""
    many = RequestPlan("", signature).is_batchable
    for question in questions:
        try:
            return _measure(function, question, many=many)
        except ServingError as refusal:
            # Whatever was asked, what the graph lacks it will lack for every caller.
            if refusal.code is Code.FAILED_PRECONDITION:
                raise ServingError(
                    refusal.code,
                    f"Signature {question.signature} needs what is not restored with the version: "
                    f"{refusal.message.partition('. ')[0]}. Keras 3 models are exported with "
                    "model.export; tf.saved_model.save leaves their variables out.",
                ) from None
    return []


def _measure(function: Function, question: Question, *, many: bool) -> list[float]:
    """Measure the seconds of a run with one row, and with many where the signature takes them."""
    sizes = (1, MANY_ROWS) if many else (1,)
    asked = [question.resized(rows) if many else question for rows in sizes]
    return [_fastest(function, sized.values) for sized in asked]


def _fastest(function: Function, values: Sequence[Any]) -> float:
    """The fastest of several runs is the one that other work on the machine slowed least."""
    function(values)
    fastest = float("inf")
    end = time.perf_counter() + _MEASURED_SECONDS
    runs = 0
    while runs < 3 or time.perf_counter() < end:
        began = time.perf_counter()
        function(values)
        fastest = min(fastest, time.perf_counter() - began)
        runs += 1
    return fastest


def _write(result: Path, document: Mapping[str, Any]) -> None:
    incoming = result.with_name(f".{result.name}-{uuid.uuid4().hex[:8]}")
    incoming.write_text(json.dumps(document))
    incoming.rename(result)


def main(arguments: Sequence[str]) -> int:
    """Do what the server asked for; the result is a file."""
    task, folder, target = arguments[0], Path(arguments[1]), Path(arguments[2])
    os.nice(_NICE[task])
    if task == "convert":
        convert(folder, target)
        return 0
    try:
        _write(target, {"seconds": check(folder)})
    except ServingError as refusal:
        _write(target, {"code": refusal.code, "message": refusal.message})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
