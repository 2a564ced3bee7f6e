"""Where a view's rows come from: Parquet files, parts of the event stream, pushes.

Every source names the column with the time at which something **happened**
(``timestamp_field``) and, where there is one, the column with the time at which it was **recorded**
(``created_timestamp_column``). A source without the second is taken to record at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from feature_store.fields import EVENT_TIMESTAMP, check_name
from learnloop.errors import UsageError


@dataclass(frozen=True)
class ParquetSource:
    """Rows in Parquet files.

    Args:
        name: The source's name.
        path: A file, a folder (all ``*.parquet`` in it) or a pattern, relative to the project; or
            ``s3://bucket/key``, ``s3://bucket/prefix/``.
        timestamp_field: The column with the time at which the values came to hold.
        created_timestamp_column: The column with the time at which the row was recorded.

    Raises:
        UsageError: A name does not fit, or both times are one column.
    """

    name: str
    path: str
    timestamp_field: str = EVENT_TIMESTAMP
    created_timestamp_column: str = ""

    def __post_init__(self) -> None:
        _check_source(self.name, self.path, self.timestamp_field, self.created_timestamp_column)


@dataclass(frozen=True)
class EventSource:
    """Events of one kind in the folder of parts that ``learnloop events collect`` keeps.

    Args:
        name: The source's name.
        path: The folder of all events, relative to the project, or ``s3://bucket/prefix/``. What
            lies in folders whose names begin with a dot or an underscore is not there yet.
        kind: The kind wanted, as ``attempt``: its folder.
        timestamp_field: The column with the time at which the event happened.
        created_timestamp_column: The column with the time at which it was told.

    Raises:
        UsageError: A name does not fit, or both times are one column.
    """

    name: str
    path: str
    kind: str
    timestamp_field: str = "at"
    created_timestamp_column: str = "recorded_at"

    def __post_init__(self) -> None:
        check_name(self.kind, "kind of event")
        _check_source(self.name, self.path, self.timestamp_field, self.created_timestamp_column)

    @property
    def folder(self) -> str:
        """The folder of the kind."""
        return f"{self.path.rstrip('/')}/{self.kind}"


@dataclass(frozen=True)
class PushSource:
    """Rows that are pushed as they come, kept beside in Parquet so that training can join them.

    Args:
        name: The source's name, by which rows are pushed.
        batch_source: Where pushed rows are kept, and read from offline: a folder.

    Raises:
        UsageError: The name does not fit.
    """

    name: str
    batch_source: ParquetSource

    def __post_init__(self) -> None:
        check_name(self.name, "source")
        if not isinstance(self.batch_source, ParquetSource):
            raise UsageError(
                "A push source needs a place for the rows pushed.",
                where=f"source '{self.name}', batch_source",
                expected="a ParquetSource",
                received=type(self.batch_source).__name__,
            )


Source = ParquetSource | EventSource | PushSource
StoredSource = ParquetSource | EventSource


def stored_source(source: Source) -> StoredSource:
    """The source whose files an offline read opens.

    Args:
        source: Any source.

    Returns:
        The batch source of a push source, else the source itself.
    """
    return source.batch_source if isinstance(source, PushSource) else source


def _check_source(name: str, path: str, happened: str, recorded: str) -> None:
    check_name(name, "source")
    if not path:
        raise UsageError(
            "A source needs a path.",
            where=f"source '{name}'",
            expected="a file, a folder, a pattern or an s3:// URI",
            received="nothing",
        )
    if not happened:
        raise UsageError(
            "A source needs the time at which things happened.",
            where=f"source '{name}', timestamp_field",
            expected="the name of a column",
            received="nothing",
        )
    if happened == recorded:
        raise UsageError(
            "One column cannot be both times.",
            where=f"source '{name}'",
            expected="created_timestamp_column: another column, or none",
            received=repr(recorded),
        )
