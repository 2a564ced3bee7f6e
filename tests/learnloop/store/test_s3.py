"""What only a store on S3 has to withstand: lost answers, cut connections, unfinished uploads."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from botocore.retries import standard

from learnloop.errors import CorruptArtifact, LearnLoopError, UsageError
from learnloop.store import connection, open_store
from learnloop.store.s3 import S3Store
from tests.fault_proxy import FAULTS, FaultProxy, every

EXECUTION = "sums/add/execution-1"
SMALL = {f"out/part-{number}": bytes([number]) * 1000 for number in range(12)}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3 tries again as often as ever, but without its pauses of up to 20 seconds."""
    monkeypatch.setattr(standard.ExponentialBackoff, "delay_amount", lambda *_: 0.001)


def publish(store: S3Store, files: dict[str, bytes] = SMALL, execution: str = EXECUTION) -> str:
    staged = store.stage(execution)
    for name, content in files.items():
        (staged / name).parent.mkdir(parents=True, exist_ok=True)
        (staged / name).write_bytes(content)
    return store.publish(execution, staged).digest()


def elsewhere(store: S3Store, folder: Path) -> S3Store:
    """The same store as another machine sees it."""
    return S3Store.open(f"s3://{store.bucket}/{store.prefix}", str(folder))


def read(folder: Path) -> dict[str, bytes]:
    return {f"out/{path.name}": path.read_bytes() for path in folder.iterdir()}


def test_verifying_takes_two_requests_however_many_files(
    s3_store: S3Store, proxy: FaultProxy
) -> None:
    digest = publish(s3_store)
    proxy.requests.clear()
    s3_store.verify(EXECUTION, digest)
    assert [method for method, _ in proxy.requests] == ["GET", "GET"]


def test_a_download_that_was_cut_off_goes_on(
    s3_store: S3Store, proxy: FaultProxy, tmp_path: Path
) -> None:
    """The first attempt ends in the middle; the second fetches what is missing and no more."""
    publish(s3_store)
    other = elsewhere(s3_store, tmp_path / "other")
    proxy.fault = lambda method, path: "500" if path.endswith("/part-7") else ""
    with pytest.raises(LearnLoopError):
        other.fetch(other.uri(EXECUTION, "out"))
    arrived = {path.name for path in (other.home / "copies" / EXECUTION / "out").iterdir()}
    assert "part-7" not in arrived
    assert len(arrived) > 3
    assert list((other.home / "staging").iterdir()) == []
    proxy.fault = lambda method, path: ""
    proxy.requests.clear()
    assert read(other.fetch(other.uri(EXECUTION, "out"))) == SMALL
    assert proxy.count("GET", "/part-") == len(SMALL) - len(arrived)
    proxy.requests.clear()
    other.fetch(other.uri(EXECUTION, "out"))
    assert [path.endswith("manifest.json") for _, path in proxy.requests] == [True]


def test_a_damaged_copy_is_fetched_again(
    s3_store: S3Store, proxy: FaultProxy, tmp_path: Path
) -> None:
    publish(s3_store)
    other = elsewhere(s3_store, tmp_path / "other")
    damaged = other.fetch(other.uri(EXECUTION, "out")) / "part-3"
    damaged.write_bytes(b"something else")
    proxy.requests.clear()
    assert read(other.fetch(other.uri(EXECUTION, "out"))) == SMALL
    assert proxy.count("GET", "/part-") == 1


def test_other_bytes_in_s3_are_never_handed_out(s3_store: S3Store, tmp_path: Path) -> None:
    publish(s3_store)
    key = s3_store._key(EXECUTION, "out/part-3")
    connection.client().put_object(Bucket=s3_store.bucket, Key=key, Body=b"\3" * 999 + b"!")
    other = elsewhere(s3_store, tmp_path / "other")
    with pytest.raises(CorruptArtifact) as caught:
        other.fetch(other.uri(EXECUTION, "out"))
    assert caught.value.what == "A published artifact's bytes have changed."
    assert caught.value.where == other.uri(EXECUTION, "out/part-3")
    assert not (other.home / "copies" / EXECUTION / "out" / "part-3").exists()


def test_a_large_file_travels_in_parts(
    s3_store: S3Store, proxy: FaultProxy, tmp_path: Path
) -> None:
    size = 2 * connection.PART_BYTES + 17
    large = {"out/large": bytes(range(256)) * (size // 256) + b"x" * (size % 256)}
    digest = publish(s3_store, large)
    assert proxy.count("PUT", "partNumber=") == 3
    s3_store.verify(EXECUTION, digest)
    other = elsewhere(s3_store, tmp_path / "other")
    proxy.requests.clear()
    assert read(other.fetch(other.uri(EXECUTION, "out"))) == large
    assert proxy.count("GET", "/large") == 3
    assert proxy.count("HEAD") == 0, "size and ETag are known from the manifest"


def test_a_process_that_dies_before_the_manifest_leaves_nothing_to_see(
    s3_store: S3Store, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(S3Store, "_put_manifest", die)
        with pytest.raises(KeyboardInterrupt):
            publish(s3_store)
    assert proxy.count("PUT", "/part-") == len(SMALL)
    assert list(s3_store.executions()) == []
    with pytest.raises(CorruptArtifact):
        s3_store.fetch(s3_store.uri(EXECUTION, "out"))
    assert s3_store.remove_abandoned(-5.0) == 1
    assert connection.client().list_objects_v2(Bucket=s3_store.bucket)["KeyCount"] == 0


def test_unfinished_uploads_are_ended(s3_store: S3Store) -> None:
    keep = publish(s3_store)
    client = connection.client()
    for key in (s3_store._key("sums/add/other", "out/large"), "beside/large"):
        client.create_multipart_upload(Bucket=s3_store.bucket, Key=key)
    s3_store.remove_abandoned(60.0)
    left = client.list_multipart_uploads(Bucket=s3_store.bucket)["Uploads"]
    assert [upload["Key"] for upload in left] == ["beside/large"], "not ours, not touched"
    s3_store.verify(EXECUTION, keep)


def test_copies_of_what_is_gone_go_too(s3_store: S3Store, tmp_path: Path) -> None:
    publish(s3_store)
    other = elsewhere(s3_store, tmp_path / "other")
    copy = other.fetch(other.uri(EXECUTION, "out"))
    s3_store.delete(EXECUTION)
    other.remove_abandoned(0.0)
    assert not copy.exists()


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_of_every_kind_is_got_over(
    s3_store: S3Store, proxy: FaultProxy, tmp_path: Path, kind: str
) -> None:
    """Every second request fails once, whatever it is; nothing is lost, doubled or refused."""
    proxy.fault = every(2, (kind,))
    digest = publish(s3_store, {**SMALL, "out/large": b"l" * (connection.PART_BYTES + 1)})
    s3_store.verify(EXECUTION, digest)
    assert list(s3_store.executions()) == [EXECUTION]
    other = elsewhere(s3_store, tmp_path / "other")
    fetched = other.fetch(other.uri(EXECUTION, "out"))
    assert {path.name for path in fetched.iterdir()} == {
        *(name.removeprefix("out/") for name in SMALL),
        "large",
    }
    assert proxy.failed > 10
    s3_store.delete(EXECUTION)
    assert list(s3_store.executions()) == []


def test_a_manifest_whose_answer_was_lost_is_known_as_our_own(
    s3_store: S3Store, proxy: FaultProxy
) -> None:
    """S3 wrote it, the answer got lost, and the second attempt is told that it is there already."""
    lost: list[str] = []

    def fault(method: str, path: str) -> str:
        if method == "PUT" and path.endswith("manifest.json") and not lost:
            lost.append(path)
            return "lost answer"
        return ""

    proxy.fault = fault
    digest = publish(s3_store)
    assert proxy.count("PUT", "manifest.json") == 2
    s3_store.verify(EXECUTION, digest)


@pytest.mark.parametrize(
    ("kind", "received"),
    [
        (
            "503",
            "An error occurred (503) when calling the HeadObject operation "
            "(reached max retries: 4): Service Unavailable",
        ),
        (
            "500",
            "An error occurred (500) when calling the HeadObject operation "
            "(reached max retries: 4): Internal Server Error",
        ),
        (
            "lost answer",
            "Connection was closed before we received a valid response from endpoint URL: "
            '"{url}/{bucket}/team/loop/artifacts/sums/add/execution-1/manifest.json".',
        ),
    ],
)
def test_s3_that_does_not_recover_is_one_clear_error(
    s3_store: S3Store, proxy: FaultProxy, kind: str, received: str
) -> None:
    proxy.fault = lambda method, path: kind
    began = time.monotonic()
    with pytest.raises(LearnLoopError) as caught:
        publish(s3_store)
    assert time.monotonic() - began < 120
    proxy.fault = lambda method, path: ""
    assert str(caught.value) == (
        "S3 did not do as asked.\n"
        f"  where:    {s3_store.uri(EXECUTION, '')}\n"
        f"  received: {received.format(url=proxy.url, bucket=s3_store.bucket)}\n"
        "  next:     check AWS_ENDPOINT_URL, the credentials and the bucket, then run again"
    )
    assert list(s3_store.executions()) == []
    s3_store.discard(s3_store.home / "staging" / "execution-1")
    publish(s3_store)


def test_nobody_there_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch, s3_endpoint: str, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(LearnLoopError) as caught:
        open_store("s3://somewhere/team", str(tmp_path))
    assert str(caught.value) == (
        "S3 did not do as asked.\n"
        "  where:    s3://somewhere\n"
        '  received: Could not connect to the endpoint URL: "http://127.0.0.1:1/somewhere"\n'
        "  next:     check AWS_ENDPOINT_URL, the credentials and the bucket, then run again"
    )


def test_a_bucket_that_is_not_there_is_told(proxy: FaultProxy, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        open_store("s3://no-such-bucket/team", str(tmp_path))
    assert str(caught.value) == (
        "There is no bucket 'no-such-bucket'.\n"
        f"  where:    {proxy.url}\n"
        "  next:     make the bucket, or set LEARNLOOP_STORE"
    )


def test_a_home_that_cannot_hold_a_copy_does_not_undo_a_publication(s3_store: S3Store) -> None:
    (s3_store.home / "staging").mkdir(parents=True)
    (s3_store.home / "copies").touch()
    digest = publish(s3_store)
    s3_store.verify(EXECUTION, digest)
    assert list((s3_store.home / "staging").iterdir()) == []
