from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from components.engines.transform import vocabularies

PLACEHOLDER = (1, b"nothing")
TOKENS = st.lists(st.sampled_from([b"", b"a", b"b", b"ab", "ü".encode(), b"\xff"]))


def count(batches: list[list[bytes]]) -> pa.Table:
    counter = vocabularies.TokenCounter()
    for batch in batches:
        counter.add([np.array(batch, object)])
    return counter.result()


def lines(vocabulary: pa.Table, *, reserved: tuple[bytes, ...] = ()) -> list[bytes]:
    return vocabularies.lines(
        vocabulary, reserved=reserved, placeholder=PLACEHOLDER, shuffle=False, with_counts=True
    )


@given(batches=st.lists(TOKENS, min_size=1, max_size=100), top_k=st.none() | st.integers(0, 4))
def test_most_frequent_first_then_by_token_descending(
    batches: list[list[bytes]], top_k: int | None
) -> None:
    expected = sorted(
        ((number, token) for token, number in Counter(itertools.chain(*batches)).items()),
        reverse=True,
    )[:top_k]

    pruned = vocabularies.prune(count(batches), frequency_threshold=0, top_k=top_k, is_text=True)

    assert lines(pruned) == [b"%d %s" % pair for pair in expected or [PLACEHOLDER]]


def test_rare_tokens_are_left_out() -> None:
    vocabulary = count([[b"a", b"b", b"b"], [b"c", b"c", b"c"]])

    pruned = vocabularies.prune(vocabulary, frequency_threshold=2, top_k=None, is_text=True)

    assert lines(pruned) == [b"3 c", b"2 b"]


def test_weights_are_added_up() -> None:
    counter = vocabularies.TokenCounter()
    counter.add([np.array([b"a", b"b"], object), np.array([1.5, 1.0], np.float32)])
    counter.add([np.array([b"b"], object), np.array([2.0], np.float32)])

    assert lines(counter.result()) == [b"3.0 b", b"1.5 a"]


def test_whole_numbers_become_text_and_are_ordered_as_text() -> None:
    counter = vocabularies.TokenCounter()
    counter.add([np.array([9, 10, -3], np.int64)])

    pruned = vocabularies.prune(counter.result(), frequency_threshold=0, top_k=None, is_text=False)

    assert lines(pruned) == [b"1 9", b"1 10", b"1 -3"]


def test_reserved_tokens_come_first_and_once() -> None:
    vocabulary = count([[b"a", b"b", b"b"]])

    assert lines(vocabulary, reserved=(b"pad", b"b")) == [b"-1 pad", b"-1 b", b"1 a"]


def test_a_vocabulary_is_written_as_text_or_compressed(tmp_path: Path) -> None:
    text = vocabularies.write([b"a", b"two words"], tmp_path / "v", "text")
    records = vocabularies.write([b"a", b"b"], tmp_path / "w", "tfrecord_gzip")

    assert text.read_bytes() == b"a\ntwo words\n"
    assert records == tmp_path / "w.tfrecord.gz"
    dataset = tf.data.TFRecordDataset(str(records), compression_type="GZIP")
    assert list(dataset.as_numpy_iterator()) == [b"a", b"b"]
