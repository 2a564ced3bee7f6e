"""The connection to S3: one client for each process, and errors that a person can act on.

Requests that fail, and connections that are cut, are tried again by boto3 with growing pauses. The
environment's ``AWS_…`` variables set endpoint, credentials and, where the default does not fit,
``AWS_MAX_ATTEMPTS``. Only a store on S3 imports this.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
)
from s3transfer.exceptions import RetriesExceededError
from s3transfer.manager import TransferConfig, TransferManager
from s3transfer.subscribers import BaseSubscriber

from learnloop.errors import LearnLoopError, UsageError

ATTEMPTS = 5
CONNECT_SECONDS, READ_SECONDS = 10, 60
TRANSFERS = 8
PART_BYTES = 8 << 20
ABSENT = ("NoSuchKey", "NotFound", "404")
NO_BUCKET = ("NoSuchBucket", "NotFound", "404")
TAKEN = ("PreconditionFailed", "ConditionalRequestConflict")


def client() -> Any:
    """This process's client, which threads may share."""
    return _client(os.getpid(), os.environ.get("AWS_ENDPOINT_URL", ""))


@functools.cache
def _client(process: int, endpoint: str) -> Any:
    """Make the client; a forked process must not go on with its parent's connections."""
    retries: dict[str, Any] = {"mode": "standard"}
    if "AWS_MAX_ATTEMPTS" not in os.environ:
        retries["total_max_attempts"] = ATTEMPTS
    return boto3.client(
        "s3",
        config=Config(
            retries=retries,
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            max_pool_connections=2 * TRANSFERS,
        ),
    )


def transfers() -> Any:
    """Start uploads and downloads that share a few threads; leaving the block waits for all."""
    config = TransferConfig(
        multipart_threshold=PART_BYTES,
        multipart_chunksize=PART_BYTES,
        max_request_concurrency=TRANSFERS,
        num_download_attempts=ATTEMPTS,
    )
    return TransferManager(client(), config)


def read_object(bucket: str, key: str) -> bytes:
    """Read a small object, again if the connection is cut while it arrives.

    Args:
        bucket: The bucket.
        key: The object's key.
    """
    return read_tagged_object(bucket, key)[0]


def read_tagged_object(bucket: str, key: str) -> tuple[bytes, str]:
    """Read a small object as :func:`read_object` does, with the ETag by which it may be replaced.

    Args:
        bucket: The bucket.
        key: The object's key.
    """
    for attempt in range(1, ATTEMPTS + 1):
        answer = client().get_object(Bucket=bucket, Key=key)
        try:
            return bytes(answer["Body"].read()), str(answer["ETag"])
        except (HTTPClientError, IncompleteReadError):
            if attempt == ATTEMPTS:
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


class Known(BaseSubscriber):  # type: ignore[misc]  # s3transfer has no types
    """Tells a download what it would ask S3 for otherwise: the object's size and ETag."""

    def __init__(self, size: int, tag: str) -> None:
        self._size = size
        self._tag = tag

    def on_queued(self, future: Any, **kwargs: Any) -> None:
        """Called by s3transfer before it begins."""
        future.meta.provide_transfer_size(self._size)
        future.meta.provide_object_etag(f'"{self._tag}"')


@functools.cache
def require_bucket(bucket: str, endpoint: str) -> None:
    """Check, once in this process, that a bucket can be reached.

    Args:
        bucket: The bucket.
        endpoint: Where S3 is; "" for AWS itself.

    Raises:
        UsageError: It does not exist.
        LearnLoopError: S3 does not answer, or refuses.
    """
    with explain_faults(f"s3://{bucket}"):
        try:
            client().head_bucket(Bucket=bucket)
        except ClientError as fault:
            if error_code(fault) not in NO_BUCKET:
                raise
            raise UsageError(
                f"There is no bucket '{bucket}'.",
                where=endpoint or "AWS",
                next="make the bucket, or set LEARNLOOP_STORE",
            ) from None


def error_code(fault: ClientError) -> str:
    """S3's word for what went wrong."""
    return str(fault.response["Error"]["Code"])


@contextlib.contextmanager
def explain_faults(where: str) -> Iterator[None]:
    """Turn what boto3 raises into an error that a person can act on.

    Args:
        where: The URI concerned.

    Raises:
        LearnLoopError: S3 did not do as asked, however often it was asked.
    """
    try:
        yield
    except (BotoCoreError, ClientError, RetriesExceededError) as fault:
        raise LearnLoopError(
            "S3 did not do as asked.",
            where=where,
            received=getattr(fault, "last_exception", fault),
            next="check AWS_ENDPOINT_URL, the credentials and the bucket, then run again",
        ) from fault
