"""The benchmark of the joins, small: pandas, asked otherwise, gives the same answers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_pandas_says_the_same(tmp_path: Path) -> None:
    document = tmp_path / "features.json"
    words = ["--rows", "200000", "--large", "0", "--repeats", "1", "--output", str(document)]
    subprocess.run(
        [sys.executable, "-m", "benchmarks.features", *words],
        cwd=ROOT,
        check=True,
        timeout=280,
        capture_output=True,
    )
    offline = json.loads(document.read_text())["offline"]
    assert offline["answers"]["pandas"] == {"entity_rows": 200_000, "differing": 0}
    assert offline["rows"] == 200_000
