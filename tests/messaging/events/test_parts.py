"""A write is whole or not at all, wherever it is cut off."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as dataset
import pytest

from learnloop.errors import LearnLoopError
from messaging.events import parts
from messaging.events.parts import PartitionParts, Progress, claim_partition

ROWS = {"attempt/hour=2026-03-02T09": pa.table({"x": [1, 2]}), "_quarantine": pa.table({"y": [3]})}


def held(folder: Path) -> list[int]:
    """What a reader sees."""
    if not (folder / "attempt").exists():
        return []
    values: list[int] = dataset.dataset(folder / "attempt").to_table()["x"].to_pylist()
    return values


def write_once(folder: Path) -> None:
    with claim_partition(folder, "t", 0) as claim:
        assert claim is not None
        claim.write(ROWS, Progress(2, {"platform": 2}))


@pytest.mark.parametrize("cut", ["_write_durably", "_replace_progress", "_move"])
def test_a_cut_write_is_finished_or_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    def die(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(parts if cut == "_write_durably" else PartitionParts, cut, die)
        patch.setattr(PartitionParts, "_recover", lambda self: Progress())
        with pytest.raises(KeyboardInterrupt):
            write_once(tmp_path)
    assert held(tmp_path) == []
    with claim_partition(tmp_path, "t", 0) as claim:
        assert claim is not None
        if cut == "_move":
            assert claim.progress == Progress(2, {"platform": 2})
            assert held(tmp_path) == [1, 2]
        else:
            assert claim.progress == Progress()
            assert held(tmp_path) == []
    assert sorted(path.name for path in (tmp_path / "_writing" / "t-0").glob("*.parquet")) == []


def test_an_hour_that_expires_under_a_move_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename
    expired: list[Path] = []

    def late(self: Path, target: Path) -> Path:
        if not expired and target.parent.parent.name == "attempt":
            expired.append(target.parent)
            target.parent.rmdir()
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", late)
    write_once(tmp_path)
    assert expired != []
    assert held(tmp_path) == [1, 2]


def test_a_partition_has_one_writer(tmp_path: Path) -> None:
    with claim_partition(tmp_path, "t", 0) as first, claim_partition(tmp_path, "t", 0) as second:
        assert first is not None
        assert second is None
    with claim_partition(tmp_path, "t", 0) as third:
        assert third is not None


def test_a_damaged_position_stops_the_collector(tmp_path: Path) -> None:
    write_once(tmp_path)
    path = tmp_path / "_writing" / "t-0" / "progress.json"
    path.write_text("{")
    with pytest.raises(LearnLoopError) as error, claim_partition(tmp_path, "t", 0):
        pass
    assert str(error.value) == (
        "The position of the collected events cannot be read.\n"
        f"  where:    {path}\n"
        "  expected: JSON of format 1, as the collector wrote it\n"
        "  received: JSONDecodeError('Expecting property name enclosed in double quotes: "
        "line 1 column 2 (char 1)')\n"
        "  next:     restore the file from a backup of the events folder"
    )
