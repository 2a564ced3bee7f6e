"""Fetching a source's objects from S3, each as it was at one moment.

The connection is the store's: endpoint and credentials come from the environment (``AWS_…``).
"""

from __future__ import annotations

from pathlib import Path

from feature_store.offline.reading import is_visible
from learnloop.errors import UsageError
from learnloop.store import connection


def fetch_objects(uri: str, folder: Path) -> list[tuple[str, Path]]:
    """Fetch the Parquet objects of a source.

    Args:
        uri: ``s3://bucket/key`` of one object, or ``s3://bucket/prefix/`` of many.
        folder: Where to put them.

    Returns:
        Name and path of each, by name.

    Raises:
        UsageError: There is none, or no such bucket.
        LearnLoopError: S3 does not answer.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    prefix = key if key.endswith(".parquet") else key.rstrip("/") + "/"
    found = []
    with connection.explain_faults(uri):
        pages = connection.client().get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=bucket, Prefix=prefix):
            for item in page.get("Contents", ()):
                name = item["Key"].removeprefix(prefix) or item["Key"].rpartition("/")[2]
                if name.endswith(".parquet") and is_visible(name):
                    found.append((name, item["Key"], item["Size"], item["ETag"].strip('"')))
        with connection.transfers() as manager:
            waiting = []
            for number, (name, object_key, size, tag) in enumerate(sorted(found)):
                path = folder / f"{number:08d}.parquet"
                subscribers = [connection.Known(size, tag)]
                future = manager.download(bucket, object_key, str(path), subscribers=subscribers)
                waiting.append((name, path, future))
            for *_, future in waiting:
                future.result()
    if not found:
        raise UsageError(
            "There is nothing to read for a source on S3.",
            where=uri,
            expected="a Parquet object, or a prefix with some",
            received="nothing",
        )
    return [(name, path) for name, path, _ in waiting]
