"""Rejects: rows that a reader refused, kept with their place and the reason, in bounded memory.

The raw text stays in this table alone; it may hold learner data, so nothing here logs it and
reasons never quote it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    import pyarrow as pa

TEXT_LENGTH = 200
"""Characters of a rejected row's raw text that are kept."""

REJECTS_COLUMNS = ("table", "file", "line", "reason", "text")


class Reject(NamedTuple):
    """One refused row.

    Args:
        line: The 1-based line of the file on which it starts (a Parquet or SQL row's number).
        reason: Why, without a value of the row.
        text: Its raw text, of any length.
    """

    line: int
    reason: str
    text: str


class Rejects:
    """Collects refused rows: counted at once, their rows spooled to a file.

    Args:
        spool: The file to spool to; it is replaced.
        leave_out: Tells by a row's text that it must not be kept, and counts as not there.

    Example:
        >>> import tempfile
        >>> with Rejects(Path(tempfile.mkdtemp()) / "rejects.arrow") as rejects:
        ...     rejects.add("vle", "vle.csv", [Reject(7, "not UTF-8", "1,?")])
        >>> rejects.counts
        {'vle': 1}
        >>> [batch.to_pylist()[0]["line"] for batch in rejects.batches()]
        [7]
    """

    def __init__(self, spool: Path, leave_out: Callable[[str], bool] | None = None) -> None:
        import pyarrow as pa

        self.schema = rejects_schema()
        self._spool = spool
        self._leave_out = leave_out
        self._reasons: dict[str, Counter[str]] = {}
        self._sink = pa.OSFile(str(spool), "wb")
        self._writer = pa.ipc.new_stream(self._sink, self.schema)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.close()
        self._sink.close()

    def add(self, table: str, file: str, rejects: Sequence[Reject]) -> None:
        """Add refused rows of one file.

        Args:
            table: The table they would have belonged to.
            file: The file's name, without folders.
            rejects: The rows.
        """
        import pyarrow as pa

        if self._leave_out is not None:
            rejects = [one for one in rejects if not self._leave_out(one.text)]
        if not rejects:
            return
        lines, reasons, texts = zip(*rejects, strict=True)
        self._reasons.setdefault(table, Counter()).update(reasons)
        columns = [
            pa.array([table] * len(rejects), pa.string()),
            pa.array([file] * len(rejects), pa.string()),
            pa.array(lines, pa.int64()),
            pa.array(reasons, pa.string()),
            pa.array([text[:TEXT_LENGTH] for text in texts], pa.string()),
        ]
        self._writer.write_batch(pa.record_batch(columns, schema=self.schema))

    @property
    def counts(self) -> dict[str, int]:
        """Refused rows by table; a table without any is absent."""
        return {table: reasons.total() for table, reasons in self._reasons.items()}

    def reasons(self, table: str) -> dict[str, int]:
        """Refused rows of a table by reason, the most frequent first.

        Args:
            table: The table's name.
        """
        counter = self._reasons.get(table, Counter())
        return dict(sorted(counter.items(), key=lambda item: (-item[1], item[0])))

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Read all refused rows back, in the order they were added; after the spool is closed."""
        import pyarrow as pa

        with pa.OSFile(str(self._spool), "rb") as source, pa.ipc.open_stream(source) as stream:
            yield from stream


def rejects_schema() -> pa.Schema:
    """The columns of the quarantine table."""
    import pyarrow as pa

    types = (pa.string(), pa.string(), pa.int64(), pa.string(), pa.string())
    return pa.schema(list(zip(REJECTS_COLUMNS, types, strict=True)))
