"""A store on S3, or anything that speaks its protocol.

::

    s3://bucket/prefix/artifacts/<pipeline>/<step>/<execution>/<output>/…
    s3://bucket/prefix/artifacts/<pipeline>/<step>/<execution>/manifest.json

S3 has no rename, so the manifest is written last, and only if there is none (``IfNoneMatch``): an
execution without one does not exist for readers. The manifest keeps each object's ETag, which S3
changes with the bytes, so that one listing verifies an execution; what is fetched is digested too.
Large files travel in parts. A download that was cut off goes on with the files that are missing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from learnloop.errors import CorruptArtifact, LearnLoopError
from learnloop.holding import hold
from learnloop.store import connection
from learnloop.store.connection import client, error_code, explain_faults
from learnloop.store.local import explain_disk_faults, is_abandoned
from learnloop.store.protocol import MANIFEST, FileEntry, Manifest, already_published

PUBLICATION = "publication"
"""Metadata of a manifest: tells whose attempt wrote it where S3's first answer was lost."""

KEYS_PER_DELETION = 1000


@dataclass(frozen=True)
class S3Store:
    """A store in a bucket. Open it with :meth:`open`.

    Args:
        bucket: The bucket.
        prefix: What keys begin with, without a slash at the end.
        home: A local folder for staging and copies.
    """

    bucket: str
    prefix: str
    home: Path

    @classmethod
    def open(cls, location: str, home: str) -> S3Store:
        """Open a bucket, which must exist.

        Args:
            location: ``s3://bucket/prefix``.
            home: A local folder for staging and copies.

        Raises:
            UsageError: There is no such bucket.
            LearnLoopError: S3 does not answer, or refuses.
        """
        bucket, _, prefix = location.removeprefix("s3://").partition("/")
        connection.require_bucket(bucket, os.environ.get("AWS_ENDPOINT_URL", ""))
        return cls(bucket, prefix.rstrip("/"), Path(home))

    def stage(self, execution: str) -> Path:
        """See :meth:`learnloop.store.Store.stage`."""
        folder = self._staging / execution.rpartition("/")[2]
        with explain_disk_faults(folder):
            folder.mkdir(parents=True)
        return folder

    def publish(self, execution: str, staged: Path) -> Manifest:
        """See :meth:`learnloop.store.Store.publish`."""
        where = self.uri(execution, "")
        with explain_disk_faults(staged), explain_faults(where):
            if self._publication(execution) is not None:
                raise already_published(where)
            manifest = Manifest.of_folder(staged)
            with connection.transfers() as transfers:
                uploads = [
                    transfers.upload(str(staged / name), self.bucket, self._key(execution, name))
                    for name in manifest.files
                ]
                for upload in uploads:
                    upload.result()
            manifest = self._with_tags(execution, manifest)
            self._put_manifest(execution, manifest)
        self._keep_copy(execution, staged, manifest)
        return manifest

    def discard(self, staged: Path) -> None:
        """See :meth:`learnloop.store.Store.discard`."""
        shutil.rmtree(staged, ignore_errors=True)

    def uri(self, execution: str, output: str) -> str:
        """See :meth:`learnloop.store.Store.uri`."""
        return f"s3://{self.bucket}/{self._key(execution, output)}"

    def fetch(self, uri: str) -> Path:
        """See :meth:`learnloop.store.Store.fetch`."""
        start = self._uri_start
        if not uri.startswith(start):
            raise CorruptArtifact("An artifact is not in this store.", where=uri, expected=start)
        execution, _, output = uri.removeprefix(start).rpartition("/")
        files = self._manifest(execution).under(output)
        if not files:
            raise CorruptArtifact(
                "An artifact is not in the store.", where=uri, next="run the pipeline again"
            )
        copy = self._copies / execution
        with explain_disk_faults(copy), explain_faults(uri):
            missing = {n: entry for n, entry in files.items() if not _is_whole(copy / n, entry)}
            if missing:
                self._download(execution, missing, copy)
        return copy / output

    def verify(self, execution: str, manifest_digest: str) -> None:
        """Check the size and ETag of every object, without fetching them: see the module's text."""
        manifest = self._manifest(execution)
        where = self.uri(execution, "")
        if manifest.digest() != manifest_digest:
            raise CorruptArtifact("A manifest has been changed.", where=where + MANIFEST)
        with explain_faults(where):
            found = self._listed(execution)
        for name in sorted(found.keys() ^ manifest.files.keys()):
            raise CorruptArtifact(
                "A published artifact has a file too many."
                if name in found
                else "A published artifact lacks a file.",
                where=where + name,
            )
        for name, entry in manifest.files.items():
            if found[name] != (entry.size, entry.tag):
                raise CorruptArtifact(
                    "A published artifact's bytes have changed.",
                    where=where + name,
                    expected=f"{entry.size} bytes, ETag {entry.tag}",
                    received="{} bytes, ETag {}".format(*found[name]),
                )

    def executions(self) -> Iterator[str]:
        """See :meth:`learnloop.store.Store.executions`."""
        start = self._key("", "")
        with explain_faults(self._uri_start):
            for item in self._objects(start):
                if item["Key"].endswith(f"/{MANIFEST}"):
                    yield item["Key"].removeprefix(start).rpartition("/")[0]

    def size(self, execution: str) -> int:
        """See :meth:`learnloop.store.Store.size`."""
        return self._manifest(execution).size

    def delete(self, execution: str) -> None:
        """Remove the manifest first, so that no reader sees half of an execution."""
        with explain_faults(self.uri(execution, "")):
            client().delete_object(Bucket=self.bucket, Key=self._key(execution, MANIFEST))
            self._delete_keys([item["Key"] for item in self._objects(self._key(execution, ""))])
        shutil.rmtree(self._copies / execution, ignore_errors=True)

    def purge(self, execution: str) -> None:
        """Remove the objects, and the versions that a versioned bucket keeps of them."""
        self.delete(execution)
        with explain_faults(self.uri(execution, "")):
            pages = client().get_paginator("list_object_versions")
            for page in pages.paginate(Bucket=self.bucket, Prefix=self._key(execution, "")):
                kept = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
                self._delete_objects([{n: one[n] for n in ("Key", "VersionId")} for one in kept])

    def remove_abandoned(self, older_than_seconds: float) -> int:
        """See :meth:`learnloop.store.Store.remove_abandoned`; copies of what is gone go too."""
        folders = [p for p in self._staging.glob("*") if is_abandoned(p, older_than_seconds)]
        published = set(self.executions())
        for copy in self._copies.glob("*/*/*"):
            if copy.relative_to(self._copies).as_posix() not in published:
                shutil.rmtree(copy, ignore_errors=True)
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        with explain_faults(self._uri_start):
            orphans = self._remove_orphans(published, time.time() - older_than_seconds)
        return len({folder.name for folder in folders} | orphans)

    def _remove_orphans(self, published: set[str], before: float) -> set[str]:
        """Remove objects without a manifest, and unfinished uploads; give the executions' ids."""
        start = self._key("", "")
        orphans: dict[str, str] = {}
        for item in self._objects(start):
            execution = "/".join(item["Key"].removeprefix(start).split("/")[:3])
            if execution not in published and item["LastModified"].timestamp() < before:
                orphans[item["Key"]] = execution
        self._delete_keys(list(orphans))
        pages = client().get_paginator("list_multipart_uploads")
        for page in pages.paginate(Bucket=self.bucket, Prefix=start):
            for upload in page.get("Uploads", ()):
                if upload["Initiated"].timestamp() < before:
                    with contextlib.suppress(client().exceptions.NoSuchUpload):
                        client().abort_multipart_upload(
                            Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                        )
        return {execution.rpartition("/")[2] for execution in orphans.values()}

    @property
    def _staging(self) -> Path:
        return self.home / "staging"

    @property
    def _copies(self) -> Path:
        return self.home / "copies"

    @property
    def _uri_start(self) -> str:
        return f"s3://{self.bucket}/{self._key('', '')}"

    def _key(self, execution: str, name: str) -> str:
        parts = [part for part in (self.prefix, "artifacts", execution) if part]
        return "/".join([*parts, name])

    def _with_tags(self, execution: str, manifest: Manifest) -> Manifest:
        listed = self._listed(execution)
        files = {
            name: dataclasses.replace(entry, tag=listed[name][1] if name in listed else "absent")
            for name, entry in manifest.files.items()
        }
        return Manifest(files)

    def _put_manifest(self, execution: str, manifest: Manifest) -> None:
        publication = uuid.uuid4().hex
        try:
            client().put_object(
                Bucket=self.bucket,
                Key=self._key(execution, MANIFEST),
                Body=manifest.to_json(),
                IfNoneMatch="*",
                Metadata={PUBLICATION: publication},
            )
        except ClientError as fault:
            if error_code(fault) not in connection.TAKEN:
                raise
            # An attempt of boto3's own may have come through though its answer did not.
            if self._publication(execution) != publication:
                raise already_published(self.uri(execution, "")) from None

    def _publication(self, execution: str) -> str | None:
        """Ask whose attempt published an execution; None if it is not published."""
        try:
            head = client().head_object(Bucket=self.bucket, Key=self._key(execution, MANIFEST))
        except ClientError as fault:
            if error_code(fault) not in connection.ABSENT:
                raise
            return None
        return str(head["Metadata"].get(PUBLICATION, ""))

    def _keep_copy(self, execution: str, staged: Path, manifest: Manifest) -> None:
        """What was just made is what the next step reads: keep it, if possible, as a copy."""
        copy = self._copies / execution
        with contextlib.suppress(OSError):
            copy.parent.mkdir(parents=True, exist_ok=True)
            staged.rename(copy)
        shutil.rmtree(staged, ignore_errors=True)

    def _download(self, execution: str, files: Mapping[str, FileEntry], copy: Path) -> None:
        """Fetch files; each that is whole stays, so that a later attempt goes on from there."""
        incoming = self._staging / uuid.uuid4().hex
        with (
            hold(incoming),
            connection.transfers() as transfers,
            ThreadPoolExecutor(connection.TRANSFERS) as pool,
        ):

            def download(name: str) -> None:
                entry, arriving, target = files[name], incoming / name, copy / name
                arriving.parent.mkdir(parents=True, exist_ok=True)
                target.parent.mkdir(parents=True, exist_ok=True)
                transfers.download(
                    self.bucket,
                    self._key(execution, name),
                    str(arriving),
                    subscribers=[connection.Known(entry.size, entry.tag)],
                ).result()
                entry.check_file(arriving, self.uri(execution, name))
                arriving.replace(target)

            try:
                list(pool.map(download, files))
            finally:
                shutil.rmtree(incoming, ignore_errors=True)

    def _manifest(self, execution: str) -> Manifest:
        key = self._key(execution, MANIFEST)
        where = self.uri(execution, MANIFEST)
        with explain_faults(where):
            try:
                body = connection.read_object(self.bucket, key)
            except ClientError as fault:
                if error_code(fault) not in connection.ABSENT:
                    raise
                raise CorruptArtifact(
                    "An artifact is not in the store.", where=where, next="run the pipeline again"
                ) from None
        return Manifest.from_json(body, where)

    def _listed(self, execution: str) -> dict[str, tuple[int, str]]:
        """Size and ETag of an execution's objects, the manifest aside, by name."""
        start = self._key(execution, "")
        listed = {
            item["Key"].removeprefix(start): (int(item["Size"]), str(item["ETag"]).strip('"'))
            for item in self._objects(start)
        }
        listed.pop(MANIFEST, None)
        return listed

    def _objects(self, prefix: str) -> Iterator[dict[str, Any]]:
        pages = client().get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self.bucket, Prefix=prefix):
            yield from page.get("Contents", ())

    def _delete_keys(self, keys: list[str]) -> None:
        self._delete_objects([{"Key": key} for key in keys])

    def _delete_objects(self, objects: list[dict[str, str]]) -> None:
        for begin in range(0, len(objects), KEYS_PER_DELETION):
            chosen = objects[begin : begin + KEYS_PER_DELETION]
            answer = client().delete_objects(Bucket=self.bucket, Delete={"Objects": chosen})
            for error in answer.get("Errors", ()):
                raise LearnLoopError(
                    "S3 did not remove an object.",
                    where=f"s3://{self.bucket}/{error['Key']}",
                    received=error.get("Message", error.get("Code")),
                    next="check what these credentials may do, then run again",
                )


def _is_whole(path: Path, entry: FileEntry) -> bool:
    try:
        entry.check_file(path, path)
    except CorruptArtifact:
        return False
    return True
