"""A run told in one object: what ``learnloop run --json`` and ``learnloop show`` print.

Everything is read from the ledger and from small documents in the store, so that a run of any
runner, now or last year, is told in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from learnloop.artifacts import (
    Artifact,
    Blessing,
    Evaluation,
    Examples,
    PublishedModel,
    RegisteredModel,
)
from learnloop.errors import CorruptArtifact
from learnloop.ledger import ArtifactRecord, ExecutionRecord, Ledger, RunRecord, open_ledger
from learnloop.ledger.erasing import erased_since, tell_erased
from learnloop.settings import Settings
from learnloop.store import open_store


@dataclass(frozen=True)
class RunSummary:
    """A run with its steps and what they gave.

    Args:
        run: The run.
        steps: Its steps in order.
        outputs: Artifacts by ``step.output``.
        documents: Documents of evaluations, blessings and versions, by ``step.output``.
        erased: What was made of rows of a person who was erased since, by ``step.output``.
    """

    run: RunRecord
    steps: tuple[ExecutionRecord, ...]
    outputs: dict[str, ArtifactRecord]
    documents: dict[str, dict[str, Any]]
    erased: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """The object that scripts read."""
        return {
            "run_id": self.run.id,
            "pipeline": self.run.pipeline,
            "status": self.run.status,
            "seconds": round(self.run.seconds, 3),
            "steps": [
                {
                    "name": step.step,
                    "status": step.status,
                    "cached": step.status == "cached",
                    "seconds": round(step.seconds, 3),
                    "reasons": list(step.reasons),
                    "override": step.override,
                }
                for step in self.steps
            ],
            "counts": self.counts,
            "metrics": self.metrics,
            "blessing": {
                "blessed": self._last(Blessing).get("blessed"),
                "reasons": self._last(Blessing).get("reasons", []),
            },
            "artifacts": {name: record.uri for name, record in self.outputs.items()},
            "model": self.model,
            "erased": self.erased,
        }

    @property
    def counts(self) -> dict[str, int]:
        """Rows by split, of the first examples that the run made."""
        for record in self.outputs.values():
            if record.type == Examples.reference():
                return dict(record.metadata.get("rows", {}))
        return {}

    @property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """Figures by split; a second AUC that leaves rows out is named after what it leaves out."""
        evaluation = self._last(Evaluation)
        metrics = {split: dict(values) for split, values in evaluation.get("metrics", {}).items()}
        second = evaluation.get("without")
        if second and evaluation.get("judged") in metrics:
            metrics[evaluation["judged"]][f"auc_without_{second['column']}"] = second["auc"]
        return metrics

    @property
    def model(self) -> dict[str, Any] | None:
        """Name, version and published path of the model, as far as the run came."""
        registered, published = self._last(RegisteredModel), self._last(PublishedModel)
        if not registered:
            return None
        return {
            "name": registered["name"],
            "version": registered["version"],
            "published_path": published.get("path"),
        }

    def _last(self, kind: type[Artifact]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, document in self.documents.items():
            if self.outputs[name].type == kind.reference():
                found = document
        return found


def summarise_run(run_id: str, settings: Settings) -> RunSummary:
    """Read what the ledger and the store tell of a run.

    Args:
        run_id: The id, a beginning of it, or ``latest``.
        settings: Where things are.

    Returns:
        The run told.

    Raises:
        UsageError: There is no such run.
    """
    ledger: Ledger = open_ledger(settings.ledger_url)
    run = ledger.run(run_id)
    steps = tuple(ledger.executions(run.id))
    store = open_store(settings.store_location, str(settings.home_folder))
    outputs: dict[str, ArtifactRecord] = {}
    documents: dict[str, dict[str, Any]] = {}
    kinds = {
        kind.reference(): kind for kind in (Evaluation, Blessing, RegisteredModel, PublishedModel)
    }
    for step in steps:
        for record in ledger.outputs(step.id):
            name = f"{step.step}.{record.output}"
            outputs[name] = record
            if record.type in kinds:
                try:
                    documents[name] = kinds[record.type].open(store.fetch(record.uri)).load()
                except CorruptArtifact:
                    continue  # collected as garbage since; the ledger's facts still stand
    marked = erased_since(ledger, [record.id for record in outputs.values()])
    erased = {
        name: tell_erased(*marked[record.id])
        for name, record in outputs.items()
        if record.id in marked
    }
    return RunSummary(run, steps, outputs, documents, erased)
