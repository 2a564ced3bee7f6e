"""Every command of ``docs/serving.md``, typed in an empty project."""

from __future__ import annotations

import json
from pathlib import Path

from tests.docs.test_guides import Reader
from tests.serving.small_models import saved_model


def test_the_guide_of_serving(tmp_path: Path) -> None:
    (tmp_path / "learnloop.toml").write_text("serving_poll = 0.0\n")
    for name in ("first", "second", "third"):
        saved_model(tmp_path / "exports" / name, name)
    printed = Reader(tmp_path).follow("serving.md")
    assert [text.splitlines()[-1] for text in printed[:3]] == [
        "demo: version 1 in service",
        "demo: version 2 in service",
        "demo: version 2 in service, version 3 on trial with weight 0.1",
    ]
    assert printed[5:8] == [
        "demo: version 3 in service\n",
        "demo: version 2 in service\n",
        "demo: version 1 in service\n",
    ]
    assert json.loads(printed[8])["models"]["demo"]["stable"] == 1
    assert len(printed[9].splitlines()) == 8
