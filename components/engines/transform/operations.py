"""What TensorFlow Transform's analyzer operations compute, outside Beam.

An analyzer is a small graph of operations. Those that read tensors accumulate over batches
(:func:`accumulator`); the others turn what was accumulated into constants and vocabulary files
(:func:`finish`). Both call TensorFlow Transform's own combiners. What is not listed here is not
claimed (:func:`unclaimed`), and the whole analysis goes to Beam.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from components.engines.transform import vocabularies

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf

_COMBINERS = frozenset(
    {
        "NumPyCombiner",  # min, max, sum, size, count_per_key, histogram
        "WeightedMeanAndVarCombiner",  # mean, var, scale_to_z_score
        "QuantilesCombiner",  # quantiles, bucketize
        "CovarianceCombiner",
        "PCACombiner",
        "_LMomentsCombiner",  # tukey_*, scale_to_gaussian
    }
)


class Accumulator(Protocol):
    """Gathers one analyzer's input over the batches."""

    def add(self, values: Sequence[np.ndarray[Any, Any]]) -> None:
        """Add the values of a batch, one array for each tensor that the analyzer reads."""

    def result(self) -> Any:
        """What was gathered, as the next operation takes it."""


@dataclass(frozen=True)
class Surroundings:
    """What finishing an analyzer needs beside its inputs.

    Args:
        graph: The traced ``preprocessing_fn``.
        vocabulary_folder: Where vocabulary files are written.
    """

    graph: tf.Graph
    vocabulary_folder: Path


def unclaimed(operation: Any) -> str | None:
    """Say why an operation needs Beam.

    Args:
        operation: A TensorFlow Transform ``OperationDef``.

    Returns:
        The reason, or None for an operation that is claimed here.
    """
    name = type(operation).__name__
    if name not in _ACCUMULATORS and name not in _FINISHERS and name != "TensorSource":
        return f"analyzer operation {name}"
    combiner = type(getattr(operation, "combiner", None)).__name__
    if combiner != "NoneType" and combiner not in _COMBINERS:
        return f"combiner {combiner}"
    if name in ("VocabularyAccumulate", "VocabularyMerge"):
        from tensorflow_transform.analyzers import _VocabOrderingType as Ordering

        if operation.vocab_ordering_type not in (Ordering.FREQUENCY, Ordering.WEIGHTED_FREQUENCY):
            return "a vocabulary ordered by mutual information"
    if name == "VocabularyPrune" and operation.key_fn is not None:
        return "a vocabulary with coverage by key"
    return None


def accumulator(operation: Any) -> Accumulator | None:
    """Make the accumulator of an operation that reads tensors.

    Args:
        operation: A claimed ``OperationDef``.

    Returns:
        An empty accumulator, or None for an operation that reads no tensors.
    """
    make = _ACCUMULATORS.get(type(operation).__name__)
    return make(operation) if make else None


def finish(operation: Any, inputs: Sequence[Any], surroundings: Surroundings) -> tuple[Any, ...]:
    """Compute an operation's outputs from its inputs.

    Args:
        operation: A claimed ``OperationDef`` that reads no tensors.
        inputs: The outputs of the operations before it.
        surroundings: The traced graph and the folder for vocabularies.

    Returns:
        The outputs, as many as the operation has.
    """
    return _FINISHERS[type(operation).__name__](operation, inputs, surroundings)


class _Combined:
    """One of TensorFlow Transform's combiners, over all rows."""

    def __init__(self, operation: Any) -> None:
        self._combiner = operation.combiner
        self._gathered = self._combiner.create_accumulator()

    def add(self, values: Sequence[np.ndarray[Any, Any]]) -> None:
        self._gathered = self._combiner.add_input(self._gathered, tuple(values))

    def result(self) -> Any:
        return self._gathered


class _CombinedPerKey:
    """One of TensorFlow Transform's combiners, for each key apart.

    Most analyzers reduce a batch to one row per key inside the graph, so the loop is over keys.
    Quantiles come row by row and are grouped here.
    """

    def __init__(self, operation: Any) -> None:
        self._combiner = operation.combiner
        self._takes_many_rows = type(self._combiner).__name__ == "QuantilesCombiner"
        self._gathered: dict[bytes, Any] = {}

    def add(self, values: Sequence[np.ndarray[Any, Any]]) -> None:
        import numpy as np

        keys, *arguments = values
        if not self._takes_many_rows:
            for row, key in enumerate(keys):
                self._add(key, [argument[row] for argument in arguments])
            return
        distinct, group = np.unique(keys, return_inverse=True)
        order = np.argsort(group, kind="stable")
        ends = np.cumsum(np.bincount(group, minlength=len(distinct)))
        for key, rows in zip(distinct, np.split(order, ends[:-1]), strict=True):
            self._add(key, [argument[rows] for argument in arguments])

    def result(self) -> dict[bytes, Any]:
        return self._gathered

    def _add(self, key: bytes, arguments: list[Any]) -> None:
        if key not in self._gathered:
            self._gathered[key] = self._combiner.create_accumulator()
        self._gathered[key] = self._combiner.add_input(self._gathered[key], arguments)


def _output_of(combiner: Any, gathered: Any) -> Any:
    # Beam merges into a fresh accumulator before it extracts; so do we, to the same rounding.
    merged = combiner.merge_accumulators(
        [combiner.create_accumulator(), combiner.compact(gathered)]
    )
    return combiner.extract_output(merged)


def _merge(operation: Any, inputs: Sequence[Any], _: Surroundings) -> tuple[Any, ...]:
    return (_output_of(operation.combiner, inputs[0]),)


def _extract(_: Any, inputs: Sequence[Any], __: Surroundings) -> tuple[Any, ...]:
    return tuple(inputs[0])


def _merge_per_key(operation: Any, inputs: Sequence[Any], _: Surroundings) -> tuple[Any, ...]:
    outputs = {key: _output_of(operation.combiner, value) for key, value in inputs[0].items()}
    return (dict(sorted(outputs.items())),)


def _format_keys(operation: Any, inputs: Sequence[Any], _: Surroundings) -> tuple[Any, ...]:
    import numpy as np

    (outputs,) = inputs
    kinds = [info.dtype.as_numpy_dtype for info in operation.combiner.output_tensor_infos()]
    columns = zip(*outputs.values(), strict=True) if outputs else [[]] * len(kinds)
    values = [np.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    return (np.array(list(outputs), object), *values)


def _format_large(_: Any, inputs: Sequence[Any], __: Surroundings) -> tuple[Any, ...]:
    import pyarrow as pa

    (outputs,) = inputs
    texts = [",".join(str(value) for value in output) for output in outputs.values()]
    tokens = pa.array(list(outputs), pa.large_binary())
    return (pa.table({"token": tokens, "count": pa.array(texts, pa.string())}),)


def _join_boundaries(_: Any, inputs: Sequence[Any], __: Surroundings) -> tuple[Any, ...]:
    from tensorflow_transform.beam.analyzer_impls import _join_boundary_rows

    return tuple(_join_boundary_rows(inputs[0]))


def _merge_vocabulary(_: Any, inputs: Sequence[Any], __: Surroundings) -> tuple[Any, ...]:
    return (inputs[0],)


def _prune_vocabulary(operation: Any, inputs: Sequence[Any], _: Surroundings) -> tuple[Any, ...]:
    pruned = vocabularies.prune(
        inputs[0],
        frequency_threshold=operation.frequency_threshold or 0,
        top_k=operation.top_k,
        is_text=_is_text(operation),
    )
    return (pruned,)


def _count_vocabulary(_: Any, inputs: Sequence[Any], __: Surroundings) -> tuple[Any, ...]:
    import numpy as np

    # An empty vocabulary is written with a placeholder, so it counts one.
    return (np.int64(max(1, inputs[0].num_rows)),)


def _reserved_tokens(
    operation: Any, _: Sequence[Any], surroundings: Surroundings
) -> tuple[Any, ...]:
    from tensorflow_transform import tf_utils

    tokens = tf_utils.fetch_vocabulary_reserved_tokens(surroundings.graph, operation.name)
    return (list(tokens),)


def _write_vocabulary(
    operation: Any, inputs: Sequence[Any], surroundings: Surroundings
) -> tuple[Any, ...]:
    import numpy as np
    from tensorflow_transform.analyzers import get_empy_vocabulary_dummy_value

    vocabulary, *reserved = inputs
    ordered = vocabularies.lines(
        vocabulary,
        reserved=reserved[0] if reserved else (),
        placeholder=get_empy_vocabulary_dummy_value(operation.input_dtype),
        shuffle=operation.fingerprint_shuffle,
        with_counts=operation.store_frequency,
    )
    path = surroundings.vocabulary_folder / operation.vocab_filename
    return (np.array(str(vocabularies.write(ordered, path, operation.file_format))),)


def _is_text(operation: Any) -> bool:
    import tensorflow as tf

    return bool(tf.dtypes.as_dtype(operation.input_dtype) == tf.string)


def _count_tokens(_: Any) -> vocabularies.TokenCounter:
    return vocabularies.TokenCounter()


_ACCUMULATORS: dict[str, Callable[[Any], Accumulator]] = {
    "CacheableCombineAccumulate": _Combined,
    "CacheableCombinePerKeyAccumulate": _CombinedPerKey,
    "VocabularyAccumulate": _count_tokens,
}

_FINISHERS: dict[str, Callable[[Any, Sequence[Any], Surroundings], tuple[Any, ...]]] = {
    "CacheableCombineMerge": _merge,
    "ExtractCombineMergeOutputs": _extract,
    "CacheableCombinePerKeyMerge": _merge_per_key,
    "CacheableCombinePerKeyFormatKeys": _format_keys,
    "CacheableCombinePerKeyFormatLarge": _format_large,
    "ScaleAndFlattenPerKeyBucketBouandaries": _join_boundaries,
    "VocabularyMerge": _merge_vocabulary,
    "VocabularyPrune": _prune_vocabulary,
    "VocabularyCount": _count_vocabulary,
    "ExtractVocabularyReservedTokens": _reserved_tokens,
    "VocabularyOrderAndWrite": _write_vocabulary,
}
