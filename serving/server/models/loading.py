"""From a version that was checked to functions that answer, in this process."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from serving.server.contract import ServingError, Signature
from serving.server.models.batching import Cost, SignatureRun
from serving.server.models.executions import GRAPH, open_converted, where_finite
from serving.server.models.prepare import MANY_ROWS, PLAN
from serving.server.models.questions import Question, blank_questions, warmup_questions
from serving.server.models.requests import RequestPlan
from serving.server.models.runtime import Function
from serving.server.models.saved_model import SavedModel
from serving.server.tensors import NUMPY_TYPES

_UNKNOWN = Cost(fixed=1.0, per_row=0.0)
"""What could not be measured is taken to be dear."""

_WARM_ROWS = (1, 2, 4, 8, 16, 32, 64)


def load_runs(
    folder: Path, seconds: Mapping[str, Sequence[float]], converted: Path | None
) -> tuple[dict[str, SignatureRun], bytes]:
    """Load a version and warm it up; this takes a while and belongs into a thread.

    Args:
        folder: The version's folder.
        seconds: What its own graph was measured to take, by signature.
        converted: The folder of its plan and converted signatures, where there is one.

    Returns:
        Its signatures, and their ``SignatureDefMap``, serialised.

    Raises:
        ServingError: It does not load, or refuses its own warm-up requests.
    """
    saved = SavedModel.read(folder)
    signatures = saved.signatures
    graph = saved.open()
    plan = json.loads((converted / PLAN).read_bytes()) if converted else {}
    questions = warmup_questions(folder, signatures)
    runs = {}
    for name, signature in signatures.items():
        function, measured, execution = graph[name], seconds[name], GRAPH
        if name in plan and plan[name]["execution"] != GRAPH:
            assert converted is not None
            execution = plan[name]["execution"]
            function = _open(name, signature, plan[name], converted, function)
            measured = plan[name]["seconds"]
        request_plan = RequestPlan(name, signature)
        asked = [question for question in questions if question.signature == name]
        _warm_up(function, asked, is_batchable=request_plan.is_batchable)
        runs[name] = SignatureRun(request_plan, function, _cost(measured), execution)
    for question in blank_questions(signatures):
        # Its first run optimises the graph, whether or not it answers.
        with contextlib.suppress(ServingError):
            runs[question.signature].function(question.values)
    return runs, saved.signature_map


def _open(
    name: str, signature: Signature, plan: Mapping[str, Any], converted: Path, graph: Function
) -> Function:
    execution = plan["execution"]
    file = converted / f"{name}.{execution}"
    function = open_converted(execution, file, list(signature.inputs), list(signature.outputs))
    if not plan["finite_only"]:
        return function
    is_float = [NUMPY_TYPES[spec.dtype].kind == "f" for spec in signature.inputs.values()]
    return where_finite(function, graph, is_float)


def _warm_up(function: Function, questions: Sequence[Question], *, is_batchable: bool) -> None:
    for question in questions:
        function(question.values)
    if questions and is_batchable:
        for rows in _WARM_ROWS:
            function(questions[0].resized(rows).values)


def _cost(seconds: Sequence[float]) -> Cost:
    """Turn measured runs of one row and of many into what any number of rows takes."""
    if not seconds:
        return _UNKNOWN
    one, many = seconds[0], seconds[-1]
    return Cost(fixed=one, per_row=max(many - one, 0.0) / (MANY_ROWS - 1))
