"""Vocabularies without Beam: tokens counted, pruned, ordered and written in Arrow.

The rules are those of TensorFlow Transform: most frequent first, equal counts by token, both
descending; reserved tokens ahead; a token that stands for an empty vocabulary, because TensorFlow's
tables cannot be empty.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_PARTS_BEFORE_MERGING = 64


class TokenCounter:
    """Counts tokens, or adds up their weights, over batches.

    Memory grows with the distinct tokens, not with the rows.
    """

    def __init__(self) -> None:
        self._parts: list[pa.Table] = []

    def add(self, values: Sequence[np.ndarray[Any, Any]]) -> None:
        """Add a batch.

        Args:
            values: The tokens [n] (bytes or int64), and their weights [n] where they have some.
        """
        import numpy as np
        import pyarrow as pa

        tokens, *weights = values
        kind = pa.int64() if np.issubdtype(tokens.dtype, np.integer) else pa.large_binary()
        array = pa.array(tokens, kind)
        if weights:
            part = pa.table({"token": array, "count": np.asarray(weights[0], np.float64)})
        else:
            counts = array.value_counts()
            part = pa.table({"token": counts.field("values"), "count": counts.field("counts")})
        self._parts.append(part)
        if len(self._parts) >= _PARTS_BEFORE_MERGING:
            self._parts = [self._merged()]

    def result(self) -> pa.Table:
        """The distinct tokens (``token``) with their counts or summed weights (``count``)."""
        return self._merged()

    def _merged(self) -> pa.Table:
        import pyarrow as pa

        groups = pa.concat_tables(self._parts).group_by("token").aggregate([("count", "sum")])
        return pa.table({"token": groups["token"], "count": groups["count_sum"]})


def prune(
    vocabulary: pa.Table, *, frequency_threshold: float, top_k: int | None, is_text: bool
) -> pa.Table:
    """Keep the tokens that are frequent enough.

    Args:
        vocabulary: Distinct tokens with counts.
        frequency_threshold: The lowest count kept; 0 keeps all.
        top_k: The most tokens kept.
        is_text: Whether the tokens are text; whole numbers become text here.

    Returns:
        The kept tokens, as bytes.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if frequency_threshold > 0:
        vocabulary = vocabulary.filter(pc.greater_equal(vocabulary["count"], frequency_threshold))
    if not is_text:
        tokens = vocabulary["token"].cast(pa.string()).cast(pa.large_binary())
        vocabulary = vocabulary.set_column(0, "token", tokens)
    return vocabulary if top_k is None else _most_frequent_first(vocabulary).slice(0, top_k)


def lines(
    vocabulary: pa.Table,
    *,
    reserved: Sequence[bytes],
    placeholder: tuple[int, bytes],
    shuffle: bool,
    with_counts: bool,
) -> list[bytes]:
    """Order a vocabulary as its file holds it.

    Args:
        vocabulary: Distinct tokens with counts.
        reserved: Tokens that come first, in this order.
        placeholder: Count and token written where there is no token at all.
        shuffle: Order by the SHA-1 of the token in place of its frequency.
        with_counts: Write ``count token`` in place of ``token``.

    Returns:
        A line per token, without line ends.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if len(reserved):
        is_reserved = pc.is_in(vocabulary["token"], pa.array(reserved, pa.large_binary()))
        vocabulary = vocabulary.filter(pc.invert(is_reserved))
    if not shuffle:
        vocabulary = _most_frequent_first(vocabulary)
    tokens: list[bytes] = vocabulary["token"].to_pylist()
    counts: list[Any] = vocabulary["count"].to_pylist()
    if shuffle:
        order = sorted(range(len(tokens)), key=lambda i: hashlib.sha1(tokens[i]).digest())
        tokens, counts = [tokens[i] for i in order], [counts[i] for i in order]
    tokens, counts = [*reserved, *tokens], [-1] * len(reserved) + counts
    if not tokens:
        counts, tokens = [placeholder[0]], [placeholder[1]]
    if not with_counts:
        return tokens
    return [str(count).encode() + b" " + token for count, token in zip(counts, tokens, strict=True)]


def write(vocabulary_lines: Sequence[bytes], path: Path, file_format: str) -> Path:
    """Write a vocabulary file.

    Args:
        vocabulary_lines: From :func:`lines`.
        path: The file, without the suffix of its format.
        file_format: ``text`` or ``tfrecord_gzip``.

    Returns:
        The file written.
    """
    import tensorflow as tf

    path.parent.mkdir(parents=True, exist_ok=True)
    if file_format == "text":
        path.write_bytes(b"".join(line + b"\n" for line in vocabulary_lines))
        return path
    path = path.with_name(path.name + ".tfrecord.gz")
    with tf.io.TFRecordWriter(str(path), "GZIP") as file:
        for line in vocabulary_lines:
            file.write(line)
    return path


def _most_frequent_first(vocabulary: pa.Table) -> pa.Table:
    return vocabulary.sort_by([("count", "descending"), ("token", "descending")])
