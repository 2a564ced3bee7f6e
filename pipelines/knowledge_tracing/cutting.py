"""From whole sequences to windows that a network learns from and is judged by.

A window is a row as a caller of the served model sends it: the history (`skills`, `responses`), as
of its end, and the skill asked next. It has one step more than its history; the label `correct` has
one value for each step. A sequence longer than `longest` is cut into windows that overlap: the
first `carried` steps of a later window are context, which the window before has predicted. The
label is -1 there, and outside of training also at the first response of a sequence, which nothing
precedes: every other response is predicted exactly once. The split is decided for whole sequences,
before any is cut, so that no window crosses it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipelines.knowledge_tracing.columns import AS_OF, LEARNER
from pipelines.knowledge_tracing.repeated import Pairs, is_repeated
from pipelines.knowledge_tracing.sequences import Integers, lengths_of, starts_of, steps_of

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Layout:
    """How sequences are cut.

    Attributes:
        longest: Steps of a window, the skill asked next included: how far back a prediction looks
            at most.
        carried: Steps of context that a later window of a sequence begins with.
        first_predicted: The first step of a sequence that has a label.
    """

    longest: int = 200
    carried: int = 100
    first_predicted: int = 1


def windows_schema() -> pa.Schema:
    """The columns of the examples.

    ``learner`` says where the window comes from: the file and the number of its sequence, which
    names nobody. ``as_of`` is the number of responses before the one asked, in seconds since 1970:
    the files tell the order of responses, not their times. ``skills`` and ``responses`` (lists of
    equal length) and ``next_skill`` are what serving takes. The lists ``correct``, the label (-1
    where nothing is predicted), and ``repeated``, 1 where a response repeats the row before because
    the answer was stored once for each skill tag, have a value for each skill and the next one.
    """
    import pyarrow as pa

    numbers = pa.list_(pa.int64())
    return pa.schema(
        {
            LEARNER: pa.string(),
            AS_OF: pa.timestamp("us", "UTC"),
            "skills": pa.list_(pa.string()),
            "responses": numbers,
            "next_skill": pa.string(),
            "correct": numbers,
            "repeated": numbers,
        }
    )


def cut_windows(
    sequences: pa.RecordBatch, layout: Layout = Layout(), pairs: Pairs = frozenset()
) -> pa.RecordBatch:
    """Cut whole sequences into windows; those of length 1 yield none.

    Args:
        sequences: Rows of the ingested table.
        layout: How to cut.
        pairs: What :func:`repeated_pairs` found.

    Returns:
        Rows of :func:`windows_schema`, in the order of the sequences.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    lengths = lengths_of(sequences)
    stride = layout.longest - layout.carried
    later = np.maximum(0, -(-(lengths - layout.longest) // stride))
    counts = np.where(lengths < 2, 0, 1 + later)
    row, number = np.repeat(np.arange(len(lengths)), counts), steps_of(counts)
    start = number * stride
    steps = np.minimum(start + layout.longest, lengths[row]) - start
    position = steps_of(steps)
    token = np.repeat(starts_of(lengths)[row] + start, steps) + position
    first = np.repeat(np.where(number == 0, layout.first_predicted, layout.carried), steps)
    is_last = position == np.repeat(steps - 1, steps)
    history, after = pa.array(token[~is_last]), pa.array(token[is_last])
    skills = sequences.column("skills").flatten()
    responses = sequences.column("responses").flatten()
    correct = np.where(position >= first, responses.to_numpy()[token], -1)
    repeated = is_repeated(skills, lengths, pairs)[token]
    names = pc.binary_join_element_wise(
        sequences.column("partition"), sequences.column("sequence").cast(pa.string()), "/"
    )
    columns = [
        names.take(pa.array(row)),
        pa.array((start + steps - 1) * 1_000_000).cast(pa.timestamp("us", "UTC")),
        _lists(skills.take(history), steps - 1),
        _lists(responses.take(history), steps - 1),
        skills.take(after),
        _lists(pa.array(correct), steps),
        _lists(pa.array(repeated), steps),
    ]
    return pa.record_batch(columns, schema=windows_schema())


def _lists(values: pa.Array, lengths: Integers) -> pa.Array:
    import pyarrow as pa

    offsets = np.append(starts_of(lengths), len(values)).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)
