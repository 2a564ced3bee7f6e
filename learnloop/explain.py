"""Why a step ran, or was reused: the parts of its cache key beside those of the time before."""

from __future__ import annotations

from dataclasses import dataclass

from learnloop.fingerprint import describe_changes
from learnloop.ledger import ExecutionRecord, Ledger


@dataclass(frozen=True)
class Explanation:
    """Why a step ran or did not.

    Args:
        step: The step's name.
        status: How it ended.
        sentence: The answer in one sentence.
        changes: What changed since the step's last execution, one sentence each.
    """

    step: str
    status: str
    sentence: str
    changes: tuple[str, ...]


def explain_step(execution: ExecutionRecord, ledger: Ledger) -> Explanation:
    """Compare an execution with the same step's execution before it.

    Args:
        execution: The step's execution.
        ledger: Where earlier executions are.

    Returns:
        The explanation.
    """
    step, status = execution.step, execution.status
    if execution.parts is None:
        sentence = f"'{step}' has not begun: its status is {status}."
        return Explanation(step, status, sentence, ())
    earlier = ledger.previous(execution)
    changes = (
        tuple(describe_changes(earlier.parts or {}, execution.parts)) if earlier is not None else ()
    )
    if execution.reused:
        sentence = f"'{step}' was reused from execution {execution.reused}: every part is equal."
    elif earlier is None:
        sentence = f"'{step}' ran because it had not run before."
    elif changes:
        sentence = f"'{step}' ran because of this, since run {earlier.run_id}:"
    elif earlier.status not in ("done", "cached"):
        sentence = f"'{step}' ran again: in run {earlier.run_id} it ended {earlier.status}."
    else:
        sentence = (
            f"'{step}' ran though nothing it depends on had changed: it was forced, the cache was "
            "not asked, or the earlier result was no longer as published (see its log)."
        )
    return Explanation(step, status, sentence, changes)
