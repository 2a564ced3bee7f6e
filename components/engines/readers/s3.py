"""Sources on S3: objects are listed, and downloaded so that a killed download goes on.

An object is fetched in ranges, each appended to a part file that bears the object's ETag; what is
there already is not fetched again, and an object that changes meanwhile is noticed. The endpoint
and the credentials come from the environment (``AWS_ENDPOINT_URL``, ``AWS_…``).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learnloop.errors import LearnLoopError, UsageError

RANGE_BYTES = 32 << 20
READ_BYTES = 1 << 20
ATTEMPTS = 8
PAUSE_SECONDS = 0.1


@dataclass(frozen=True)
class S3Object:
    """An object under a source's prefix.

    Args:
        bucket: The bucket.
        key: The object's key.
        name: The key relative to the source.
        etag: Its entity tag, without quotes.
        size: Bytes.
    """

    bucket: str
    key: str
    name: str
    etag: str
    size: int


def is_uri(source: str) -> bool:
    """Tell whether a source lies on S3."""
    return source.startswith("s3://")


def list_objects(source: str) -> list[S3Object]:
    """List the objects of a source.

    Args:
        source: ``s3://bucket/prefix`` (a folder) or ``s3://bucket/key`` (one object).

    Returns:
        The objects, by name; a folder's no deeper than one folder down.

    Raises:
        UsageError: The bucket is not there or not to be read.
        LearnLoopError: S3 does not answer.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, prefix = source.removeprefix("s3://").partition("/")
    folder = prefix.rstrip("/") + "/" if prefix.strip("/") else ""
    objects = []
    try:
        pages = _client(ATTEMPTS).get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=bucket, Prefix=prefix.rstrip("/")):
            for item in page.get("Contents", ()):
                key = item["Key"]
                if key == prefix:
                    name = key.rpartition("/")[2]
                elif key.startswith(folder) and key[len(folder) :].count("/") <= 1:
                    name = key[len(folder) :]
                else:
                    continue
                objects.append(S3Object(bucket, key, name, item["ETag"].strip('"'), item["Size"]))
    except ClientError as fault:
        raise UsageError(
            "An S3 source cannot be listed.",
            where=source,
            expected="a bucket that these credentials may list",
            received=fault.response["Error"].get("Code", "an error"),
            next="check the bucket, AWS_ENDPOINT_URL and the credentials",
        ) from None
    except BotoCoreError as fault:
        raise LearnLoopError("S3 does not answer.", where=source, received=fault) from None
    return sorted(objects, key=lambda item: item.name)


def download(source: str, objects: Sequence[S3Object], folder: Path) -> dict[str, Path]:
    """Fetch objects, several at a time, going on where an earlier attempt stopped.

    Args:
        source: The source, for errors.
        objects: What to fetch.
        folder: Where to; it keeps what is there.

    Returns:
        The files by the objects' names.

    Raises:
        UsageError: An object changed or vanished meanwhile.
        LearnLoopError: S3 kept failing.
    """
    client = _client(attempts=1)
    with ThreadPoolExecutor(4) as pool:
        paths = pool.map(lambda item: _fetch(client, item, folder), objects)
        return dict(zip((item.name for item in objects), paths, strict=True))


def _fetch(client: Any, item: S3Object, folder: Path) -> Path:
    """Fetch one object; the file's folder bears the ETag, so that another version is another."""
    tag = hashlib.sha256(f"{item.key} {item.etag}".encode()).hexdigest()[:16]
    path = folder / tag / item.name
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    failures = 0
    while (done := part.stat().st_size if part.exists() else 0) < item.size:
        failures = 0 if _fetch_range(client, item, part, done) else failures + 1
        if failures == ATTEMPTS:
            raise LearnLoopError(
                "S3 keeps cutting a download.",
                where=f"s3://{item.bucket}/{item.key}",
                expected=f"{item.size:,} bytes",
                received=f"{done:,} bytes",
                next="run again: the download goes on where it stopped",
            )
        if failures:
            time.sleep(min(PAUSE_SECONDS * 2**failures, 5.0))
    part.touch()
    if "-" not in item.etag and _md5(part) != item.etag:
        part.unlink()
        raise LearnLoopError(
            "A download does not have the bytes that S3 lists.",
            where=f"s3://{item.bucket}/{item.key}",
            expected=f"MD5 {item.etag}",
            received="another",
            next="run again",
        )
    part.rename(path)
    return path


def _fetch_range(client: Any, item: S3Object, part: Path, done: int) -> bool:
    """Append one range to the part file; False when the connection gave nothing."""
    from botocore.exceptions import BotoCoreError, ClientError
    from urllib3.exceptions import HTTPError

    last = min(done + RANGE_BYTES, item.size) - 1
    try:
        answer = client.get_object(
            Bucket=item.bucket,
            Key=item.key,
            Range=f"bytes={done}-{last}",
            IfMatch=item.etag,
        )
        with part.open("ab") as file:
            for data in answer["Body"].iter_chunks(READ_BYTES):
                file.write(data)
    except ClientError as fault:
        status = fault.response["ResponseMetadata"]["HTTPStatusCode"]
        if status >= 500:
            return False
        raise UsageError(
            "An S3 object changed or cannot be read.",
            where=f"s3://{item.bucket}/{item.key}",
            expected=f"the version with ETag {item.etag}",
            received=fault.response["Error"].get("Code", "an error"),
            next="run again",
        ) from None
    except (BotoCoreError, HTTPError, ConnectionError):
        return part.exists() and part.stat().st_size > done
    return True


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _client(attempts: int) -> Any:
    import boto3
    from botocore.config import Config

    retries: Any = {"mode": "standard", "max_attempts": attempts}
    return boto3.client("s3", config=Config(retries=retries, connect_timeout=10, read_timeout=60))
