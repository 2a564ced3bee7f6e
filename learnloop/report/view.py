"""What a run's page shows: frozen values, gathered once, drawn without any further look-up.

A view holds only what may be shown: counts, figures, digests and sentences, never a learner's id or
a row of data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from learnloop.ledger.records import RunRecord

Document = Mapping[str, Any]
Tone = Literal["good", "warn", "bad", "calm"]


@dataclass(frozen=True)
class ArtifactView:
    """An artifact that a step read or made.

    Attributes:
        name: The input or output it was passed as.
        type: Its class, as ``Examples``.
        uri: Where it lives.
        digest: Its content digest, in hexadecimal.
    """

    name: str
    type: str
    uri: str
    digest: str


@dataclass(frozen=True)
class StepView:
    """One step of the run.

    Attributes:
        name: The node's name.
        component: ``module:function``.
        status: As in the ledger.
        starts: Seconds from the run's start to the step's; None for a step that never began.
        seconds: How long it took.
        attempt: Which attempt this is, from 1.
        reasons: Why it was refused or failed.
        override: Who let a refusal pass, and why.
        key: The cache key, in hexadecimal; empty until it was computed.
        inputs: What it read.
        outputs: What it made or reused.
        log_tail: The last lines of its log, for a step that went wrong.
    """

    name: str
    component: str
    status: str
    starts: float | None = None
    seconds: float = 0.0
    attempt: int = 1
    reasons: tuple[str, ...] = ()
    override: Mapping[str, str] | None = None
    key: str = ""
    inputs: tuple[ArtifactView, ...] = ()
    outputs: tuple[ArtifactView, ...] = ()
    log_tail: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableView:
    """Rows by name: the splits of examples, or the tables of records.

    Attributes:
        step: The step that wrote them.
        name: The output's name.
        counts: Rows by split or table.
    """

    step: str
    name: str
    counts: Mapping[str, int]


@dataclass(frozen=True)
class Named:
    """A document that a step wrote.

    Attributes:
        step: The step.
        document: What is in it.
    """

    step: str
    document: Document


@dataclass(frozen=True)
class RunView:
    """Everything the page of a run shows.

    Attributes:
        run: The run, as the ledger has it.
        steps: Its steps, in the graph's order.
        examples: Rows by split, for every step that wrote examples.
        records: Rows by table, for every step that wrote raw tables.
        quarantine: Refused rows: reason and count, by table.
        validations: Reports of the data gate.
        trainings: Curves and parameters of trained models.
        evaluations: Figures of evaluated models.
        blessings: Verdicts on them.
        registered: Versions in the registry.
        published: Versions under a serving base path.
        versions: Library versions that entered the cache keys.
        notes: What could not be read, one sentence each.
    """

    run: RunRecord
    steps: tuple[StepView, ...]
    examples: tuple[TableView, ...] = ()
    records: tuple[TableView, ...] = ()
    quarantine: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    validations: tuple[Named, ...] = ()
    trainings: tuple[Named, ...] = ()
    evaluations: tuple[Named, ...] = ()
    blessings: tuple[Named, ...] = ()
    registered: tuple[Named, ...] = ()
    published: tuple[Named, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """The run in one line and a few sentences.

    Attributes:
        headline: A few words.
        tone: Whether it is good news.
        sentences: What it rests on: reasons of a refusal, or what came of the run.
        warnings: What a person should look at all the same.
    """

    headline: str
    tone: Tone
    sentences: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def verdict_of(view: RunView) -> Verdict:
    """Say how the run ended, and why.

    Args:
        view: The run.

    Returns:
        The verdict.
    """
    warnings = tuple(
        sentence
        for blessing in view.blessings
        for sentence in blessing.document.get("warnings", ())
    )
    stopped = [step for step in view.steps if step.status in ("failed", "refused")]
    reasons = tuple(reason.partition("\n")[0] for step in stopped for reason in step.reasons)
    names = " and ".join(step.name for step in stopped)
    match view.run.status:
        case "refused":
            return Verdict(f"Refused by {names}", "bad", reasons, warnings)
        case "failed":
            return Verdict(f"Failed at {names}" if names else "Failed", "bad", reasons, warnings)
        case "cancelled":
            return Verdict("Cancelled", "warn", (), warnings)
        case "running":
            done = sum(step.status in ("done", "cached") for step in view.steps)
            return Verdict("Running", "calm", (f"{done} of {len(view.steps)} steps are done.",))
    overridden = tuple(
        f"{step.name} refused and was let pass by {step.override['by']}: {step.override['reason']}"
        for step in view.steps
        if step.override and step.reasons
    )
    blessed = [blessing for blessing in view.blessings if blessing.document.get("blessed")]
    headline = "Blessed" if blessed and not overridden else "Done"
    tone: Tone = "warn" if overridden else "good"
    return Verdict(headline, tone, _outcome(view, bool(blessed)), (*overridden, *warnings))


def _outcome(view: RunView, is_blessed: bool) -> tuple[str, ...]:
    sentences = []
    if is_blessed:
        sentences.append("The model reached everything that was asked of it.")
    for version in view.registered:
        name, number = version.document.get("name"), version.document.get("version")
        sentences.append(f"It is version {number} of {name} in the registry.")
    if view.published:
        sentences.append("It is published for serving.")
    if not sentences:
        reused = sum(step.status == "cached" for step in view.steps)
        sentences.append(f"{len(view.steps)} steps, {reused} of them reused from earlier runs.")
    return tuple(sentences)
