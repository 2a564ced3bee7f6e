"""Small components and pipelines that the framework's tests run."""

from __future__ import annotations

import os
import time
from pathlib import Path

from learnloop.artifacts import Blessing, Evaluation
from learnloop.component import CodeReference, Context, File, Input, Output, Resources, component
from learnloop.errors import GateRefused, UsageError
from learnloop.pipeline import pipeline


@component
def make(number: Output[Evaluation], *, start: int = 1) -> None:
    """Write a number."""
    number.write({"value": start})


@component
def add(
    one: Input[Evaluation],
    other: Input[Evaluation] | None,
    number: Output[Evaluation],
    *,
    more: int = 1,
) -> None:
    """Add numbers."""
    value = one.load()["value"] + more
    number.write({"value": value + (other.load()["value"] if other else 0)})


@component
def total(numbers: list[Input[Evaluation]], number: Output[Evaluation]) -> None:
    """Add many numbers."""
    number.write({"value": sum(one.load()["value"] for one in numbers)})


@component
def maybe(number: Output[Evaluation] | None, *, is_there: bool) -> None:
    """Write a number, or nothing."""
    if is_there:
        number.write({"value": 100})


@component
def judge(
    one: Input[Evaluation], number: Output[Evaluation], blessing: Output[Blessing], *, least: int
) -> None:
    """Refuse a number that is too small."""
    value = one.load()["value"]
    number.write({"value": value})
    reasons = [] if value >= least else [f"The number is {value}, at least {least} is required."]
    blessing.write({"blessed": not reasons, "reasons": reasons})
    if reasons:
        raise GateRefused(reasons)


@component
def fail(one: Input[Evaluation], number: Output[Evaluation], *, how: str = "fault") -> None:
    """Fail in the way that is asked for."""
    number.write({"value": 0})
    if how == "usage":
        raise UsageError("The input is bad.", where="here")
    if how == "nothing":
        (number.file).unlink()
        return
    raise ValueError("something broke")


@component(resources=Resources(retries=2, retry_delay_seconds=0.01))
def flaky(one: Input[Evaluation], number: Output[Evaluation], *, folder: str, until: int) -> None:
    """Fail until it has been tried often enough."""
    attempts = Path(folder)
    (attempts / str(len(list(attempts.iterdir())))).touch()
    if len(list(attempts.iterdir())) < until:
        raise ConnectionResetError("the server went away")
    number.write({"value": one.load()["value"]})


@component
def sleep(
    one: Input[Evaluation], number: Output[Evaluation], *, seconds: float, context: Context
) -> None:
    """Take a while, telling how far it is."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.01)
        context.report("sleeping", done=1, total=2)
    number.write({"value": one.load()["value"]})


@component
def resume(one: Input[Evaluation], number: Output[Evaluation], *, context: Context) -> None:
    """Die in the middle the first time, and go on from the checkpoint the second."""
    checkpoint = context.scratch / "checkpoint"
    if not checkpoint.exists():
        checkpoint.write_text("half")
        number.write({"value": -1})
        os._exit(9)
    number.write({"value": one.load()["value"], "from": checkpoint.read_text()})


@component
def use_file(number: Output[Evaluation], *, file: File, code: CodeReference | None = None) -> None:
    """Write what a curated file holds."""
    number.write({"value": int(file.read_text())})


@pipeline
def sums(start: int = 1, length: int = 2, more: int = 1) -> None:
    """Add one after the other, then all together."""
    number = make(start=start)
    numbers = [number.number]
    for _ in range(length):
        number = add(number.number, more=more)
        numbers.append(number.number)
    total(numbers)


@pipeline
def optional(is_there: bool = False) -> None:
    """Add what may not be there."""
    add(make().number, maybe(is_there=is_there).number)


@pipeline
def gated(start: int = 1, least: int = 5) -> None:
    """Go on only with a number that is large enough."""
    judged = judge(make(start=start).number, least=least)
    add(judged.number)


@pipeline
def failing(how: str = "fault") -> None:
    """Fail, with a branch that does not."""
    start = make()
    add(fail(start.number, how=how).number)
    add.named("beside")(start.number)


@pipeline
def retried(folder: str, until: int = 3) -> None:
    """Go on after some failed attempts."""
    flaky(make().number, folder=folder, until=until)


@pipeline
def slow(seconds: float = 30.0, timeout: float | None = None) -> None:
    """Take a while."""
    sleep.needing(timeout_seconds=timeout)(make().number, seconds=seconds)


@pipeline
def dying() -> None:
    """Die in the middle, once."""
    add(resume(make().number).number)
