"""Which blocks Arrow may parse whole."""

from __future__ import annotations

import pytest

from components.engines.readers.csv_records import LONGEST_LINE, is_plain

PLAIN = [
    b"1,a\n2,b\n",
    b"1,a\r\n2,b\r\n",
    b'"1","a, b"\n',
    b'1,"say ""no"""\n',
    b'1,""\n"","",\n',
    b"1,caf\xc3\xa9\n",
    b"1," + b"a" * (LONGEST_LINE - 3) + b"\n",
]
ODD = [
    b"1,a\0\n",
    b'1,"a\nb"\n',
    b'1,"a\n2,b\n',
    b'1,"a"b\n',
    b'1,a"b"\n',
    b'1,5" pipe\n',
    b'1,""a"\n2,""b"\n',
    b'1,"a\n2,"b\n',
    b"1," + b"a" * LONGEST_LINE + b"\n",
]


@pytest.mark.parametrize("data", PLAIN, ids=lambda data: repr(data[:12]))
def test_well_formed_lines_are_plain(data: bytes) -> None:
    assert is_plain(data)


@pytest.mark.parametrize("data", ODD, ids=lambda data: repr(data[:12]))
def test_whatever_is_odd_is_not_plain(data: bytes) -> None:
    assert not is_plain(data)
