from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from components.statistics import statistics
from learnloop.artifacts import Examples, Statistics
from learnloop.component import Context


def compute(folder: Path, table: pa.Table, empty: bool = False) -> Statistics:
    folder.mkdir()
    examples = Examples.create(folder / "examples")
    examples.write("train", table)
    examples.write("test", table.slice(0, 0 if empty else 5))
    result = Statistics.create(folder / "statistics")
    statistics.function(examples, result, context=Context.for_test(folder))
    return Statistics.open(result.path)


def table(rows: int) -> pa.Table:
    draw = np.random.default_rng(1)
    return pa.table(
        {
            "learner": [f"learner {n}" for n in range(rows)],
            "score": draw.normal(60, 10, rows),
            "word": [f"w{n % 1_700}" for n in range(rows)],
        }
    )


def test_every_split_is_described_without_its_identifiers(tmp_path: Path) -> None:
    found = compute(tmp_path / "run", table(70_000))
    assert found.splits == ("train", "test")
    train, test = (found.load(split).datasets[0] for split in found.splits)
    assert (train.num_examples, test.num_examples) == (70_000, 5)
    assert [feature.path.step[0] for feature in train.features] == ["score", "word"]
    assert "learner" not in str(train)
    assert found.metadata["rows"] == {"train": 70_000, "test": 5}


def test_equal_rows_give_equal_statistics(tmp_path: Path) -> None:
    digests = {compute(tmp_path / str(n), table(20_000)).content_digest() for n in range(5)}
    assert len(digests) == 1
    assert compute(tmp_path / "other", table(20_001)).content_digest() not in digests


def test_a_split_may_be_empty(tmp_path: Path) -> None:
    found = compute(tmp_path / "run", table(10), empty=True)
    assert found.load("test").datasets[0].num_examples == 0


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """Two splits, one of them ten times the other, in a process of their own each."""
    examples = Examples.create(tmp_path / "examples")
    numbers = np.random.default_rng(1).normal(size=(200_000, 12))
    part = pa.RecordBatch.from_pydict({f"x{n}": column for n, column in enumerate(numbers.T)})
    examples.write("small", (part for _ in range(3)))
    examples.write("large", (part for _ in range(30)))
    code = (
        "import sys, resource; from pathlib import Path;"
        "from learnloop.artifacts import Examples;"
        "from components.engines.validation.statistics import compute_statistics;"
        f"examples = Examples.open(Path({str(tmp_path / 'examples')!r}));"
        "compute_statistics(examples.batches(sys.argv[1]));"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    peaks = {
        split: int(
            subprocess.run(
                [sys.executable, "-c", code, split],
                check=True,
                capture_output=True,
                env=environment,
            ).stdout
        )
        for split in ("small", "large")
    }
    assert peaks["large"] - peaks["small"] < 64 * 1024
