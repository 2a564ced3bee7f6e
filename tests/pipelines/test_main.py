"""The end of the main job: published models are asked over both protocols."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import psutil
import pytest

from learnloop.settings import Settings
from pipelines.__main__ import _tell_served
from serving.moves import Mover
from serving.publish import Publication
from serving.server.running import served_source
from tests.components.served import COURSE, SCORE, STEPS, write_model


@pytest.mark.xdist_group("served")
def test_each_published_model_is_asked_over_http_and_grpc(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mover = Mover(settings)
    for name, columns in (("outcome", (SCORE, COURSE)), ("tracing", (SCORE, STEPS))):
        model = write_model(tmp_path / name, columns)
        publication = Publication(model.saved_model, 7, name, {}, lambda folder: None)
        mover.push(name, publication, why="a test")
    rows = {
        "outcome": {"score": np.float32([75]), "course": np.array([b"algebra"], object)},
        "tracing": {"score": np.float32([60]), "steps": np.int64([[1, 2]])},
    }
    before = psutil.Process().children()
    _tell_served(served_source(None), tmp_path / "server.log", rows)
    assert capsys.readouterr().out == (
        "\nthe embedded server, a stand-in for TensorFlow Serving; again with: learnloop serve\n"
        "  outcome           HTTP 0.7311   gRPC 0.7311   version 7\n"
        "  tracing           HTTP 0.5744   gRPC 0.5744   version 7\n"
    )
    assert psutil.Process().children() == before
    assert (tmp_path / "server.log").read_text().endswith("Stopped.\n")
