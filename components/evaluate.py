"""Judge a model as it will be served: its exported SavedModel, on raw rows, split by split.

Figures, curves, slices, fairness and the comparison with the champion come from
:mod:`components.engines.evaluation`; what they must reach is asked for here. The evaluation and the
blessing are written whatever the verdict; only then does the gate refuse.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from learnloop.artifacts import Blessing, Evaluation, Examples, Model
from learnloop.component import Context, Input, Output, Resources, component
from learnloop.errors import GateRefused, LearnLoopError, UsageError, closest

if TYPE_CHECKING:
    import pyarrow as pa

    from components.engines.evaluation.answers import Answers
    from components.engines.evaluation.predictions import Booleans, Floats
    from components.engines.training.served import ServedModel

PREDICTIONS = "predictions.parquet"
CROSS = "*"


@component(resources=Resources(cpus=2.0, memory_gib=4.0))
def evaluate(
    model: Input[Model],
    examples: Input[Examples],
    champion: Input[Model] | None,
    evaluation: Output[Evaluation],
    blessing: Output[Blessing],
    *,
    label: str,
    judged: str = "test",
    threshold: float = 0.5,
    slices: tuple[str, ...] = (),
    protected: tuple[str, ...] = (),
    without: str = "",
    learner: str = "",
    minimum_rows: int = 100,
    min_auc: float = 0.70,
    min_slice_auc: float = 0.0,
    max_ece: float = 0.10,
    max_abroca_excess: float = 0.05,
    max_odds_gap: float = 0.20,
    on_unfair: Literal["warn", "refuse"] = "warn",
    champion_tolerance: float = 0.005,
    permutations: int = 1_000,
    resamples: int = 1_000,
    seed: int = 0,
    context: Context,
) -> None:
    """Measure a model on raw rows, and bless it or refuse it with reasons.

    Args:
        model: The model to judge; its SavedModel takes raw columns.
        examples: Raw rows by split.
        champion: The model in service; it is asked the same rows.
        evaluation: Figures by split, curves, slices, fairness, comparison; the judged split's
            predictions lie beside as ``predictions.parquet`` (label, score; nobody's id).
        blessing: ``blessed``, ``reasons``, ``warnings``; always written.
        label: The raw column with the truth, 0 or 1; a list where every step is asked. A value
            below 0 marks a row or step whose truth is not known.
        judged: The split that decides.
        threshold: A prediction of at least this is a decision for the event.
        slices: Raw columns to show figures by; ``a*b`` crosses two.
        protected: Raw columns of groups that must be served equally.
        without: A raw true-or-false column (or list); a second figure leaves its true rows out.
        learner: A raw column with whose row it is: rows of one learner are no independent evidence,
            and intervals are as wide as that makes them. Read for that alone, written nowhere.
        minimum_rows: Slices and groups with fewer rows are not shown.
        min_auc: The least AUC.
        min_slice_auc: The least AUC of a slice; 0 asks nothing of slices.
        max_ece: The greatest expected calibration error.
        max_abroca_excess: How far an ABROCA may exceed what chance explains.
        max_odds_gap: How far groups' true or false positive rates may lie apart.
        on_unfair: Whether an unfairness warns or refuses.
        champion_tolerance: How far the AUC may lie below the champion's on the same rows.
        permutations: Permutations for the null of each ABROCA, at least 1.
        resamples: Resamples of the paired bootstrap, at least 1.
        seed: Seed of permutations and resamples.
        context: Progress.

    Raises:
        GateRefused: If the model is not blessed.
        UsageError: If a column or split is missing, or a label is not 0 or 1.
    """
    from components.engines import evaluation as engine

    bars = engine.Bars(
        min_auc=min_auc,
        min_slice_auc=min_slice_auc,
        max_ece=max_ece,
        max_abroca_excess=max_abroca_excess,
        max_odds_gap=max_odds_gap,
        on_unfair=on_unfair,
        champion_tolerance=champion_tolerance,
    )
    scope = engine.Scope(judged, threshold, minimum_rows, permutations, resamples, seed)
    _require_draws(permutations=permutations, resamples=resamples)
    beside = sorted({*_parts(slices), *_parts(protected), without} - {""})
    _require_split(examples, judged)
    _require_columns(examples, judged, [label, *beside, *([learner] if learner else [])])
    served = _load(model, examples, judged, label)
    asked = {}
    for split in examples.names:
        context.report(f"asking the model about {split}", rows=examples.counts[split])
        asked[split] = _ask(served, examples, split, label)
    faults = [
        f"The model's answers on {split} are no probabilities: {answers.fault}."
        for split, answers in asked.items()
        if answers.fault
    ]
    if faults:
        assessment = engine.Assessment({"metrics": {}}, engine.Verdict(False, tuple(faults), ()))
    else:
        champion_scores, notes = _ask_champion(champion, examples, judged, label)
        columns = asked[judged].beside(examples.table(judged, columns=beside))
        context.report("measuring")
        assessment = engine.assess(
            {
                split: answers.predictions(split, _learners(examples, split, learner))
                for split, answers in asked.items()
            },
            bars=bars,
            scope=scope,
            beside=engine.Beside(
                slices=[engine.group(columns, name) for name in slices],
                protected=[engine.group(columns, name) for name in protected],
                champion=champion_scores,
                without=(without, _truth_of(columns, without)) if without else None,
                notes=notes,
            ),
        )
    _write_predictions(asked[judged], evaluation.path / PREDICTIONS)
    evaluation.write({"label": label, **assessment.document})
    blessing.write(asdict(assessment.verdict))
    if not assessment.verdict.blessed:
        raise GateRefused(
            assessment.verdict.reasons,
            where=f"the model on the {judged} split",
            next=f"learnloop show {context.run_id}",
        )


def _parts(columns: tuple[str, ...]) -> list[str]:
    return [part for column in columns for part in column.split(CROSS)]


def _require_draws(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise UsageError(
                f"Nothing can be said from no {name}.",
                where=f"parameter '{name}'",
                expected="at least 1; 1,000 for figures to rely on",
                received=count,
            )


def _require_split(examples: Examples, judged: str) -> None:
    if judged not in examples.names:
        raise UsageError(
            f"There is no split '{judged}' to judge the model by.",
            expected=closest(judged, examples.names),
            received=judged,
        )


def _require_columns(examples: Examples, split: str, columns: list[str]) -> None:
    known = examples.schema(split).names
    for column in columns:
        if column not in known:
            raise UsageError(
                f"The examples have no column '{column}'.",
                where=f"split {split}",
                expected=closest(column, known),
                received=column,
            )


def _load(model: Model, examples: Examples, judged: str, label: str) -> ServedModel:
    from components.engines.evaluation.answers import is_list
    from components.engines.training.served import ServedModel

    served = ServedModel(model.path)
    answers = {True: "at every step of a row", False: "once a row"}
    asked_per_step = is_list(examples.schema(judged).field(label).type)
    if served.is_per_step != asked_per_step:
        raise UsageError(
            "The model does not answer what the label asks.",
            where=f"label '{label}'",
            expected=f"a model that answers {answers[asked_per_step]}",
            received=f"one that answers {answers[served.is_per_step]}",
        )
    return served


def _ask(served: ServedModel, examples: Examples, split: str, label: str) -> Answers:
    from components.engines.evaluation.answers import ask

    columns = sorted({*(column.name for column in served.columns), label})
    _require_columns(examples, split, columns)
    return ask(served, examples.batches(split, columns=columns), label)


def _ask_champion(
    champion: Model | None, examples: Examples, judged: str, label: str
) -> tuple[Floats | None, tuple[str, ...]]:
    """Ask the champion the judged rows; one that cannot answer is noted and refuses nobody."""
    if champion is None:
        return None, ()
    try:
        served = _load(champion, examples, judged, label)
        answers = _ask(served, examples, judged, label)
    except LearnLoopError as fault:
        return None, (f"The champion could not be asked: {fault.what}",)
    if answers.fault:
        return None, (f"The champion's answers are no probabilities: {answers.fault}.",)
    return answers.scores, ()


def _learners(examples: Examples, split: str, learner: str) -> pa.ChunkedArray | None:
    return examples.table(split, columns=[learner]).column(learner) if learner else None


def _truth_of(columns: pa.Table, name: str) -> Booleans:
    import numpy as np
    from pyarrow import compute

    flags = compute.fill_null(compute.cast(columns.column(name), "bool"), False)
    return np.asarray(flags.to_numpy(), dtype=np.bool_)


def _write_predictions(answers: Answers, path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table(
        {
            "label": pa.array(answers.labels).cast(pa.int8()),
            "score": pa.array(answers.scores),
        }
    )
    parquet.write_table(table, path, compression="zstd")
