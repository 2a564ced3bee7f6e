"""Why a text is not JSON, in RapidJSON's words and at its offset: TensorFlow Serving reads with it.

Only texts that were already refused come here. The reader below keeps no values: it walks to the
first byte that RapidJSON would stumble over. It keeps its own stack, so no depth can exhaust
Python's.
"""

from __future__ import annotations

import re

_BOM = b"\xef\xbb\xbf"
_SPACE = re.compile(rb"[ \n\r\t]*")
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')
_DIGITS = re.compile(rb"[0-9]*")
_WORDS = {ord("n"): b"null", ord("t"): b"true", ord("f"): b"false"}
_ESCAPES = frozenset(b'"\\/bfnrt')

EMPTY = "The document is empty."
NOT_SINGULAR = "The document root must not be followed by other values."
INVALID = "Invalid value."
MISS_NAME = "Missing a name for object member."
MISS_COLON = "Missing a colon after a name of object member."
MISS_COMMA_OR_BRACE = "Missing a comma or } after an object member."
MISS_COMMA_OR_BRACKET = "Missing a comma or ] after an array element."
BAD_HEX = "Incorrect hex digit after \\u escape in string."
BAD_SURROGATE = "The surrogate pair in string is invalid."
BAD_ESCAPE = "Invalid escape character in string."
MISS_QUOTE = "Missing a closing quotation mark in string."
BAD_ENCODING = "Invalid encoding in string."
TOO_BIG = "Number too big to be stored in double."
MISS_FRACTION = "Miss fraction part in number."
MISS_EXPONENT = "Miss exponent in number."


class _Stumble(Exception):
    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset


def why_not_json(text: bytes) -> tuple[str, int] | None:
    """Find the first error.

    Args:
        text: A text, in UTF-8.

    Returns:
        The reason and the offset in bytes; None where RapidJSON would find nothing wrong.
    """
    try:
        _walk(text)
    except _Stumble as stumble:
        return stumble.reason, stumble.offset
    return None


def _walk(text: bytes) -> None:
    at = _skip(text, len(_BOM) if text.startswith(_BOM) else 0)
    if at == len(text):
        raise _Stumble(EMPTY, at)
    closers: list[int] = []
    at = _begin(text, at, closers)
    while closers:
        at = _skip(text, at)
        byte = text[at : at + 1]
        if byte == b",":
            at = _skip(text, at + 1)
            at = _member(text, at) if closers[-1] == ord("}") else at
            at = _begin(text, at, closers)
        elif byte and byte[0] == closers[-1]:
            closers.pop()
            at += 1
        else:
            in_object = closers[-1] == ord("}")
            raise _Stumble(MISS_COMMA_OR_BRACE if in_object else MISS_COMMA_OR_BRACKET, at)
    at = _skip(text, at)
    if at < len(text):
        raise _Stumble(NOT_SINGULAR, at)


def _begin(text: bytes, at: int, closers: list[int]) -> int:
    """Read a scalar, or go in to the first scalar or empty container of what begins here."""
    while True:
        byte = text[at] if at < len(text) else 0
        if byte == ord("{"):
            at = _skip(text, at + 1)
            if text[at : at + 1] == b"}":
                return at + 1
            at = _member(text, at)
            closers.append(ord("}"))
        elif byte == ord("["):
            at = _skip(text, at + 1)
            if text[at : at + 1] == b"]":
                return at + 1
            closers.append(ord("]"))
        elif byte == ord('"'):
            return _string(text, at)
        elif byte in _WORDS:
            return _word(text, at, _WORDS[byte])
        else:
            return _number(text, at)


def _member(text: bytes, at: int) -> int:
    if text[at : at + 1] != b'"':
        raise _Stumble(MISS_NAME, at)
    at = _skip(text, _string(text, at))
    if text[at : at + 1] != b":":
        raise _Stumble(MISS_COLON, at)
    return _skip(text, at + 1)


def _word(text: bytes, at: int, word: bytes) -> int:
    for index, letter in enumerate(word):
        if text[at + index : at + index + 1] != bytes([letter]):
            raise _Stumble(INVALID, at + index)
    return at + len(word)


def _number(text: bytes, start: int) -> int:
    at = start + (text[start : start + 1] == b"-")
    if text[at : at + 1] == b"N":
        return _word(text, at, b"NaN")
    if text[at : at + 1] == b"I":
        at = _word(text, at, b"Inf")
        return _word(text, at, b"inity") if text[at : at + 1] == b"i" else at
    digits = _DIGITS.match(text, at)
    assert digits is not None
    if not digits[0]:
        raise _Stumble(INVALID, at)
    at = at + 1 if digits[0].startswith(b"0") else digits.end()
    at = _part(text, at, (b".",), MISS_FRACTION)
    if text[at : at + 1] in (b"e", b"E") and text[at + 1 : at + 2] in (b"+", b"-"):
        at = _part(text, at + 1, (b"+", b"-"), MISS_EXPONENT)
    else:
        at = _part(text, at, (b"e", b"E"), MISS_EXPONENT)
    if float(text[start:at]) in (float("inf"), float("-inf")):
        raise _Stumble(TOO_BIG, start)
    return at


def _part(text: bytes, at: int, marks: tuple[bytes, ...], reason: str) -> int:
    if text[at : at + 1] not in marks:
        return at
    digits = _DIGITS.match(text, at + 1)
    assert digits is not None
    if not digits[0]:
        raise _Stumble(reason, at + 1)
    return digits.end()


def _string(text: bytes, at: int) -> int:
    at += 1
    while True:
        plain = _PLAIN.match(text, at)
        assert plain is not None
        at = plain.end()
        byte = text[at : at + 1]
        if byte == b'"':
            return at + 1
        if byte == b"\\":
            at = _escape(text, at)
        else:
            raise _Stumble(MISS_QUOTE if byte in (b"", b"\0") else BAD_ENCODING, at)


def _escape(text: bytes, at: int) -> int:
    kind = text[at + 1 : at + 2]
    if kind and kind[0] in _ESCAPES:
        return at + 2
    if kind != b"u":
        raise _Stumble(BAD_ESCAPE, at)
    first = _hex(text, at + 2, at)
    if not 0xD800 <= first <= 0xDFFF:
        return at + 6
    if first >= 0xDC00 or text[at + 6 : at + 8] != b"\\u":
        raise _Stumble(BAD_SURROGATE, at)
    if not 0xDC00 <= _hex(text, at + 8, at) <= 0xDFFF:
        raise _Stumble(BAD_SURROGATE, at)
    return at + 12


def _hex(text: bytes, at: int, escape: int) -> int:
    digits = text[at : at + 4]
    if not re.fullmatch(rb"[0-9A-Fa-f]{4}", digits):
        raise _Stumble(BAD_HEX, escape)
    return int(digits, 16)


def _skip(text: bytes, at: int) -> int:
    space = _SPACE.match(text, at)
    assert space is not None
    return space.end()
