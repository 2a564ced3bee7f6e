"""Messages to columns: a whole block at once, and the few that are no events told apart.

A block is parsed by Arrow's JSON reader. Where that fails, the block is halved until the poison
stands alone, so that one bad message among a hundred thousand costs a second parse and no more.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute
from pyarrow import json as json_reader

from messaging.events.schema import AT_PATTERN, KINDS, MOMENT, VERSION, explain, message_schema

_BLOCK_BYTES = 1 << 24


@dataclass(frozen=True)
class Parsed:
    """What a block of messages holds.

    Args:
        events: The events, every field of any kind, ``at`` as a moment.
        positions: Place in the block of each event, rising.
        refused: Reason by place in the block, for what is no event.
    """

    events: pa.Table
    positions: NDArray[np.int64]
    refused: dict[int, str]


def parse_events(values: Sequence[bytes]) -> Parsed:
    """Parse messages.

    Args:
        values: The messages' bodies.

    Returns:
        Every message is either among the events or refused with a reason.
    """
    tables: list[pa.Table] = []
    positions: list[NDArray[np.int64]] = []
    refused: dict[int, str] = {}
    waiting = [(0, len(values))] if values else []
    while waiting:
        first, last = waiting.pop()
        block = values[first:last]
        table = _read(block)
        if table is None:
            if last - first > 1:
                middle = (first + last) // 2
                waiting += [(middle, last), (first, middle)]
                continue
            reason = explain(block[0])
            # An event over several lines is one all the same.
            table = None if reason else _read([json.dumps(json.loads(block[0])).encode()])
            if table is None:
                refused[first] = reason or "A field's value is out of its range."
                continue
        is_event = _is_event(table)
        for place in np.flatnonzero(~is_event):
            refused[first + int(place)] = (
                explain(block[place]) or "A field's value is out of its range."
            )
        tables.append(table.filter(pa.array(is_event)))
        positions.append(first + np.flatnonzero(is_event))
    empty = message_schema().set(2, pa.field("at", MOMENT)).empty_table()
    return Parsed(
        pa.concat_tables([empty, *tables]),
        np.concatenate([np.empty(0, np.int64), *positions]),
        dict(sorted(refused.items())),
    )


def _read(block: Sequence[bytes]) -> pa.Table | None:
    """Read a block, a row per message; None if any of them is malformed."""
    body = b"\n".join(block)
    # A line feed inside a message would shift all rows behind it.
    if body.count(b"\n") != len(block) - 1 or not all(block):
        return None
    schema = message_schema()
    try:
        body.decode()
        table = json_reader.read_json(
            pa.BufferReader(body),
            read_options=json_reader.ReadOptions(block_size=max(_BLOCK_BYTES, len(body) + 1)),
            parse_options=json_reader.ParseOptions(
                explicit_schema=schema, unexpected_field_behavior="ignore"
            ),
        )
        if table.num_rows != len(block):
            return None
        is_moment = compute.match_substring_regex(table["at"], AT_PATTERN)
        moments = compute.if_else(is_moment, table["at"], None).cast(MOMENT)
    except (UnicodeDecodeError, pa.ArrowInvalid):
        return None
    return table.set_column(table.schema.get_field_index("at"), "at", moments)


def _is_event(table: pa.Table) -> NDArray[np.bool_]:
    """Tell which rows keep every rule that the types do not."""
    fits = [
        compute.equal(table["version"], VERSION),
        compute.greater_equal(table["sequence"], 1),
        compute.is_valid(table["at"]),
        compute.greater(compute.binary_length(table["source"]), 0),
        compute.greater(compute.binary_length(table["learner"]), 0),
    ]
    fits_kind = None
    for name, kind in KINDS.items():
        rules = [compute.equal(table["kind"], name)]
        rules += [compute.is_valid(table[field]) for field in kind.required]
        rules += _ranges(name, table)
        fits_one = _all(rules)
        fits_kind = fits_one if fits_kind is None else compute.or_(fits_kind, fits_one)
    kept: NDArray[np.bool_] = _all([*fits, fits_kind]).to_numpy()
    return kept


def _ranges(kind: str, table: pa.Table) -> list[pa.ChunkedArray]:
    if kind == "assessment":
        score = table["score"]
        return [compute.greater_equal(score, 0.0), compute.less_equal(score, 100.0)]
    if kind == "click":
        return [compute.greater_equal(table["clicks"], 1)]
    if kind == "enrolment":
        return [compute.is_in(table["action"], pa.array(["enrolled", "withdrawn"]))]
    return []


def _all(rules: list[pa.ChunkedArray]) -> pa.ChunkedArray:
    combined = rules[0]
    for rule in rules[1:]:
        combined = compute.and_kleene(combined, rule)
    return compute.fill_null(combined, False)
