"""Publishing to S3, where nothing can be renamed.

A server that polls a prefix could see half a version, so no server ever does: ``models.config``
names its versions one by one, and a version is named only after every object of it was uploaded
with its SHA-256, which S3 checks, and asked for again. ``manifest.json`` is written last, and only
if there is none; without one a version does not exist for us either.

The document is changed by compare and swap (``IfMatch`` on its ETag). ``models.config`` is made
after it, and made again until the document is still the one that it was made from, so that of two
writers the later one's file stays.
"""

from __future__ import annotations

import base64
import json
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from learnloop.errors import CorruptArtifact, LearnLoopError
from learnloop.store import connection
from learnloop.store.connection import ABSENT, TAKEN, client, error_code, explain_faults
from learnloop.store.local import explain_disk_faults
from serving.configs import (
    BATCHING,
    BATCHING_TEXT,
    MONITORING,
    MONITORING_TEXT,
    ROLLOUT,
    models_configs,
)
from serving.publish import MANIFEST, Publication, PublishedVersion, difference, version_is_taken
from serving.state import Rollout

CHANGE_ATTEMPTS = 20
KEYS_PER_DELETION = 1000


@dataclass(frozen=True)
class BucketPlace:
    """See :class:`serving.places.Place`. Open it with :meth:`open`.

    Args:
        bucket: The bucket.
        prefix: What keys begin with, without a slash at the end.
        mount: The base as servers see it.
        home: A local folder in which versions are built.
    """

    bucket: str
    prefix: str
    mount: str
    home: Path

    @classmethod
    def open(cls, location: str, mount: str, home: Path) -> BucketPlace:
        """Open a bucket, which must exist.

        Args:
            location: ``s3://bucket/prefix``.
            mount: The base as servers see it.
            home: A local folder in which versions are built.

        Raises:
            UsageError: There is no such bucket.
            LearnLoopError: S3 does not answer, or refuses.
        """
        bucket, _, prefix = location.removeprefix("s3://").partition("/")
        connection.require_bucket(bucket, os.environ.get("AWS_ENDPOINT_URL", ""))
        return cls(bucket, prefix.rstrip("/"), mount, home)

    @property
    def location(self) -> str:
        """See :class:`serving.places.Place`."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def publish(self, name: str, publication: Publication) -> PublishedVersion:
        """See :class:`serving.places.Place`."""
        where = self._uri(name, publication.version)
        present = self.find(name, publication.version)
        if present is not None:
            return self._already_published(name, present, publication.digest)
        with explain_disk_faults(self.home), explain_faults(where):
            self.home.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix="publish-", dir=self.home) as scratch:
                folder = Path(scratch) / str(publication.version)
                manifest = publication.build(folder)
                self._upload(name, publication.version, folder, manifest["files"])
                body = (folder / MANIFEST).read_bytes()
            problem = self._difference(name, publication.version, manifest["files"])
            if problem:
                raise CorruptArtifact("S3 does not hold what was uploaded.", where=problem)
            if self._put_if_absent(self._key(name, publication.version, MANIFEST), body):
                return PublishedVersion(where, manifest)
        present = self.find(name, publication.version)
        assert present is not None, "S3 said that the manifest is there"
        return self._already_published(name, present, publication.digest)

    def find(self, name: str, version: int) -> PublishedVersion | None:
        """See :class:`serving.places.Place`."""
        body = self._get(self._key(name, version, MANIFEST))
        if body is None:
            return None
        return PublishedVersion(self._uri(name, version), json.loads(body))

    def why_not_as_published(self, name: str, version: int) -> str:
        """Compare the checksums that S3 keeps, without fetching an object."""
        found = self.find(name, version)
        if found is None:
            return f"{self._uri(name, version)} is not there."
        with explain_faults(found.location):
            return self._difference(name, version, found.manifest["files"])

    def remove(self, name: str, version: int) -> None:
        """Remove the manifest first, then the rest."""
        with explain_faults(self._uri(name, version)):
            client().delete_object(Bucket=self.bucket, Key=self._key(name, version, MANIFEST))
            self._delete(self._listed(name, version))

    def read(self) -> Rollout:
        """See :class:`serving.places.Place`."""
        return self._read()[0]

    def change(self, change: Callable[[Rollout], Rollout]) -> Rollout:
        """See :class:`serving.places.Place`.

        Raises:
            LearnLoopError: S3 failed, or others changed the document all the time.
        """
        for attempt in range(CHANGE_ATTEMPTS):
            before, tag = self._read()
            after = change(before)
            if after == before or self._swap(after, tag):
                self._generate()
                return after
            time.sleep(random.uniform(0, 0.05 * (attempt + 1)))
        raise LearnLoopError(
            "Others changed what is rolled out, again and again.",
            where=f"{self.location}/{ROLLOUT}",
            next="run the same command again",
        )

    def is_current(self) -> bool:
        """See :class:`serving.places.Place`."""
        texts = models_configs(self.read(), self.mount)
        return all(self._get(self._key(name)) == text.encode() for name, text in texts.items())

    def _read(self) -> tuple[Rollout, str]:
        """Give the document and its ETag; an empty one and "" where there is none."""
        where = f"{self.location}/{ROLLOUT}"
        with explain_faults(where):
            try:
                body, tag = connection.read_tagged_object(self.bucket, self._key(ROLLOUT))
            except ClientError as fault:
                if error_code(fault) not in ABSENT:
                    raise
                return Rollout(), ""
        return Rollout.from_json(body, where), tag

    def _swap(self, after: Rollout, tag: str) -> bool:
        """Write the document if it still is the one with this ETag."""
        body = after.to_json().encode()
        condition = {"IfMatch": tag} if tag else {"IfNoneMatch": "*"}
        key = self._key(ROLLOUT)
        with explain_faults(f"{self.location}/{ROLLOUT}"):
            try:
                client().put_object(Bucket=self.bucket, Key=key, Body=body, **condition)
            except ClientError as fault:
                if error_code(fault) not in TAKEN:
                    raise
                # An attempt of boto3's own may have come through though its answer did not.
                return self._get(key) == body
        return True

    def _generate(self) -> None:
        with explain_faults(self.location):
            while True:
                rollout, tag = self._read()
                for name, text in models_configs(rollout, self.mount).items():
                    self._put(self._key(name), text.encode())
                if self._read()[1] == tag:
                    break
            for name, start in ((BATCHING, BATCHING_TEXT), (MONITORING, MONITORING_TEXT)):
                self._put_if_absent(self._key(name), start.encode())

    def _upload(self, name: str, version: int, folder: Path, files: dict[str, str]) -> None:
        """Upload a version's files; what an attempt before left there that is not among them goes.

        Args:
            name: The model.
            version: The version.
            folder: Where its files are.
            files: Digest by file.
        """

        def upload(file: str) -> None:
            with (folder / file).open("rb") as body:
                client().put_object(
                    Bucket=self.bucket,
                    Key=self._key(name, version, file),
                    Body=body,
                    ChecksumAlgorithm="SHA256",
                    ChecksumSHA256=_base64(files[file]),
                )

        with ThreadPoolExecutor(connection.TRANSFERS) as pool:
            list(pool.map(upload, files))
        wanted = {self._key(name, version, file) for file in files}
        self._delete(key for key in list(self._listed(name, version)) if key not in wanted)

    def _difference(self, name: str, version: int, files: dict[str, str]) -> str:
        start = self._key(name, version, "")

        def digest(key: str) -> tuple[str, str]:
            head = client().head_object(Bucket=self.bucket, Key=key, ChecksumMode="ENABLED")
            return key.removeprefix(start), head.get("ChecksumSHA256", "")

        keys = [key for key in self._listed(name, version) if key != start + MANIFEST]
        with ThreadPoolExecutor(connection.TRANSFERS) as pool:
            received = dict(pool.map(digest, keys))
        expected = {file: _base64(one) for file, one in files.items()}
        return difference(expected, received, self._uri(name, version))

    def _already_published(
        self, name: str, present: PublishedVersion, digest: str
    ) -> PublishedVersion:
        with explain_faults(present.location):
            version = int(present.manifest["version"])
            problem = self._difference(name, version, present.manifest["files"])
        if not problem and present.manifest["digest"] == digest:
            return present
        raise version_is_taken(
            present.location, problem or f"{present.location} holds another model."
        )

    def _listed(self, name: str, version: int) -> Iterator[str]:
        pages = client().get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self.bucket, Prefix=self._key(name, version, "")):
            for item in page.get("Contents", ()):
                yield item["Key"]

    def _delete(self, keys: Iterable[str]) -> None:
        chosen = [{"Key": key} for key in keys]
        for begin in range(0, len(chosen), KEYS_PER_DELETION):
            some = chosen[begin : begin + KEYS_PER_DELETION]
            answer = client().delete_objects(Bucket=self.bucket, Delete={"Objects": some})
            for error in answer.get("Errors", ()):
                raise LearnLoopError(
                    "S3 did not remove an object.",
                    where=f"s3://{self.bucket}/{error['Key']}",
                    received=error.get("Message", error.get("Code")),
                    next="check what these credentials may do, then run again",
                )

    def _get(self, key: str) -> bytes | None:
        with explain_faults(f"s3://{self.bucket}/{key}"):
            try:
                return connection.read_object(self.bucket, key)
            except ClientError as fault:
                if error_code(fault) not in ABSENT:
                    raise
        return None

    def _put(self, key: str, body: bytes) -> None:
        client().put_object(Bucket=self.bucket, Key=key, Body=body)

    def _put_if_absent(self, key: str, body: bytes) -> bool:
        """Write an object if there is none; whether it is the one that is there now."""
        try:
            client().put_object(Bucket=self.bucket, Key=key, Body=body, IfNoneMatch="*")
        except ClientError as fault:
            if error_code(fault) not in TAKEN:
                raise
            return self._get(key) == body
        return True

    def _key(self, *parts: Any) -> str:
        below = "/".join(str(part) for part in parts)
        return f"{self.prefix}/{below}" if self.prefix else below

    def _uri(self, name: str, version: int) -> str:
        return f"{self.location}/{name}/{version}"


def _base64(digest: str) -> str:
    return base64.b64encode(bytes.fromhex(digest)).decode()
