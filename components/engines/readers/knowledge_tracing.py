"""Layout ``knowledge_tracing``: three lines per learner sequence, as DKT and DKVMN read them.

The lines are ``n``, ``n`` skill ids and ``n`` responses 0 or 1, each comma-separated, in order of
time (Piech et al., *Deep Knowledge Tracing*, NIPS 2015; Zhang et al., *Dynamic Key-Value Memory
Networks*, WWW 2017). The files carry no learner ids: a row of the table ``sequences`` is a
sequence, numbered within its file. A file ``NAME_PARTITION.csv`` holds one partition (``train``,
``test``, ``train1``, ``valid1`` …).

A stretch of lines that is no triple is one rejected record: reading resumes at the next lines that
are one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from components.engines.readers.rejects import Reject, Rejects
from components.engines.readers.tables import Layout, Options, SourceTable
from learnloop.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_LINES = 24_576
BATCH_BYTES = 8 << 20
LONGEST_LINE = 1 << 20
"""Bytes; a longer line belongs to no triple."""

_FILE = re.compile(r".+_((?:train|valid|test)\d*)\.csv")


def _tables(files: Mapping[str, Path], options: Options) -> tuple[SourceTable, ...]:
    partitions: dict[str, Path] = {}
    for name, path in sorted(files.items()):
        match = _FILE.fullmatch(name)
        assert match is not None
        if match[1] in partitions:
            raise UsageError(
                f"Two files hold the partition '{match[1]}'.",
                where=path.parent,
                expected="the files of one data set",
                received=f"{partitions[match[1]].name}, {path.name}",
            )
        partitions[match[1]] = path
    return (SourceTable("sequences", sequences_schema(), partial(_read, partitions)),)


KNOWLEDGE_TRACING = Layout(
    wants=lambda name: _FILE.fullmatch(name) is not None and "/" not in name,
    expects="*_train.csv, *_test.csv, *_trainK.csv, *_validK.csv",
    tables=_tables,
)


def sequences_schema() -> pa.Schema:
    """The columns of the table ``sequences``."""
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("partition", pa.string(), nullable=False),
            pa.field("sequence", pa.int64(), nullable=False),
            pa.field("skills", pa.list_(pa.string()), nullable=False),
            pa.field("responses", pa.list_(pa.int64()), nullable=False),
        ]
    )


def _read(partitions: Mapping[str, Path], rejects: Rejects) -> Iterator[pa.RecordBatch]:
    for partition, path in partitions.items():
        yield from _read_file(path, partition, rejects)


def _read_file(path: Path, partition: str, rejects: Rejects) -> Iterator[pa.RecordBatch]:
    sequence = 0
    pending: list[tuple[int, bytes]] = []
    for lines, is_last in _line_batches(path):
        pending += lines
        triples, refused, pending = _triples(pending, is_last)
        rejects.add("sequences", path.name, refused)
        if triples:
            yield _batch(triples, partition, sequence)
            sequence += len(triples) // 3


def _line_batches(path: Path) -> Iterator[tuple[list[tuple[int, bytes]], bool]]:
    """Read lines with their numbers in bounded batches, the last one marked; blank lines are none.

    A line is shortened to a byte more than the longest allowed, which shows that it is too long.
    """
    number, line = 0, b"\n"
    with path.open("rb") as file:
        if file.read(3) != b"\xef\xbb\xbf":
            file.seek(0)
        while line:
            lines: list[tuple[int, bytes]] = []
            size = 0
            while len(lines) < BATCH_LINES and size < BATCH_BYTES:
                line = rest = file.readline(LONGEST_LINE + 1)
                if not line:
                    break
                while rest and not rest.endswith(b"\n"):
                    rest = file.readline(LONGEST_LINE)
                number += 1
                if line.strip():
                    lines.append((number, line.rstrip(b"\r\n")))
                    size += len(line)
            yield lines, not line


def _triples(
    lines: Sequence[tuple[int, bytes]], is_last: bool
) -> tuple[list[bytes], list[Reject], list[tuple[int, bytes]]]:
    """Tell the triples among lines from what is none.

    Returns:
        The triples' lines, the rejects, and the lines to be looked at with those that follow.
    """
    texts = [text for _, text in lines]
    whole = len(texts) - len(texts) % 3
    if not any(_faults(texts[:whole])):
        rest = list(lines[whole:])
        if not (is_last and rest):
            return texts[:whole], [], rest
    return _walk(lines, is_last)


def _walk(
    lines: Sequence[tuple[int, bytes]], is_last: bool
) -> tuple[list[bytes], list[Reject], list[tuple[int, bytes]]]:
    """Look for a triple at every place, one after the other."""
    texts = [text for _, text in lines]
    good: list[bytes] = []
    refused: list[Reject] = []
    place = 0
    while place < len(texts):
        if len(texts) - place < 6 and not is_last:
            break
        fault = _fault(texts[place : place + 3])
        if not fault:
            good += texts[place : place + 3]
            place += 3
            continue
        # A triple with a wrong value takes three lines; only else one or two lines are missing.
        steps = (3, 1, 2, 4, 5)
        following = (step for step in steps if not _fault(texts[place + step : place + step + 3]))
        end = min(place + next(following, 3), len(texts))
        stretch = b"\n".join(texts[place:end])
        refused.append(Reject(lines[place][0], fault, stretch.decode("utf-8", "replace")))
        place = end
    return good, refused, list(lines[place:])


def _faults(texts: Sequence[bytes]) -> Iterator[str]:
    return (_fault(texts[place : place + 3]) for place in range(0, len(texts), 3))


_RESPONSES = re.compile(rb"[01](?:,[01])*")


def _fault(triple: Sequence[bytes]) -> str:
    """Say why three lines are no triple; "" when they are one."""
    if len(triple) < 3:
        return "the file ends within a sequence"
    count, skills, responses = (text.strip().removesuffix(b",") for text in triple)
    if not count.isdigit() or len(count) > 9:
        return "the first line is not a count"
    if max(map(len, triple)) > LONGEST_LINE:
        return f"longer than {LONGEST_LINE:,} bytes"
    length = int(count)
    if length == 0 or skills.count(b",") + 1 != length:
        return "the count and the number of skills differ"
    if b"\0" in skills or not skills.isascii():
        return "a skill id is not plain text"
    if b",," in skills or skills.startswith(b",") or not skills:
        return "a skill id is missing"
    if responses.count(b",") + 1 != length:
        return "the numbers of skills and of responses differ"
    return "" if _RESPONSES.fullmatch(responses) else "a response is neither 0 nor 1"


def _batch(texts: Sequence[bytes], partition: str, sequence: int) -> pa.RecordBatch:
    """Turn good triples into rows."""
    import pyarrow as pa
    import pyarrow.compute as pc

    def split(lines: Sequence[bytes]) -> pa.Array:
        trimmed = pc.ascii_rtrim(pa.array(lines).cast(pa.string()), characters=", \t")
        return pc.split_pattern(trimmed, ",")

    count = len(texts) // 3
    responses = split(texts[2::3])
    columns = [
        pa.array([partition] * count, pa.string()),
        pa.array(range(sequence, sequence + count), pa.int64()),
        split(texts[1::3]),
        pa.ListArray.from_arrays(responses.offsets, responses.values.cast(pa.int64())),
    ]
    return pa.record_batch(columns, schema=sequences_schema())
