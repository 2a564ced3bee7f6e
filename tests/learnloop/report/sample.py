"""A run as it could have been: every part of the page has something to show."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from components.engines.evaluation import (
    Bars,
    Beside,
    Grouping,
    Predictions,
    Scope,
    assess,
)
from learnloop.ledger.records import RunRecord
from learnloop.report.view import ArtifactView, Named, RunView, StepView, TableView

STARTED = datetime(2026, 11, 23, 6, 24, 9, tzinfo=UTC)
EDGES = (
    ("ingest", "enrolments"),
    ("enrolments", "statistics"),
    ("enrolments", "validate"),
    ("statistics", "validate"),
    ("validate", "transform"),
    ("enrolments", "transform"),
    ("transform", "train"),
    ("enrolments", "evaluate"),
    ("champion", "evaluate"),
    ("train", "evaluate"),
    ("evaluate", "register"),
    ("train", "register"),
    ("register", "push"),
    ("train", "push"),
)
STEPS = (
    ("ingest", "cached", 0.0, 0.004),
    ("champion", "done", 0.01, 0.21),
    ("enrolments", "done", 0.02, 3.42),
    ("statistics", "done", 3.45, 1.31),
    ("validate", "done", 4.77, 2.05),
    ("transform", "done", 6.83, 2.64),
    ("train", "done", 9.48, 14.9),
    ("evaluate", "done", 24.4, 1.92),
    ("register", "done", 26.35, 0.62),
    ("push", "done", 26.98, 0.31),
)


def artifact(name: str, kind: str) -> ArtifactView:
    digest = f"{abs(hash((name, kind))):x}" * 4
    return ArtifactView(name, kind, f"file:///store/{name}", digest[:64].ljust(64, "0"))


def evaluation_document() -> tuple[dict, object]:
    """An assessment of drawn predictions with every part in it."""
    generator = np.random.default_rng(7)
    rows = 8_728
    labels = generator.random(rows) < 0.375
    module = generator.integers(0, 7, rows)
    lift = np.where(module == 1, 0.75, 1.15)
    shift = np.where(module == 1, 0.8, -0.95)
    scores = 1.0 / (1.0 + np.exp(-(1.3 * generator.normal(lift * labels, 1.0) + shift)))
    modules = ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF", "GGG")
    gender = np.where(generator.random(rows) < np.where(module == 1, 0.97, 0.2), 0, 1)
    champion = np.clip(scores + generator.normal(0.0, 0.06, rows), 0.0, 1.0)
    made = Predictions.of(labels, scores)
    age = np.searchsorted([0.7, 0.98, 0.999], generator.random(rows))
    assessed = assess(
        {"train": made.only(generator.random(rows) < 0.8), "validation": made, "test": made},
        bars=Bars(max_ece=0.2),
        scope=Scope(permutations=100, resamples=100),
        beside=Beside(
            slices=[
                Grouping("code_module", modules, module),
                Grouping("age_band", ("0-35", "35-55", "55<=", "unknown"), age),
            ],
            protected=[
                Grouping("gender", ("F", "M"), gender),
                Grouping("age_band", ("0-35", "35-55", "55<=", "unknown"), age),
            ],
            champion=champion,
            without=("repeated", scores > 0.8),
        ),
    )
    return {"label": "failed_or_withdrawn", **assessed.document}, assessed.verdict


def sample_view() -> RunView:
    document, verdict = evaluation_document()
    epochs = np.arange(1, 24)
    run = RunRecord(
        id="learner_outcome-20261123-062409-8f1c",
        pipeline="learner_outcome",
        parameters={"source": "shared/data/oulad", "day": 60, "epochs": 40, "slices": ["gender"]},
        edges=EDGES,
        runner="local",
        status="done",
        started=STARTED,
        ended=STARTED + timedelta(seconds=27.3),
        host="analytics-2",
        user="ada",
        git_commit="7f900b8c41a0be3a5bb0c5f2d41b8f0a63f2a1d7+",
        cause="started by a person",
        cancel_requested=False,
    )
    steps = tuple(
        StepView(
            name=name,
            component=f"components.{name}:{name}",
            status=status,
            starts=starts,
            seconds=seconds,
            key="c0ffee" + "0" * 58,
            inputs=(artifact("examples", "Examples"),) if name != "ingest" else (),
            outputs=(artifact(name, "Model" if name == "train" else "Examples"),),
        )
        for name, status, starts, seconds in STEPS
    )
    checks = [
        {
            "source": "skew",
            "split": "test",
            "column": "mean_score",
            "passed": False,
            "what": "The values are spread otherwise than in train.",
            "expected": "a Jensen-Shannon divergence of at most 0.02",
            "received": "0.0312",
            "next": "look at the assessments of module BBB in 2014J",
            "severity": "warning",
            "figures": {},
            "where": "test.mean_score",
        },
        *({"passed": True, "severity": "error", "what": "as the schema says"} for _ in range(38)),
    ]
    training = {
        "parameters": {
            "model_builder": "pipelines.learner_outcome.model:build_model",
            "hyperparameters": {"units": 64},
            "epochs": 40,
            "batch_size": 256,
            "learning_rate": 0.001,
            "seed": 1,
        },
        "best_epoch": 18,
        "seconds": 12.4,
        "curves": {
            "loss": (0.545 + 0.14 * np.exp(-epochs / 4)).tolist(),
            "validation_loss": (0.556 + 0.12 * np.exp(-epochs / 3) + 0.0003 * epochs).tolist(),
            "validation_auc": (0.779 - 0.07 * np.exp(-epochs / 4)).tolist(),
        },
    }
    return RunView(
        run=run,
        steps=steps,
        records=(
            TableView(
                "ingest",
                "records",
                {
                    "student_info": 32_593,
                    "student_registration": 32_593,
                    "student_assessment": 173_912,
                    "student_vle": 10_655_280,
                },
            ),
        ),
        examples=(
            TableView(
                "enrolments", "examples", {"train": 14_908, "validation": 2_617, "test": 8_728}
            ),
        ),
        quarantine={"student_assessment": {"the score is not a number": 173}},
        validations=(Named("validate", {"passed": True, "summary": {}, "checks": checks}),),
        trainings=(Named("train", training),),
        evaluations=(Named("evaluate", document),),
        blessings=(
            Named(
                "evaluate",
                {
                    "blessed": verdict.blessed,
                    "reasons": list(verdict.reasons),
                    "warnings": list(verdict.warnings),
                },
            ),
        ),
        registered=(
            Named("register", {"name": "learner_outcome", "version": "3", "alias": "challenger"}),
        ),
        published=(
            Named(
                "push",
                {
                    "name": "learner_outcome",
                    "version": "3",
                    "path": "/srv/models/outcome/3",
                },
            ),
        ),
        versions={"keras": "3.15.1", "numpy": "1.26.4", "tensorflow": "2.16.2"},
    )
