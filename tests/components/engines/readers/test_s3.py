"""S3 sources through a real HTTP server, with a proxy that fails as networks do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.engines.readers import Rejects, digest_source, open_source, s3
from learnloop.errors import LearnLoopError, UsageError
from tests.fault_proxy import GARBLED, FaultProxy, fault_proxy

pytestmark = pytest.mark.xdist_group("sources")


@pytest.fixture
def proxy(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """S3 behind a proxy, named by the environment, with an empty bucket ``lake``."""
    monkeypatch.setattr(s3, "PAUSE_SECONDS", 0.001)
    bucket = client(s3_endpoint)
    bucket.create_bucket(Bucket="lake")
    with fault_proxy(s3_endpoint) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        yield server
    for item in bucket.list_objects_v2(Bucket="lake").get("Contents", ()):
        bucket.delete_object(Bucket="lake", Key=item["Key"])


def client(url: str) -> Any:
    import boto3

    return boto3.client("s3", endpoint_url=url)


def put(url: str, key: str, body: bytes) -> None:
    client(url).put_object(Bucket="lake", Key=key, Body=body)


def is_marks(method: str, path: str) -> bool:
    """Tell whether a request is for the bytes of the object, not for a listing."""
    return method == "GET" and path.startswith("/lake/raw/marks.csv")


def read(source: str, scratch: Path, layout: str = "csv") -> dict[str, list[dict[str, Any]]]:
    scratch.mkdir(exist_ok=True)
    with Rejects(scratch / "rejects") as rejects:
        return {
            table.name: [row for batch in table.read(rejects) for row in batch.to_pylist()]
            for table in open_source(source, layout, scratch=scratch)
        }


def test_a_prefix_is_a_folder(s3_endpoint: str, proxy: FaultProxy, tmp_path: Path) -> None:
    put(s3_endpoint, "raw/marks.csv", b"learner\n1\n")
    put(s3_endpoint, "raw/README.md", b"not read")
    put(s3_endpoint, "raw/old/marks.csv", b"learner\n2\n")
    put(s3_endpoint, "rawer/other.csv", b"learner\n3\n")
    assert read("s3://lake/raw", tmp_path / "a") == {"marks": [{"learner": 1}]}
    assert read("s3://lake/raw/", tmp_path / "b") == {"marks": [{"learner": 1}]}
    assert read("s3://lake/raw/marks.csv", tmp_path / "c") == {"marks": [{"learner": 1}]}


def test_three_line_files_lie_on_s3_too(
    s3_endpoint: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    put(s3_endpoint, "kt/set_train.csv", b"1\n4\n1\n")
    assert read("s3://lake/kt", tmp_path, "knowledge_tracing") == {
        "sequences": [{"partition": "train", "sequence": 0, "skills": ["4"], "responses": [1]}]
    }


def test_the_digest_follows_the_objects_that_the_layout_reads(
    s3_endpoint: str, proxy: FaultProxy
) -> None:
    put(s3_endpoint, "raw/marks.csv", b"learner\n1\n")
    before = digest_source("s3://lake/raw", "csv")
    put(s3_endpoint, "raw/README.md", b"not read")
    put(s3_endpoint, "raw/marks.csv", b"learner\n1\n")
    assert digest_source("s3://lake/raw", "csv") == before
    put(s3_endpoint, "raw/marks.csv", b"learner\n2\n")
    assert digest_source("s3://lake/raw", "csv") != before


def test_a_download_that_is_cut_goes_on_where_it_stopped(
    s3_endpoint: str, proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "READ_BYTES", 1_000)
    rows = b"".join(b"%d\n" % n for n in range(30_000))
    put(s3_endpoint, "raw/marks.csv", b"learner\n" + rows)
    cuts = iter(["cut answer", "cut answer", "", ""])
    proxy.fault = lambda method, path: next(cuts) if is_marks(method, path) else ""
    result = read("s3://lake/raw", tmp_path)
    assert [row["learner"] for row in result["marks"]] == list(range(30_000))
    starts = [int(text.removeprefix("bytes=").split("-")[0]) for text in proxy.ranges]
    assert starts[0] == 0
    assert 0 < starts[1] < starts[2]


@pytest.mark.parametrize("status", [500, 503])
def test_an_s3_that_stumbles_is_asked_again(
    status: int, s3_endpoint: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    put(s3_endpoint, "raw/marks.csv", b"learner\n1\n")
    stumbles = iter([str(status)] * 3)
    proxy.fault = lambda method, path: next(stumbles, "") if is_marks(method, path) else ""
    assert read("s3://lake/raw", tmp_path) == {"marks": [{"learner": 1}]}
    assert proxy.failed == 3


def test_an_s3_that_gives_nothing_is_a_fault_that_can_be_resumed(
    s3_endpoint: str, proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "ATTEMPTS", 2)
    put(s3_endpoint, "raw/marks.csv", b"learner\n1\n2\n")
    proxy.fault = lambda method, path: "lost answer" if is_marks(method, path) else ""
    with pytest.raises(LearnLoopError) as error:
        read("s3://lake/raw", tmp_path)
    assert str(error.value) == (
        "S3 keeps cutting a download.\n  where:    s3://lake/raw/marks.csv\n"
        "  expected: 12 bytes\n  received: 0 bytes\n"
        "  next:     run again: the download goes on where it stopped"
    )


def test_what_was_fetched_is_not_fetched_again(
    s3_endpoint: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    put(s3_endpoint, "raw/marks.csv", b"learner\n1\n")
    read("s3://lake/raw", tmp_path)
    proxy.ranges.clear()
    assert read("s3://lake/raw", tmp_path) == {"marks": [{"learner": 1}]}
    assert proxy.ranges == []
    put(s3_endpoint, "raw/marks.csv", b"learner\n2\n")
    assert read("s3://lake/raw", tmp_path) == {"marks": [{"learner": 2}]}


def test_an_object_that_changes_meanwhile_is_noticed(
    s3_endpoint: str, proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "RANGE_BYTES", 8)
    put(s3_endpoint, "raw/marks.csv", b"learner\n1\n")

    def change(method: str, path: str) -> str:
        if is_marks(method, path):
            put(s3_endpoint, "raw/marks.csv", b"learner\n2\n")
        return ""

    proxy.fault = change
    with pytest.raises(UsageError) as error:
        read("s3://lake/raw", tmp_path)
    assert error.value.what == "An S3 object changed or cannot be read."
    assert error.value.received == "PreconditionFailed"


def test_wrong_bytes_are_noticed(s3_endpoint: str, proxy: FaultProxy, tmp_path: Path) -> None:
    put(s3_endpoint, "raw/marks.csv", b"learner\n1\n")
    proxy.fault = lambda method, path: GARBLED if is_marks(method, path) else ""
    with pytest.raises(LearnLoopError) as error:
        read("s3://lake/raw", tmp_path)
    assert error.value.what == "A download does not have the bytes that S3 lists."


def test_a_bucket_that_is_not_there_is_an_error(proxy: FaultProxy, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        read("s3://nowhere/raw", tmp_path)
    assert str(error.value) == (
        "An S3 source cannot be listed.\n  where:    s3://nowhere/raw\n"
        "  expected: a bucket that these credentials may list\n  received: NoSuchBucket\n"
        "  next:     check the bucket, AWS_ENDPOINT_URL and the credentials"
    )
