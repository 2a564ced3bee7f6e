"""One CSV file: what is accepted, what is refused on which line, and that nothing is lost."""

from __future__ import annotations

import csv
import datetime
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.engines.readers import csv_file
from components.engines.readers.csv_file import CsvFile, read_header
from components.engines.readers.rejects import Rejects
from learnloop.errors import UsageError

SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("note", pa.string()),
        pa.field("score", pa.float64()),
        pa.field("day", pa.date32()),
    ]
)
HEADER = b"id,note,score,day\n"
Read = tuple[list[tuple[int, tuple[Any, ...]]], list[tuple[int, str, str]]]


def read(path: Path, data: bytes, schema: pa.Schema = SCHEMA) -> Read:
    """Write the bytes, read the file: accepted and refused rows, each with its line."""
    path.write_bytes(data)
    file = CsvFile(path, "notes", read_header(path), schema)
    accepted = []
    with Rejects(path.with_suffix(".spool")) as rejects:
        for batch, lines in file.batches(rejects):
            rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
            accepted += list(zip(lines.tolist(), rows, strict=True))
    refused = [
        (row["line"], row["reason"], row["text"])
        for batch in rejects.batches()
        for row in batch.to_pylist()
    ]
    return accepted, refused


def ids(result: Read) -> list[tuple[int, int]]:
    return [(line, row[0]) for line, row in result[0]]


MALFORMED = {
    "too few columns": (b"2,b\n", "expected 4 columns, received 2"),
    "too many columns": (b"2,b,1,2024-01-01,5\n", "expected 4 columns, received 5"),
    "bad encoding": (b"2,caf\xe9,1,\n", "not UTF-8"),
    "NUL byte": (b"2,a\0b,1,\n", "holds a NUL byte"),
    "number": (b"2,b,high,\n", "column 'score' is not a number"),
    "whole number": (b"two,b,1,\n", "column 'id' is not a whole number"),
    "date": (b"2,b,1,2024-02-30\n", "column 'day' is not a date"),
    "date in another order": (b"2,b,1,30.12.2024\n", "column 'day' is not a date"),
    "no value": (b",b,1,\n", "column 'id' has no value"),
    "quotes not closed": (b'2,"b,1,\n', "quotes do not close"),
    "quotes within": (b'2,"b"c,1,\n', "quotes do not enclose a whole value"),
    "carriage return": (b"2,b\rc,1,\n", "holds a carriage return outside quotes"),
    "long line": (b"2," + b"b" * 10_000_000 + b",1,\n", "longer than 1,048,576 bytes"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_row_is_refused_with_its_line_and_its_neighbours_are_kept(
    name: str, tmp_path: Path
) -> None:
    line, reason = MALFORMED[name]
    accepted, refused = read(
        tmp_path / "notes.csv", HEADER + b"1,a,0.5,2024-01-31\n" + line + b"3,c,,\n"
    )
    text = line.decode("utf-8", "replace").rstrip("\n")[:200]
    assert accepted == [
        (2, (1, "a", 0.5, datetime.date(2024, 1, 31))),
        (4, (3, "c", None, None)),
    ]
    assert refused == [(3, reason, text)]


def test_a_file_of_nothing_but_long_lines_is_read_in_bounded_memory(tmp_path: Path) -> None:
    import tracemalloc

    data = HEADER + (b"1," + b"x" * 30_000_000 + b",1,\n") * 2 + b"3,c,,\n"
    tracemalloc.start()
    result = read(tmp_path / "notes.csv", data)
    peak = tracemalloc.get_traced_memory()[1]
    assert ids(result) == [(4, 3)]
    assert [line for line, _, _ in result[1]] == [2, 3]
    assert peak - len(data) < 40_000_000


def test_line_breaks_in_quotes_count_as_lines(tmp_path: Path) -> None:
    data = HEADER + b'1,"two\nlines",1,\r\n\r\n2,"say ""no""",1,\r\nx,c,1,\r\n3,"1,5",1,'
    accepted, refused = read(tmp_path / "notes.csv", data)
    assert accepted == [
        (2, (1, "two\nlines", 1.0, None)),
        (5, (2, 'say "no"', 1.0, None)),
        (7, (3, "1,5", 1.0, None)),
    ]
    assert refused == [(6, "column 'id' is not a whole number", "x,c,1,")]


def test_a_quote_that_never_closes_costs_its_own_line_only(tmp_path: Path) -> None:
    data = HEADER + b'1,"open,1,\n2,b,1,\n3,"closed",1,\n4,d,1,\n'
    result = read(tmp_path / "notes.csv", data)
    assert ids(result) == [(3, 2), (4, 3), (5, 4)]
    assert result[1] == [(2, "quotes do not enclose a whole value", '1,"open,1,')]


def test_an_inch_mark_in_an_unquoted_value_is_a_character(tmp_path: Path) -> None:
    accepted, refused = read(tmp_path / "notes.csv", HEADER + b'1,5" pipe,1,\n2,6" pipe,1,\n')
    assert [row[1] for _, row in accepted] == ['5" pipe', '6" pipe']
    assert refused == []


def test_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbf" + HEADER.replace(b"\n", b"\r\n") + b"1,a,1,\r\n2,b,2,\r\n"
    assert ids(read(tmp_path / "notes.csv", data)) == [(2, 1), (3, 2)]


def test_columns_come_by_name_and_others_are_left_out(tmp_path: Path) -> None:
    data = b"score,extra,id\n0.5,x,1\n"
    schema = pa.schema([pa.field("id", pa.int64()), pa.field("score", pa.float64())])
    assert read(tmp_path / "notes.csv", data, schema) == ([(2, (1, 0.5))], [])


def test_a_clean_file_is_never_walked_row_by_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_file, "separate", None)
    data = HEADER + b"".join(b'%d,"note, %d",1.5,2024-01-01\r\n' % (n, n) for n in range(40_000))
    result = read(tmp_path / "notes.csv", data)
    assert ids(result) == [(n + 2, n) for n in range(40_000)]


def test_one_bad_row_costs_one_small_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walked: list[int] = []
    original = csv_file.separate

    def counting(block: Any, columns: int) -> Any:
        walked.append(len(block.data))
        return original(block, columns)

    monkeypatch.setattr(csv_file, "separate", counting)
    rows = [b"%d,note,1.5,2024-01-01\n" % n for n in range(40_000)]
    rows[20_000] = b"broken\n"
    result = read(tmp_path / "notes.csv", HEADER + b"".join(rows))
    assert len(result[0]) == 39_999
    assert result[1] == [(20_002, "expected 4 columns, received 1", "broken")]
    assert len(walked) == 1
    assert walked[0] < csv_file.PIECE_BYTES + 100


def test_a_line_break_in_quotes_where_threads_would_share_a_block(tmp_path: Path) -> None:
    """The only newline that Arrow could cut at lies between quotes."""
    row = b"1," + b"a" * 1_000 + b",1,\n"
    count = (csv_file.PARSE_BYTES - 50_000) // len(row)
    note = b"two\n" + b"b" * 100_000
    data = HEADER + row * count + b'2,"' + note + b'",1,\n' + row * 100
    accepted, refused = read(tmp_path / "notes.csv", data)
    assert refused == []
    assert accepted[count] == (count + 2, (2, note.decode(), 1.0, None))
    assert (len(accepted), accepted[-1][0]) == (count + 101, count + 103)


def test_a_quote_that_never_closes_does_not_gather_the_file_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    original = csv_file.separate

    def measuring(block: Any, columns: int) -> Any:
        sizes.append(len(block.data))
        return original(block, columns)

    monkeypatch.setattr(csv_file, "separate", measuring)
    values = (b"n" * 999 + b"\n") * 50 + b'","\n'
    accepted, refused = read(tmp_path / "notes.csv", HEADER + b'0,"open,1,\n' + values * 80)
    assert refused[0] == (2, "quotes do not close", '0,"open,1,')
    assert (accepted, len(refused)) == ([], 1 + 51 * 80)
    assert max(sizes) < 2 * (1 << 20)


@pytest.mark.parametrize("neighbour", [b"2,b,1,\n", b"broken\n"])
def test_a_long_quoted_value_does_not_depend_on_its_neighbours(
    neighbour: bytes, tmp_path: Path
) -> None:
    value = b"x" * 200_000
    accepted, _ = read(tmp_path / "notes.csv", HEADER + b'1,"' + value + b'",1,\n' + neighbour)
    assert accepted[0] == (2, (1, value.decode(), 1.0, None))


HEADERS: dict[str, tuple[bytes, str]] = {
    "empty": (
        b"",
        "A CSV file is empty.\n  where:    {path}\n  expected: a header line\n  received: no text",
    ),
    "blank": (
        b"\n\n",
        "A CSV file is empty.\n  where:    {path}\n  expected: a header line\n  received: no text",
    ),
    "doubled name": (
        b"id,note,id\n1,a,2\n",
        "The columns of a CSV file need names of their own.\n  where:    {path}, line 1\n"
        "  expected: a different name for each column\n  received: id more than once",
    ),
    "no name": (
        b"id,,note\n1,2,3\n",
        "The columns of a CSV file need names of their own.\n  where:    {path}, line 1\n"
        "  expected: a different name for each column\n  received: an empty name",
    ),
    "UTF-16": (
        "id,note\n1,a\n".encode("utf-16"),
        "A CSV file does not begin with a header.\n  where:    {path}, line 1\n"
        "  expected: the names of the columns, in UTF-8, lines ended by LF or CRLF\n"
        "  received: NUL bytes, or lines ended in another way\n"
        "  next:     save the file as UTF-8 text with Unix or Windows line ends",
    ),
    "old Macintosh": (
        b"id,note\r1,a\r",
        "A CSV file does not begin with a header.\n  where:    {path}, line 1\n"
        "  expected: the names of the columns, in UTF-8, lines ended by LF or CRLF\n"
        "  received: NUL bytes, or lines ended in another way\n"
        "  next:     save the file as UTF-8 text with Unix or Windows line ends",
    ),
    "Latin-1": (
        b"id,caf\xe9\n1,a\n",
        "The header of a CSV file cannot be read.\n  where:    {path}, line 1\n"
        "  expected: the names of the columns, in UTF-8\n  received: another encoding\n"
        "  next:     save the file as UTF-8 text",
    ),
    "quotes": (
        b'id,"note\n1,a\n',
        "The header of a CSV file cannot be read.\n  where:    {path}, line 1\n"
        "  expected: the names of the columns, in UTF-8\n  received: unexpected end of data\n"
        "  next:     save the file as UTF-8 text",
    ),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_file_without_a_header_is_an_error(name: str, tmp_path: Path) -> None:
    data, message = HEADERS[name]
    path = tmp_path / "notes.csv"
    path.write_bytes(data)
    with pytest.raises(UsageError) as error:
        read_header(path)
    assert str(error.value) == message.format(path=path)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        read_header(tmp_path / "absent.csv")
    assert str(error.value) == (
        f"A file is missing.\n  where:    {tmp_path / 'absent.csv'}\n  expected: a CSV file"
    )


def test_a_header_alone_gives_no_rows(tmp_path: Path) -> None:
    assert read(tmp_path / "notes.csv", HEADER) == ([], [])


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
BAD_LINES = {
    b"1,b\n": "expected 4 columns, received 2",
    b"1,a,b,c,d\n": "expected 4 columns, received 5",
    b"7,\xff\xfe,1,\n": "not UTF-8",
    b"7,\0,1,\n": "holds a NUL byte",
    b"x,b,1,\n": "column 'id' is not a whole number",
    b"7,b,one,\n": "column 'score' is not a number",
    b"7,b,1,1.1.2024\n": "column 'day' is not a date",
}


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, list[tuple[int, str]], list[tuple[int, str]]]:
    """A file of good and bad rows and blank lines, with what must come out of it."""
    end = draw(st.sampled_from(["\n", "\r\n"]))
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    data, line = HEADER, 2
    good: list[tuple[int, str]] = []
    bad: list[tuple[int, str]] = []
    for kind in draw(st.lists(st.sampled_from(["good", "good", "bad", "blank"]), max_size=25)):
        if kind == "good":
            text = draw(TEXTS)
            buffer = io.StringIO()
            # Python 3.11 leaves a carriage return unquoted where lines end in LF.
            chosen = csv.QUOTE_ALL if "\r" in text else quoting
            csv.writer(buffer, quoting=chosen, lineterminator=end).writerow([line, text, 0.5, ""])
            piece = buffer.getvalue().encode()
            good.append((line, text))
        elif kind == "bad":
            piece = draw(st.sampled_from(sorted(BAD_LINES)))
            bad.append((line, BAD_LINES[piece]))
            piece = piece.replace(b"\n", end.encode())
        else:
            piece = end.encode()
        data += piece
        line += piece.count(b"\n")
    if draw(st.booleans()):
        data = data.removesuffix(b"\n").removesuffix(b"\r")
    return data, good, bad


@settings(max_examples=60)
@given(file=files(), sizes=st.sampled_from([(8 << 20, 1 << 18), (64, 16), (7, 3)]))
def test_what_was_read_is_what_was_accepted_plus_what_was_refused(
    file: tuple[bytes, list[tuple[int, str]], list[tuple[int, str]]],
    sizes: tuple[int, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data, good, bad = file
    monkeypatch.setattr(csv_file, "BLOCK_BYTES", sizes[0])
    monkeypatch.setattr(csv_file, "PIECE_BYTES", sizes[1])
    accepted, refused = read(tmp_path / "notes.csv", data)
    assert [(line, row[1] or "") for line, row in accepted] == good
    assert [(line, reason) for line, reason, _ in refused] == bad


@settings(max_examples=60)
@given(
    body=st.text('1,"\n\r\0xé', max_size=40).map(str.encode)
    | st.lists(st.sampled_from([b'1,"a,1,\n', b'2,"b",1,\n', b'"\n', b"3,c,1,\n"])).map(b"".join),
    size=st.sampled_from([8 << 20, 16, 3]),
)
def test_whatever_the_quotes_every_line_is_in_one_record(
    body: bytes, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_file, "BLOCK_BYTES", size)
    monkeypatch.setattr(csv_file, "PIECE_BYTES", max(size // 4, 2))
    accepted, refused = read(tmp_path / "notes.csv", HEADER + body)
    lines = (body if body.endswith(b"\n") or not body else body + b"\n").split(b"\n")[:-1]
    covered = [
        line for line, _, text in refused for line in range(line, line + 1 + text.count("\n"))
    ]
    for line, row in accepted:
        covered += range(line, line + 1 + (row[1] or "").count("\n"))
    assert sorted(covered) == [
        number for number, line in enumerate(lines, 2) if line not in (b"", b"\r")
    ] or _has_blank_lines_in_quotes(lines, covered)


def _has_blank_lines_in_quotes(lines: list[bytes], covered: list[int]) -> bool:
    """A blank line inside a quoted value belongs to its record; outside it is none."""
    blank = {number for number, line in enumerate(lines, 2) if line in (b"", b"\r")}
    assert len(covered) == len(set(covered))
    return set(covered) | blank == set(range(2, 2 + len(lines)))
