"""The published figures, from the raw files to the exported model, cross-checked from outside."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from learnloop.artifacts import Examples
from learnloop.settings import Settings
from pipelines.knowledge_tracing.pipeline import knowledge_tracing
from tests.pipelines.knowledge_tracing.conftest import load


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("folder", "predictions", "least", "least_without_repeated"),
    [("assist2015_dkvmn", 193_856, 0.729, 0.729), ("assist2009_updated", 100_189, 0.815, 0.735)],
)
def test_the_test_auc_on_real_learners(
    real_data: Path,
    tmp_path: Path,
    folder: str,
    predictions: int,
    least: float,
    least_without_repeated: float,
) -> None:
    settings = Settings(home=tmp_path / "home", serving=str(tmp_path / "models"))
    run = knowledge_tracing.run_in(settings, source=str(real_data / "kt" / folder))
    assert run.status == "done"
    evaluation = json.loads((run.artifacts["evaluation"].path / "document.json").read_text())
    examples = run.artifacts["examples"]
    assert isinstance(examples, Examples)
    assert evaluation["metrics"]["test"]["rows"] == predictions
    assert evaluation["metrics"]["test"]["auc"] >= least
    assert evaluation["without"]["auc"] >= least_without_repeated
    from_outside = _auc_by_plain_tensorflow(tmp_path / "models/knowledge_tracing/1", examples)
    assert evaluation["metrics"]["test"]["auc"] == pytest.approx(from_outside, abs=1e-6)


def _auc_by_plain_tensorflow(published: Path, examples: Examples) -> float:
    """Ask the published folder in batches of rows, and let scikit-learn judge."""
    from sklearn.metrics import roc_auc_score

    every_step = load(published).every_step
    labels, answers = [], []
    rows = sorted(examples.table("test").to_pylist(), key=lambda row: len(row["skills"]))
    for start in range(0, len(rows), 256):
        batch = rows[start : start + 256]
        columns = ([row[name] for row in batch] for name in ("skills", "responses", "next_skill"))
        steps = every_step(*columns)
        for row, answered in zip(batch, steps, strict=True):
            known = np.array(row["correct"]) >= 0
            labels.append(np.array(row["correct"])[known])
            answers.append(answered[: len(known)][known])
    return float(roc_auc_score(np.concatenate(labels), np.concatenate(answers)))
