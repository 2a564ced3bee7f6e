"""A model in service, looked at over a week: what moved, what came to pass, what is ordinary."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from components.monitor import monitor, resolve_service
from learnloop.artifacts import Evaluation, Examples, Model, MonitoringReport
from learnloop.component import Context
from learnloop.settings import Settings
from serving.prediction_log import find_parts
from serving.prediction_log.columns import base_schema
from serving.prediction_log.journal import model_folder
from tests.components.served import write_model

pytestmark = pytest.mark.xdist_group("served")

MODEL = "exams"
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
ROWS = 1_500


@pytest.fixture(scope="module")
def challenger(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return write_model(tmp_path_factory.mktemp("challenger") / "model")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Eight weeks of a log whose predictions are as good as those of the evaluation."""
    settings = Settings(predictions=tmp_path / "predictions")
    for week in range(8):
        write_week(settings, week)
    return settings


def rows_of(seed: int, shift: float = 0.0) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    score = random.normal(60 + shift, 15, ROWS)
    return {
        "score": score.astype(np.float32),
        "course": random.choice(["algebra", "logic"], ROWS),
        "passed": (random.uniform(size=ROWS) < 1 / (1 + np.exp(-(score - 60) / 15))).astype(int),
    }


def write_week(settings: Settings, week: int, shift: float = 0.0, rows: int = ROWS) -> None:
    """Log a week's predictions; their outcomes become known a day after each."""
    found = rows_of(week, shift)
    times = [MONDAY + timedelta(weeks=week, minutes=6 * n) for n in range(rows)]
    columns: dict[str, Any] = {name: [None] * rows for name in base_schema().names}
    columns |= {
        "time": times,
        "model": [MODEL] * rows,
        "version": [3] * rows,
        "signature": ["serving_default"] * rows,
        "subject": [f"{week}-{n}" for n in range(rows)],
        "seconds": [0.001] * rows,
        "share": [1.0] * rows,
        "score": 1 / (1 + np.exp(-(found["score"][:rows].astype(float) - 60) / 15)),
    }
    log = pa.table(columns, schema=base_schema())
    for name in ("score", "course"):
        log = log.append_column(f"feature.{name}", pa.array(found[name][:rows]))
    hour = times[0].strftime("date=%Y-%m-%d/hour=%H")
    write_part(model_folder(settings.predictions_folder, MODEL) / hour / "1.parquet", log)
    outcomes = pa.table(
        {
            "subject": log["subject"],
            "known_at": pa.array([time + timedelta(days=1) for time in times], log["time"].type),
            "outcome": found["passed"][:rows],
        }
    )
    folder = settings.predictions_folder.parent / "outcomes"
    write_part(folder / f"{week}.parquet", outcomes)


def write_part(path: Path, rows: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(rows, path)


def look(
    folder: Path, settings: Settings, week: int, challenger: Model | None = None, **parameters: Any
) -> tuple[dict[str, Any], MonitoringReport]:
    """Look at a week."""
    reference = Examples.create(folder / "reference")
    reference.write("train", pa.table(rows_of(100)))
    evaluation = Evaluation.create(folder / "evaluation")
    figures = {"rows": 4_000, "auc": 0.74, "auc_interval": [0.72, 0.76]}
    evaluation.write({"judged": "test", "metrics": {"test": figures}})
    report = MonitoringReport.create(folder / "report")
    begins = MONDAY + timedelta(weeks=week)
    monitor.function(
        reference,
        evaluation,
        challenger,
        report,
        model=MODEL,
        since=begins.isoformat(),
        until=(begins + timedelta(weeks=1)).isoformat(),
        context=Context.for_test(folder, settings),
        **parameters,
    )
    return report.load(), report


def test_an_ordinary_week_gives_no_reason(tmp_path: Path, settings: Settings) -> None:
    found, report = look(tmp_path, settings, 7, outcomes=str(tmp_path / "outcomes"))
    assert found["reasons"] == []
    assert found["versions"] == [3]
    assert found["volume"] == {
        "predictions": ROWS,
        "newest": "2026-04-26T05:54:00+00:00",
        "usual": ROWS,
        "earlier_windows": 7,
        "is_silent": False,
    }
    assert {one["column"]: one["turns"] for one in found["features"]} == {"score": 7, "course": 7}
    assert found["quality"]["rows"] == ROWS
    assert found["quality"]["auc"] == pytest.approx(0.74, abs=0.04)
    page = (report.path / "report.html").read_text()
    assert "All is as usual" in page and "have come to pass" in page
    metrics = (report.path / "metrics.prom").read_text().splitlines()
    assert 'learnloop_monitor_needs_retraining{model="exams"} 0.0' in metrics
    assert f'learnloop_monitor_predictions{{model="exams"}} {ROWS}.0' in metrics


def test_a_feature_that_moves_is_told(tmp_path: Path, settings: Settings) -> None:
    write_week(settings, 8, shift=-20.0)
    found, report = look(tmp_path, settings, 8)
    drifted = [one["column"] for one in found["features"] if one["is_drift"]]
    assert drifted == ["score"]
    assert found["scores"][0]["is_drift"]
    assert found["reasons"][0].startswith("Features: 'score' lies 0.2")
    assert "Needs attention" in (report.path / "report.html").read_text()


def test_a_model_that_got_worse_is_told(tmp_path: Path, settings: Settings) -> None:
    """The outcomes of a week are turned round: who was likely to pass did not."""
    part = tmp_path / "outcomes" / "7.parquet"
    rows = parquet.read_table(part)
    random = np.random.default_rng(5).integers(0, 2, rows.num_rows)
    parquet.write_table(rows.set_column(2, "outcome", pa.array(random)), part)
    found, _ = look(tmp_path, settings, 7, outcomes=str(tmp_path / "outcomes"))
    quality = found["quality"]
    low, high = quality["auc_interval"]
    assert quality["has_fallen"]
    assert found["reasons"] == [
        f"The live AUC is {quality['auc']:.3f} ({low:.3f} to {high:.3f}), 0.740 in the evaluation."
    ]


def test_silence_is_told(tmp_path: Path, settings: Settings) -> None:
    write_week(settings, 8, rows=20)
    found, _ = look(tmp_path, settings, 8)
    assert "20 predictions were asked for, 1,500 is usual." in found["reasons"]


def test_a_week_without_predictions_is_silence_and_no_drift(
    tmp_path: Path, settings: Settings
) -> None:
    found, _ = look(tmp_path, settings, 8, outcomes=str(tmp_path / "outcomes"))
    assert (found["features"], found["scores"]) == ([], [])
    assert found["reasons"] == ["0 predictions were asked for, 1,500 is usual."]
    assert found["quality"]["rows"] == 60, "outcomes that came late"


def test_the_challenger_is_asked_the_same(
    tmp_path: Path, settings: Settings, challenger: Model
) -> None:
    """It puts logic half a unit lower, which the served model does not."""
    found, report = look(
        tmp_path, settings, 7, challenger, outcomes=str(tmp_path / "outcomes"), columns=("score",)
    )
    asked = found["challenger"]
    assert asked["asked"] == ROWS
    assert 0 < asked["distance"]["value"] < 0.1
    assert asked["compared"]["auc"]["difference"] < 0.01
    assert "The challenger, in the shadow" in (report.path / "report.html").read_text()


def test_what_the_log_holds_is_part_of_the_key(tmp_path: Path, settings: Settings) -> None:
    arguments = {
        "model": MODEL, "since": "2026-04-20", "until": "2026-04-27", "earlier": 2, "terms": (),
        "outcomes": "",
    }  # fmt: skip
    before = resolve_service(arguments, settings)
    assert len(before["log"]) == 3
    write_week(settings, 1, shift=3.0)
    assert resolve_service(arguments, settings) == before, "another week does not matter"
    write_week(settings, 6, shift=3.0)
    assert resolve_service(arguments, settings) != before
    assert find_parts(settings.predictions_folder, MODEL, None, None)
