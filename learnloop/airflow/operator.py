"""The Airflow task of a node: plan the step, execute it, hand references on.

What a task returns (and Airflow keeps as XCom) is the step's result: references to artifacts, never
data. The graph is built again from the run's parameters in every task, so that a task needs nothing
but the DAG file, the ledger and the store. A refused gate, bad input and a cancelled run fail the
task at once; other faults are tried again as the component declares.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowTaskTimeout

from learnloop.airflow.form import Interval, read_parameters
from learnloop.airflow.links import MlflowLink, ReportLink
from learnloop.airflow.pods import executor_config
from learnloop.artifacts import PublishedModel, RegisteredModel
from learnloop.component import Json
from learnloop.errors import GraphError, LearnLoopError, RunCancelled, UsageError
from learnloop.interruption import Cancellation, explain_interruptions, time_limit
from learnloop.pipeline import Graph, Node, OutputReference, Pipeline

if TYPE_CHECKING:
    from airflow.sdk import Context

    from learnloop.airflow.ongoing import OngoingRun
    from learnloop.ledger import ArtifactRecord
    from learnloop.runner import RunOptions
    from learnloop.step import StepResult, StepSpec

SLACK_SECONDS = 60.0
"""A step ends itself at its timeout and says so; Airflow ends it where it does not get to that."""

ANNOUNCED = (RegisteredModel, PublishedModel)
"""Outputs of these types are Airflow assets: other DAGs may wait for them."""


class StepOperator(BaseOperator):
    """Executes one node of a pipeline.

    Args:
        pipeline: The pipeline.
        node: The node, in the graph that the DAG was made of.
        interval: The parameters that a scheduled run's data interval fills.
        **arguments: Airflow's own, for example ``dag``.
    """

    ui_color = "#e8f1fb"

    def __init__(
        self,
        *,
        pipeline: Pipeline[...],
        node: Node,
        interval: Interval | None = None,
        **arguments: Any,
    ) -> None:
        needs = node.resources
        limit = needs.timeout_seconds
        super().__init__(
            task_id=node.name,
            retries=needs.retries,
            retry_delay=timedelta(seconds=needs.retry_delay_seconds),
            execution_timeout=timedelta(seconds=limit + SLACK_SECONDS) if limit else None,
            pool=needs.pool,
            executor_config=executor_config(needs),
            outlets=list(announced_assets(pipeline, node).values()),
            doc_md=node.component.function.__doc__,
            **arguments,
        )
        types = [port.type for port in node.component.outputs.values()]
        self.operator_extra_links = (
            (ReportLink(), MlflowLink()) if RegisteredModel in types else (ReportLink(),)
        )
        self.pipeline = pipeline
        self.interval = interval
        self.limit_seconds = limit

    def execute(self, context: Context) -> dict[str, Json]:
        """Execute the step.

        Args:
            context: Airflow's context of the task.

        Returns:
            The step's result as JSON holds it.

        Raises:
            AirflowFailException: A gate refused, the input is bad, or the run was cancelled.
            LearnLoopError: A fault, which another attempt may overcome.
        """
        from learnloop.airflow.ongoing import ongoing_run

        run = ongoing_run(context)
        began = time.perf_counter()
        status = "failed"
        run.watcher.step_started(self.task_id)
        try:
            with explain_interruptions():
                result = self._execute(context, run)
            status = result.status
        except (RunCancelled, KeyboardInterrupt) as stop:
            status = "cancelled"
            run.cancelled.append(self.task_id)
            raise AirflowFailException(str(stop) or "The run was cancelled.") from stop
        except UsageError as fault:
            run.errors[self.task_id] = fault
            raise AirflowFailException(str(fault)) from fault
        except Exception as fault:
            run.errors[self.task_id] = _as_error(fault, self.task_id)
            raise
        finally:
            run.watcher.step_ended(self.task_id, status, time.perf_counter() - began)
        run.results[self.task_id] = result
        run.errors.pop(self.task_id, None)
        if result.status == "refused":
            raise AirflowFailException("Refused: " + " ".join(result.reasons))
        return result.to_json()

    def _execute(self, context: Context, run: OngoingRun) -> StepResult:
        from learnloop.ledger import open_ledger
        from learnloop.runner import record_run
        from learnloop.step import execute_step

        options = run.options
        parameters = read_parameters(self.pipeline, self.interval, context)
        graph = self.pipeline.graph(**self.pipeline.validate(parameters))
        if options.only:
            graph = graph.with_ancestors(options.only)
        ledger = open_ledger(run.settings.ledger_url)
        record_run(
            ledger, graph, options.run_id, runner="airflow", user=options.user, cause=options.cause
        )
        if run.cancelled or ledger.is_cancel_requested(options.run_id):
            raise RunCancelled(where=options.run_id)
        try:
            self._check(graph, options)
            spec = self._plan(graph, options, context)
        except UsageError as fault:
            ledger.fail_pending(options.run_id, self.task_id, str(fault))
            raise

        def report(text: str, /, **numbers: float) -> None:
            run.watcher.step_progressed(self.task_id, text, numbers)

        with time_limit(self.limit_seconds):
            result = execute_step(spec, settings=run.settings, report=report)
        if result.status != "refused":
            self._announce(context, spec, result)
        return result

    def _check(self, graph: Graph, options: RunOptions) -> None:
        """Check that the steps named exist and that the run's graph is the one the DAG shows."""
        for name in (*options.force, *options.overrides):
            graph.node(name)
        tasks = {t.task_id: t for t in self.dag.tasks if isinstance(t, StepOperator)}
        shown = {name: task.upstream_task_ids & tasks.keys() for name, task in tasks.items()}
        built = {name: set(node.upstream) for name, node in graph.nodes.items()}
        if shown != built:
            raise GraphError(
                "These parameters make another graph than the one this DAG was made of.",
                where=f"DAG '{self.dag_id}'",
                expected="steps " + ", ".join(shown),
                received="steps " + ", ".join(built),
                next="make a DAG of its own: airflow_dag(…, dag_id=…, parameters=…)",
            )

    def _plan(self, graph: Graph, options: RunOptions, context: Context) -> StepSpec:
        from learnloop.runner import plan_step

        node = graph.node(self.task_id)
        results = {name: _result_of(name, context) for name in node.upstream}

        def output(reference: OutputReference) -> ArtifactRecord | None:
            return results[reference.node].outputs[reference.output]

        reason = options.overrides.get(node.name)
        return plan_step(
            node,
            options.run_id,
            graph.pipeline,
            output,
            reuse=options.use_cache and node.name not in options.force,
            override={"by": options.user, "reason": reason} if reason else None,
        )

    def _announce(self, context: Context, spec: StepSpec, result: StepResult) -> None:
        """Send an asset event for every model registered or published, with its lineage."""
        lineage = {
            name: [one.content_digest for one in given] for name, given in spec.inputs.items()
        }
        for asset in self.outlets:
            record = result.outputs.get(asset.name.rpartition(".")[2])
            if record is not None:
                context["outlet_events"][asset].extra = {
                    "pipeline": spec.pipeline,
                    "run_id": spec.run_id,
                    "step": spec.step,
                    "key": result.key,
                    "cached": result.status == "cached",
                    "uri": record.uri,
                    "content_digest": record.content_digest,
                    "metadata": dict(record.metadata),
                    "inputs": lineage,
                }

    def on_kill(self) -> None:
        """Stop the step when a person ends the task; a timeout has stopped it already.

        Raises:
            Cancellation: In the middle of the step, which records it.
        """
        if not isinstance(sys.exc_info()[1], AirflowTaskTimeout):
            raise Cancellation(what="The task was stopped in Airflow.", where=self.task_id)


def announced_assets(pipeline: Pipeline[...], node: Node) -> Mapping[str, Asset]:
    """Name the assets of a node's outputs.

    Args:
        pipeline: The pipeline.
        node: Its node.

    Returns:
        Asset by output, for models registered or published.
    """
    return {
        name: asset_of(pipeline.name, node.name, name)
        for name, port in node.component.outputs.items()
        if issubclass(port.type, ANNOUNCED)
    }


def asset_of(pipeline: str, step: str, output: str) -> Asset:
    """Name the asset of an output, for a DAG that waits for it.

    Args:
        pipeline: The pipeline's name.
        step: The step's.
        output: The output's.

    Example:
        >>> asset_of("learner_outcome", "push", "published").name
        'learner_outcome.push.published'
    """
    return Asset(
        name=f"{pipeline}.{step}.{output}", uri=f"x-learnloop://{pipeline}/{step}/{output}"
    )


def _as_error(fault: Exception, step: str) -> LearnLoopError:
    if isinstance(fault, LearnLoopError):
        return fault
    return LearnLoopError(f"Task '{step}' failed: {type(fault).__name__}: {fault}")


def _result_of(step: str, context: Context) -> StepResult:
    from learnloop.step import StepResult

    document = context["ti"].xcom_pull(task_ids=step)
    if document is None:
        raise UsageError(
            f"Step '{step}' has given no result in this run.",
            where=context["dag_run"].run_id,
            next="clear its task in Airflow, so that it runs",
        )
    return StepResult.from_json(document)
