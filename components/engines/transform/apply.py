"""A transform graph applied to record batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from components.engines.transform import columns
from components.engines.transform.batching import rebatch
from components.engines.transform.serving_layer import ServingTransform, serving_transform

if TYPE_CHECKING:
    import pyarrow as pa


def transformed_schema(transform_graph: Path) -> pa.Schema:
    """Describe the transformed features as Arrow columns, without loading the graph.

    Args:
        transform_graph: A folder written by ``fit_transform_graph``.

    Returns:
        The columns of :func:`transform_batches`, in their order.
    """
    import tensorflow_transform as tft

    output = tft.TFTransformOutput(str(transform_graph))
    return columns.arrow_schema(columns.feature_specs(output.transformed_metadata.schema))


@dataclass(frozen=True)
class Transformer:
    """A transform graph, loaded once for any number of streams of rows.

    Args:
        schema: The transformed columns.
        transform: The loaded graph, over all its outputs.
    """

    schema: pa.Schema
    transform: ServingTransform

    @classmethod
    def load(cls, transform_graph: Path) -> Self:
        """Load a graph.

        Args:
            transform_graph: A folder written by ``fit_transform_graph``.

        Returns:
            The transformer.
        """
        schema = transformed_schema(transform_graph)
        return cls(schema, serving_transform(transform_graph, schema.names))

    def __call__(self, batches: Iterable[pa.RecordBatch], where: str) -> Iterator[pa.RecordBatch]:
        """Transform rows, streaming.

        Args:
            batches: Raw rows, as record batches of one schema.
            where: What the rows are, for messages.

        Yields:
            Transformed rows in the same order.

        Raises:
            UsageError: The data lacks a feature, or a value does not fit the raw schema.
        """
        is_checked = False
        for batch in rebatch(batches):
            if not is_checked:
                columns.require_columns(batch.schema.names, self.transform.raw, where)
                is_checked = True
            tensors = columns.to_tensors(batch, self.transform.raw, self.transform.raw)
            yield columns.to_batch(self.transform.apply(tensors), self.schema)


def transform_batches(
    transform_graph: Path, batches: Iterable[pa.RecordBatch], where: str = "the data to transform"
) -> Iterator[pa.RecordBatch]:
    """Transform one stream of rows.

    Args:
        transform_graph: A folder written by ``fit_transform_graph``.
        batches: Raw rows, as record batches of one schema.
        where: What the rows are, for messages.

    Returns:
        Transformed rows in the same order, of :func:`transformed_schema`.

    Raises:
        UsageError: The data lacks a feature, or a value does not fit the raw schema.
    """
    return Transformer.load(transform_graph)(batches, where)
