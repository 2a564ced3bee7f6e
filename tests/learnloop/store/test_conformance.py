"""What every store promises: one suite for a local folder and for S3."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from learnloop import holding
from learnloop.errors import CorruptArtifact, LearnLoopError
from learnloop.store import Manifest, Store, open_store
from learnloop.store.local import LocalStore
from learnloop.store.s3 import S3Store

FILES = {"model/weights.bin": b"w" * 3000, "model/deep/er.txt": b"deep", "report/a.json": b"{}"}
EXECUTION = "sums/add/execution-1"
DAY = 24 * 3600.0


def stage(store: Store, execution: str = EXECUTION, files: dict[str, bytes] = FILES) -> Path:
    staged = store.stage(execution)
    for name, content in files.items():
        (staged / name).parent.mkdir(parents=True, exist_ok=True)
        (staged / name).write_bytes(content)
    return staged


def publish(store: Store, execution: str = EXECUTION, files: dict[str, bytes] = FILES) -> Manifest:
    return store.publish(execution, stage(store, execution, files))


def read(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def staging(store: Store) -> list[Path]:
    """The staging folders that are there."""
    assert isinstance(store, (LocalStore, S3Store))
    return list(store._staging.glob("*"))


def elsewhere(store: Store, tmp_path: Path) -> Store:
    """The same store as another machine sees it: with no copies of its own."""
    if isinstance(store, S3Store):
        return open_store(f"s3://{store.bucket}/{store.prefix}", str(tmp_path / "elsewhere"))
    return store


def tamper(store: Store, name: str, content: bytes | None, execution: str = EXECUTION) -> None:
    """Put other bytes in a published file's place, or remove it (None)."""
    if isinstance(store, S3Store):
        from learnloop.store.connection import client

        key = store._key(execution, name)
        if content is None:
            client().delete_object(Bucket=store.bucket, Key=key)
        else:
            client().put_object(Bucket=store.bucket, Key=key, Body=content)
        return
    path = Path(store.uri(execution, name))
    path.unlink() if content is None else path.write_bytes(content)


def test_what_is_published_is_read_back(store: Store, tmp_path: Path) -> None:
    manifest = publish(store)
    assert {name: entry.size for name, entry in manifest.files.items()} == {
        name: len(content) for name, content in FILES.items()
    }
    assert manifest.size == sum(map(len, FILES.values()))
    other = elsewhere(store, tmp_path)
    model = other.fetch(store.uri(EXECUTION, "model"))
    assert read(model) == {"weights.bin": FILES["model/weights.bin"], "deep/er.txt": b"deep"}
    other.verify(EXECUTION, manifest.digest())
    assert list(other.executions()) == [EXECUTION]
    assert other.size(EXECUTION) == manifest.size
    assert staging(store) == []


def test_what_this_machine_made_it_reads_at_once(store: Store) -> None:
    publish(store)
    assert read(store.fetch(store.uri(EXECUTION, "report"))) == {"a.json": b"{}"}


def test_nothing_is_visible_before_it_is_published(store: Store) -> None:
    stage(store)
    assert list(store.executions()) == []
    with pytest.raises(CorruptArtifact) as caught:
        store.fetch(store.uri(EXECUTION, "model"))
    assert caught.value.what == "An artifact is not in the store."
    assert caught.value.next == "run the pipeline again"
    with pytest.raises(CorruptArtifact):
        store.verify(EXECUTION, "0" * 64)


def test_a_discarded_folder_is_gone(store: Store) -> None:
    staged = stage(store)
    store.discard(staged)
    store.discard(staged)
    assert staging(store) == []
    assert list(store.executions()) == []


def test_publishing_twice_is_refused_and_changes_nothing(store: Store, tmp_path: Path) -> None:
    manifest = publish(store)
    with pytest.raises(LearnLoopError) as caught:
        publish(store, files={**FILES, "model/weights.bin": b"other"})
    assert caught.value.what == (
        "This execution is published already, and what is published never changes."
    )
    other = elsewhere(store, tmp_path)
    other.verify(EXECUTION, manifest.digest())
    fetched = other.fetch(store.uri(EXECUTION, "model"))
    assert (fetched / "weights.bin").read_bytes() == FILES["model/weights.bin"]


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("model/weights.bin", b"v" * 3000, "A published artifact's bytes have changed."),
        ("model/weights.bin", b"", "A published artifact's bytes have changed."),
        ("model/weights.bin", None, "A published artifact lacks a file."),
        ("model/added", b"1", "A published artifact has a file too many."),
        ("manifest.json", b"{}", "A manifest is not readable."),
        ("manifest.json", b'{"format": 1, "files": {}}', "A manifest has been changed."),
        ("manifest.json", None, "An artifact is not in the store."),
    ],
)
def test_a_change_is_found(store: Store, name: str, content: bytes | None, what: str) -> None:
    manifest = publish(store)
    tamper(store, name, content)
    with pytest.raises(CorruptArtifact) as caught:
        store.verify(EXECUTION, manifest.digest())
    assert caught.value.what == what
    assert EXECUTION in caught.value.where


def test_an_artifact_of_another_store_is_refused(store: Store, tmp_path: Path) -> None:
    publish(store)
    uri = store.uri(EXECUTION, "model")
    if isinstance(store, S3Store):
        other = open_store(f"s3://{store.bucket}/team/loo", str(tmp_path / "other"))
    else:
        other = open_store(str(tmp_path / "other"), "")
    assert list(other.executions()) == [], "one prefix does not see another"
    with pytest.raises(CorruptArtifact) as caught:
        other.fetch(uri)
    assert caught.value.what == "An artifact is not in this store."
    assert caught.value.where == uri


def test_an_output_that_was_not_made_is_told(store: Store) -> None:
    publish(store)
    with pytest.raises(CorruptArtifact) as caught:
        store.fetch(store.uri(EXECUTION, "mode"))
    assert caught.value.what == "An artifact is not in the store."


def test_a_deleted_execution_is_gone_whole_and_alone(store: Store, tmp_path: Path) -> None:
    kept = "sums/add/execution-10"
    manifest = publish(store)
    publish(store, kept)
    store.delete(EXECUTION)
    store.delete(EXECUTION)
    assert list(store.executions()) == [kept]
    with pytest.raises(CorruptArtifact):
        store.verify(EXECUTION, manifest.digest())
    with pytest.raises(CorruptArtifact):
        store.fetch(store.uri(EXECUTION, "model"))
    assert read(elsewhere(store, tmp_path).fetch(store.uri(kept, "report"))) == {"a.json": b"{}"}


def test_what_is_purged_leaves_no_version_behind(store: Store, tmp_path: Path) -> None:
    from learnloop.store.connection import client

    if isinstance(store, S3Store):
        versioning = {"Status": "Enabled"}
        client().put_bucket_versioning(Bucket=store.bucket, VersioningConfiguration=versioning)
    publish(store)
    publish(store, "sums/add/other")
    store.purge(EXECUTION)
    store.purge(EXECUTION)
    assert list(store.executions()) == ["sums/add/other"]
    if isinstance(store, S3Store):
        kept = client().list_object_versions(Bucket=store.bucket)
        keys = [one["Key"] for one in [*kept["Versions"], *kept.get("DeleteMarkers", [])]]
        assert keys and not any(EXECUTION in key for key in keys)
    assert not any(EXECUTION in str(path) for path in tmp_path.rglob("*"))


def test_only_what_nobody_works_in_is_removed_as_abandoned(store: Store) -> None:
    publish(store)
    left = stage(store, "sums/add/execution-2")
    working = stage(store, "sums/add/execution-3")
    with holding.hold(working) as is_mine:
        assert is_mine
        assert store.remove_abandoned(DAY) == 0, "young: perhaps of another machine"
        assert left.exists()
        assert store.remove_abandoned(-1.0) == 1
        assert not left.exists()
        assert working.exists()
    assert store.remove_abandoned(-1.0) == 1
    assert list(store.executions()) == [EXECUTION]


def test_many_publish_at_once(store: Store) -> None:
    faults: list[BaseException] = []
    names = [f"sums/add/execution-{number}" for number in range(6)]

    def work(name: str) -> None:
        try:
            publish(store, name, {"out/name": name.encode()})
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert faults == []
    assert sorted(store.executions()) == names
    for name in names:
        assert read(store.fetch(store.uri(name, "out"))) == {"name": name.encode()}
