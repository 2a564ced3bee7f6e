"""The faults on record are exactly the rows that ingest sets aside: none lost, none surplus."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from components.ingest import ingest
from learnloop.artifacts import Records
from learnloop.component import Context
from simulator import SimulationSettings, simulate

SETTINGS = SimulationSettings(attempts=30_000, seed=12, corruption=0.1)


@pytest.fixture(scope="module")
def corrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corrupted") / "data"
    simulate(SETTINGS, folder)
    return folder


def injected(folder: Path, layout: str) -> set[tuple[str, int]]:
    """Return file and line of every fault of one layout."""
    faults = pd.concat(pd.read_csv(path) for path in (folder / "truth" / "faults").iterdir())
    faults = faults[faults.table.str.startswith(f"{layout}/")]
    return {(Path(table).name, line) for table, line in zip(faults.table, faults.line, strict=True)}


def refused(folder: Path, layout: str, scratch: Path) -> set[tuple[str, int]]:
    """Return file and line of every row that ingest refused."""
    scratch.mkdir()
    quarantine = Records.create(scratch / "quarantine")
    ingest.function(
        Records.create(scratch / "records"),
        quarantine,
        source=str(folder),
        layout=layout,
        max_rejected=1.0,
        context=Context.for_test(scratch),
    )
    rows = quarantine.table("rejected").to_pylist()
    return {(Path(row["file"]).name, row["line"]) for row in rows}


def test_of_the_oulad_files(corrupted: Path, tmp_path: Path) -> None:
    faults = injected(corrupted, "oulad")
    assert len(faults) > 700
    assert refused(corrupted / "oulad", "oulad", tmp_path / "step") == faults


def test_of_the_sequences(corrupted: Path, tmp_path: Path) -> None:
    """A sequence is three lines, and is refused by its first."""
    faults = {(name, (line - 1) // 3 * 3 + 1) for name, line in injected(corrupted, "kt")}
    assert len(faults) > 100
    assert refused(corrupted / "kt", "knowledge_tracing", tmp_path / "step") == faults
