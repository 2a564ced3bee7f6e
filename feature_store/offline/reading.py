"""Reading a source: its files as batches of columns of the view's types.

A read may pass over the files more than once. If one was replaced or removed meanwhile, as
compaction does, :class:`SourceChanged` is raised and the read begins anew. Objects on S3 are
fetched to a temporary folder first, each in one piece as it was at that moment. The order of the
source is that of the files' names and of the rows in each.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, TypeAlias

import pyarrow as pa
import pyarrow_hotfix  # type: ignore[import-untyped]  # noqa: F401  # a file may bring code
from pyarrow import parquet

from feature_store.definitions import FeatureView
from feature_store.fields import FeatureType, Field
from feature_store.pushed import live_parts
from feature_store.sources import EventSource, PushSource, StoredSource
from learnloop.errors import CorruptArtifact, LearnLoopError, UsageError, closest
from learnloop.settings import project_root

BATCH_ROWS = 1 << 16
"""Rows looked at at once: little enough to stay in the processor's cache."""
LISTING_ATTEMPTS = 5

Batch: TypeAlias = tuple[int, list[pa.Array], list[pa.Array]]
"""The position of the first row, columns, times."""


class SourceChanged(LearnLoopError):
    """A file of a source was replaced or removed while it was read."""


@dataclass(frozen=True)
class SourceFile:
    """A file of a source.

    Args:
        name: Its name relative to the source.
        path: Where it is.
        identity: What is another if the file is replaced.
        metadata: Its footer.
        first: The position in the source of its first row.
    """

    name: str
    path: Path
    identity: tuple[int, ...]
    metadata: parquet.FileMetaData
    first: int

    @cached_property
    def schema(self) -> pa.Schema:
        """Its columns."""
        return self.metadata.schema.to_arrow_schema()

    def batches(self, names: Sequence[str], coded: Sequence[str] = ()) -> Iterator[pa.RecordBatch]:
        """Read columns.

        Args:
            names: The columns.
            coded: Those to read as dictionaries.

        Yields:
            Batches of at most :data:`BATCH_ROWS` rows.

        Raises:
            SourceChanged: The file is no longer the one that was opened first.
        """
        try:
            handle = self.path.open("rb")
        except FileNotFoundError:
            raise self._changed() from None
        with handle:
            if identity_of(handle) != self.identity:
                raise self._changed()
            file = parquet.ParquetFile(handle, metadata=self.metadata, read_dictionary=list(coded))
            try:
                yield from file.iter_batches(BATCH_ROWS, columns=list(names))
            except OSError as fault:
                raise CorruptArtifact(
                    "A file of a source cannot be read.",
                    where=self.path,
                    received=str(fault).partition("\n")[0],
                ) from None

    def _changed(self) -> SourceChanged:
        return SourceChanged("A source changed while it was read.", where=self.path)


class SourceReader:
    """The open files of a view's source; a context manager.

    Args:
        view: The view.

    Raises:
        UsageError: The source is not there, or lacks a column, or has one of another type.
        CorruptArtifact: A file is not Parquet.
        LearnLoopError: The store cannot be read.
    """

    def __init__(self, view: FeatureView) -> None:
        self.view = view
        self.source = view.stored_source
        self._stack = ExitStack()
        self._fetched: list[tuple[str, Path]] | None = None
        try:
            if place_of(self.source).startswith("s3://"):
                from feature_store.offline.fetching import fetch_objects

                folder = tempfile.TemporaryDirectory(prefix="features-")
                self._fetched = fetch_objects(
                    place_of(self.source), Path(self._stack.enter_context(folder))
                )
            self.files = self._open()
            self._columns = {
                column.name: self._find_column(column) for column in (*view.join_keys, *view.schema)
            }
            self._check_times()
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> SourceReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def unit(self) -> str:
        """The unit that holds all times of the source: ``us``, or ``ns`` if one of them has it."""
        units = {
            opened.schema.field(name).type.unit
            for opened in self.files
            for name in self.time_columns
        }
        return "ns" if "ns" in units else "us"

    @property
    def time_columns(self) -> tuple[str, ...]:
        """The columns with the times: when it happened and, if there is one, was recorded."""
        both = (self.source.timestamp_field, self.source.created_timestamp_column)
        return tuple(filter(None, both))

    def read(
        self, columns: Sequence[Field], *, times: str = "", coded: bool = False
    ) -> Iterator[Batch]:
        """Read columns, batch by batch.

        Args:
            columns: Join keys and features of the view.
            times: The unit in which to read the times, ``us`` or ``ns``; none are read if empty.
            coded: Whether strings are read as dictionaries.

        Yields:
            The position of the first row; the columns, of their types, in order; the
            :attr:`time_columns` as int64. What a file does not have, having been written before the
            field was added, is null.
        """
        moments = self.time_columns if times else ()
        for opened in self.files:
            places = [self._columns[column.name][opened.name] for column in columns]
            texts = [
                place
                for column, place in zip(columns, places, strict=True)
                if coded and place and column.dtype is FeatureType.STRING
            ]
            wanted = [*(place for place in places if place), *moments]
            first = opened.first
            for batch in opened.batches(wanted or [self.source.timestamp_field], texts):
                found = [
                    self.cast(_column(batch, place), column, opened.name)
                    if place
                    else pa.nulls(batch.num_rows, column.dtype.arrow)
                    for column, place in zip(columns, places, strict=True)
                ]
                yield first, found, [as_numbers(_column(batch, name), times) for name in moments]
                first += batch.num_rows

    def column_in(self, opened: SourceFile, name: str) -> str:
        """Name the column that holds a field in a file; "" where the file is older than the field.

        Args:
            opened: The file.
            name: The field.
        """
        return self._columns[name][opened.name]

    def cast(self, array: pa.Array, column: Field, where: str) -> pa.Array:
        """Give values the type of a field; strings read as a dictionary stay one.

        Args:
            array: The values.
            column: The field.
            where: What was read, for the message.

        Raises:
            UsageError: A value does not fit.
        """
        wanted = column.dtype.arrow
        is_coded = pa.types.is_dictionary(array.type) and array.type.value_type == wanted
        try:
            return array if is_coded or array.type == wanted else array.cast(wanted)
        except pa.ArrowInvalid:
            raise UsageError(
                f"A value of '{column.name}' does not fit its type.",
                where=f"feature view '{self.view.name}', {where}",
                expected=f"values that fit {column.dtype}",
                received=str(array.type),
            ) from None

    def _open(self) -> list[SourceFile]:
        """Read all footers; the listing must be the same after as it was before."""
        for _ in range(LISTING_ATTEMPTS):
            listed = self._list()
            with contextlib.suppress(FileNotFoundError):
                opened: list[SourceFile] = []
                first = 0
                for name, path in listed:
                    opened.append(self._read_footer(name, path, first))
                    first += opened[-1].metadata.num_rows
                if self._fetched or listed == self._list():
                    return opened
        raise SourceChanged(
            "A source changes faster than it can be listed.",
            where=f"source '{self.source.name}'",
            next="try again when nobody writes it",
        )

    def _list(self) -> list[tuple[str, Path]]:
        if self._fetched is not None:
            return self._fetched
        is_pushed = isinstance(self.view.source, PushSource)
        if is_pushed and not (project_root() / place_of(self.source)).exists():
            return []  # nothing was pushed yet
        return list_files(self.source)

    def _read_footer(self, name: str, path: Path, first: int) -> SourceFile:
        with path.open("rb") as handle:
            try:
                metadata = parquet.read_metadata(handle)
            except pa.ArrowInvalid:
                raise CorruptArtifact(
                    "A file of a source is not Parquet.",
                    where=f"source '{self.source.name}', {name}",
                    expected="a Parquet file",
                ) from None
            return SourceFile(name, path, identity_of(handle), metadata, first)

    def _find_column(self, column: Field) -> dict[str, str]:
        """Name the column of a field in each file; "" where the file is older than the field."""
        found = {}
        for opened in self.files:
            schema = opened.schema
            names = (column.name, *column.formerly)
            name = next((name for name in names if name in schema.names), "")
            found[opened.name] = name
            if name and not fits(schema.field(name).type, column.dtype):
                raise UsageError(
                    f"Column '{name}' is not of the field's type.",
                    where=f"feature view '{self.view.name}', {opened.name}",
                    expected=str(column.dtype),
                    received=str(schema.field(name).type),
                )
        needed = column in self.view.join_keys
        missing = [name for name, there in found.items() if not there]
        if missing and (needed or len(missing) == len(found)):
            raise self._no_column(column.name, missing[0])
        return found

    def _check_times(self) -> None:
        for opened in self.files:
            schema = opened.schema
            for name in self.time_columns:
                if name not in schema.names:
                    raise self._no_column(name, opened.name)
                if not pa.types.is_timestamp(schema.field(name).type):
                    raise UsageError(
                        f"Column '{name}' is not a time.",
                        where=f"feature view '{self.view.name}', {opened.name}",
                        expected="a timestamp",
                        received=str(schema.field(name).type),
                    )

    def _no_column(self, name: str, file: str) -> UsageError:
        schema = next(opened.schema for opened in self.files if opened.name == file)
        return UsageError(
            f"The source has no column '{name}'.",
            where=f"feature view '{self.view.name}', {file}",
            expected=closest(name, schema.names),
            received=repr(name),
        )


def place_of(source: StoredSource) -> str:
    """The file, folder, pattern or URI of a source.

    Args:
        source: The source.
    """
    return source.folder if isinstance(source, EventSource) else source.path


def list_files(source: StoredSource) -> list[tuple[str, Path]]:
    """List the files of a source on this machine.

    Args:
        source: The source.

    Returns:
        Name and path of each file, by name; none for events of a kind that never came.

    Raises:
        UsageError: There is no such file or folder.
    """
    path = project_root() / place_of(source)
    if path.is_file():
        return [(path.name, path)]
    if path.is_dir():
        files = [(file.relative_to(path).as_posix(), file) for file in path.rglob("*.parquet")]
        own = sorted((name, file) for name, file in files if is_visible(name))
        return own + live_parts(path)
    matched = list(path.parent.glob(path.name)) if "*" in path.name else []
    if not matched and not isinstance(source, EventSource):
        raise UsageError(
            f"There is nothing to read for source '{source.name}'.",
            where=path,
            expected="a Parquet file, or a folder of them",
            received="nothing",
        )
    return sorted((file.name, file) for file in matched)


def identity_of(handle: IO[bytes]) -> tuple[int, ...]:
    """What tells an open file from one that takes its place.

    Args:
        handle: The file.
    """
    status = os.fstat(handle.fileno())
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def is_visible(name: str) -> bool:
    """Whether a file is there for readers: no part of its name begins with a dot or underscore.

    Args:
        name: The name relative to the source.
    """
    return not any(part.startswith((".", "_")) for part in Path(name).parts)


def as_numbers(times: pa.Array, unit: str) -> pa.Array:
    """Write times as whole numbers.

    Args:
        times: Timestamps of any unit and zone.
        unit: ``us`` or ``ns``.

    Returns:
        int64, null where a time is null.
    """
    zone = times.type.tz
    same = times if times.type.unit == unit else times.cast(pa.timestamp(unit, zone))
    return same.cast(pa.int64())


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    return batch.column(batch.schema.get_field_index(name))


def fits(found: pa.DataType, wanted: FeatureType) -> bool:
    """Whether values of a type in a file may become those of a field, if each of them fits."""
    kinds: tuple[Any, ...] = (
        _is_number,
        lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind),
        lambda kind: pa.types.is_binary(kind) or pa.types.is_large_binary(kind),
        pa.types.is_timestamp,
    )
    if pa.types.is_dictionary(found):
        found = found.value_type
    arrow = wanted.arrow
    if pa.types.is_list(arrow):
        is_list = pa.types.is_list(found) or pa.types.is_large_list(found)
        return is_list and _same_kind(found.value_type, arrow.value_type, kinds)
    return found == arrow or _same_kind(found, arrow, kinds)


def _same_kind(found: pa.DataType, wanted: pa.DataType, kinds: tuple[Any, ...]) -> bool:
    return any(kind(found) and kind(wanted) for kind in kinds)


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)
    )
