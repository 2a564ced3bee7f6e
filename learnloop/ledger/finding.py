"""Finding what a person named: a step of a run, or the closest name there is."""

from __future__ import annotations

from learnloop.errors import UsageError, closest
from learnloop.ledger.ledger import Ledger
from learnloop.ledger.records import ExecutionRecord


def find_execution(ledger: Ledger, run: str, step: str) -> ExecutionRecord:
    """Look up a step of a run, by its newest attempt.

    Args:
        ledger: The ledger.
        run: The run's id, a beginning of it, or ``latest``.
        step: The node's name.

    Returns:
        The execution, which knows the run's whole id.

    Raises:
        UsageError: There is no such run, or it has no such step.
    """
    run_id = ledger.run(run).id
    executions = {execution.step: execution for execution in ledger.executions(run_id)}
    if step not in executions:
        raise UsageError(
            f"Run {run_id} has no step '{step}'.",
            expected=closest(step, executions),
            received=repr(step),
            next=f"learnloop show {run_id}",
        )
    return executions[step]
