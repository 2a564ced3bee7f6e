"""CSV records at the level of bytes: where they begin and end, and which of them are malformed.

Most blocks of a CSV file are *plain*: every line is one record, and the columnar parser may be
trusted with the whole block. :func:`is_plain` proves that with a few passes over the bytes. A block
that is not plain goes through :func:`separate`, which walks its records one by one by the rules of
RFC 4180, keeps the good ones with their line numbers and says of each other one what is wrong. A
quote that opens and never closes costs only its own line: reading resumes on the next.
"""

from __future__ import annotations

from dataclasses import dataclass

from components.engines.readers.rejects import Reject

LONGEST_LINE = 1 << 20
"""Bytes; a longer line is refused, so that one line cannot take all memory."""


@dataclass(frozen=True)
class Block:
    """A piece of a file that begins at a record and ends with a line.

    Args:
        data: The bytes, ending in a newline.
        line: The 1-based number of its first line.
        is_last: Whether the file ends here.
    """

    data: bytes
    line: int
    is_last: bool


@dataclass(frozen=True)
class Separated:
    """A block's records, told apart.

    Args:
        records: The well-formed records, each ending in a newline.
        lines: The line on which each of them starts.
        rejects: The malformed records.
        rest: The bytes of a record that the block cuts off, which belong before the next block.
    """

    records: list[bytes]
    lines: list[int]
    rejects: list[Reject]
    rest: bytes


def is_plain(data: bytes) -> bool:
    r"""Tell whether the columnar parser reads these lines as :func:`separate` would.

    That is so when there is no NUL byte, no line is too long, every quote opens or closes a whole
    field (RFC 4180), no line break lies between quotes, and the parser finds as many rows as there
    are lines, which it alone can tell: a stray carriage return or a blank line makes them differ.

    Args:
        data: Whole lines, the last one ending in a newline.

    Example:
        >>> is_plain(b'1,"a ""b"" c"\n2,c\n'), is_plain(b'1,"a\nb"\n'), is_plain(b'1,5" pipe\n')
        (True, False, False)
    """
    import numpy as np

    if b"\0" in data:
        return False
    characters = np.frombuffer(data, np.uint8)
    newlines = np.flatnonzero(characters == ord("\n"))
    if np.diff(newlines, prepend=-1).max() > LONGEST_LINE:
        return False
    if b'"' not in data:
        return True
    quotes = np.flatnonzero(characters == ord('"'))
    if len(quotes) % 2:
        return False
    opening, closing = quotes[0::2], quotes[1::2]
    is_escape = closing[:-1] + 1 == opening[1:]
    before = characters[opening - 1]
    opens_a_field = (before == ord(",")) | (before == ord("\n"))
    opens_a_field[1:] |= is_escape
    after = characters[closing + 1]
    closes_a_field = (after == ord(",")) | (after == ord("\n")) | (after == ord("\r"))
    closes_a_field[:-1] |= is_escape
    is_outside = np.searchsorted(quotes, newlines) % 2 == 0
    return bool(opens_a_field.all() and closes_a_field.all() and is_outside.all())


def separate(block: Block, columns: int) -> Separated:
    """Tell the records of a block apart.

    Args:
        block: The bytes.
        columns: How many columns a record must have.

    Returns:
        The good records and the malformed ones. Blank lines are neither.
    """
    good: list[bytes] = []
    numbers: list[int] = []
    rejects: list[Reject] = []
    data, start, number = block.data, 0, block.line
    while start < len(data):
        end = data.index(b"\n", start) + 1
        record = data[start:end]
        if record in (b"\n", b"\r\n"):
            start, number = end, number + 1
            continue
        fault = _line_fault(record)
        if fault:
            fields = 0
        elif b'"' not in record:
            fields = record.count(b",") + 1
            fault = _STRAY_RETURN if b"\r" in record[:-2] else ""
        else:
            fields, end, fault = _scan_quoted(data, start)
            record = data[start:end]
            is_cut_off = not block.is_last and len(data) - start <= LONGEST_LINE
            if fault == _NOT_CLOSED and is_cut_off:
                return Separated(good, numbers, rejects, data[start:])
            fault = fault or _line_fault(record)
        if not fault and fields != columns:
            fault = f"expected {columns} columns, received {fields}"
        if fault:
            text = record.decode("utf-8", "replace").rstrip("\r\n")
            rejects.append(Reject(number, fault, text))
        else:
            good.append(record)
            numbers.append(number)
        start, number = end, number + record.count(b"\n")
    return Separated(good, numbers, rejects, b"")


_NOT_CLOSED = "quotes do not close"
_STRAY_RETURN = "holds a carriage return outside quotes"


def _scan_quoted(data: bytes, start: int) -> tuple[int, int, str]:
    """Walk the fields of the record at ``start``, over line breaks between quotes.

    Returns:
        How many fields it has, where it ends, and what is wrong with its quotes, if anything: then
        it ends with its first line.
    """
    fields, place = 0, start
    newline = data.index(b"\n", start)
    first_line = newline + 1
    while True:
        fields += 1
        if data.startswith(b'"', place):
            place = _closing_quote(data, place, start + LONGEST_LINE) + 1
            if not place:
                return 0, first_line, _NOT_CLOSED
            if not data.startswith((b",", b"\n", b"\r\n"), place):
                return 0, first_line, "quotes do not enclose a whole value"
            newline = data.index(b"\n", place)
            place = place if data.startswith(b",", place) else newline
        else:
            comma = data.find(b",", place, newline)
            value = data[place : newline - 1 if comma < 0 else comma]
            if b"\r" in value:
                return 0, first_line, _STRAY_RETURN
            place = newline if comma < 0 else comma
        if place == newline:
            return fields, newline + 1, ""
        place += 1


def _closing_quote(data: bytes, opening: int, limit: int) -> int:
    """Find the quote that closes a value, doubled ones being part of it; -1 if there is none."""
    place = data.find(b'"', opening + 1, limit)
    while place >= 0 and data.startswith(b'"', place + 1):
        place = data.find(b'"', place + 2, limit)
    return place


def _line_fault(line: bytes) -> str:
    """Say what is wrong with the characters of a line; nothing is "" ."""
    if len(line) > LONGEST_LINE:
        return f"longer than {LONGEST_LINE:,} bytes"
    if b"\0" in line:
        return "holds a NUL byte"
    try:
        line.decode()
    except UnicodeDecodeError:
        return "not UTF-8"
    return ""
