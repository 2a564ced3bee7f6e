"""What only a store in a folder has: remains without a manifest, a trash, and the disk's errors."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from learnloop.errors import LearnLoopError
from learnloop.store.local import LocalStore, disk_fault, explain_disk_faults

EXECUTION = "sums/add/execution-1"


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore.open(str(tmp_path / "store"))
    staged = store.stage(EXECUTION)
    (staged / "out").mkdir()
    (staged / "out" / "file").write_text("published")
    store.publish(EXECUTION, staged)
    return store


def test_remains_without_a_manifest_are_not_there_and_go(store: LocalStore) -> None:
    remains = store.root / "artifacts" / "sums" / "add" / "execution-2"
    (remains / "out").mkdir(parents=True)
    assert list(store.executions()) == [EXECUTION]
    assert store.remove_abandoned(60.0) == 0
    assert store.remove_abandoned(-1.0) == 1
    assert not remains.exists()
    assert list(store.executions()) == [EXECUTION]


def test_a_deletion_that_is_cut_off_hides_all_of_it(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies while files are being removed: no reader sees the rest, and it goes."""

    def die(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", die)
        with pytest.raises(KeyboardInterrupt):
            store.delete(EXECUTION)
    assert list(store.executions()) == []
    assert not Path(store.uri(EXECUTION, "out")).exists()
    assert len(list((store.root / "trash").iterdir())) == 1
    store.remove_abandoned(60.0)
    assert list((store.root / "trash").iterdir()) == []


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            errno.ENOSPC,
            "The disk is full.\n"
            "  where:    /here\n"
            "  next:     free some space, for example with: learnloop gc",
        ),
        (
            errno.EDQUOT,
            "The disk quota is used up.\n"
            "  where:    /here\n"
            "  next:     free some space: learnloop gc",
        ),
        (
            errno.EROFS,
            "The file system is read-only.\n"
            "  where:    /here\n"
            "  next:     mount it writable, or set LEARNLOOP_HOME",
        ),
        (
            errno.EACCES,
            "This user may not write there.\n"
            "  where:    /here\n"
            "  next:     change the owner, or set LEARNLOOP_HOME",
        ),
        (errno.EIO, "The disk failed: Input/output error.\n  where:    /here"),
    ],
)
def test_the_disk_is_explained(code: int, message: str) -> None:
    assert str(disk_fault(OSError(code, "in words"), "/here")) == message


def test_the_file_concerned_is_named_where_it_is_known() -> None:
    with pytest.raises(LearnLoopError) as caught, explain_disk_faults(Path("/the/folder")):
        Path("/proc/nothing/here").write_text("x")
    assert caught.value.where == "/proc/nothing/here"
    assert isinstance(caught.value.__cause__, OSError)
