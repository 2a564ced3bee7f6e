"""The analysis by TensorFlow Transform on Beam, for what the engine in memory does not claim.

The rows are spooled into an Arrow file that Beam's workers map into memory: only indexes of batches
travel through the pipeline. Passing the batches themselves would pickle and compress them, and a
slice would take its whole parent along.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.engines.transform.analysis import ReadBatches, Trace, training_tensors

if TYPE_CHECKING:
    import pyarrow as pa
    from tensorflow_metadata.proto.v0 import schema_pb2


def fit(
    traced: Trace,
    schema: schema_pb2.Schema,
    read_batches: ReadBatches,
    output: Path,
    scratch: Path,
) -> None:
    """Analyze rows on Beam's direct runner and write the transform graph.

    Args:
        traced: The traced function.
        schema: The curated schema of the raw features.
        read_batches: Reads the training rows.
        output: The folder to write.
        scratch: A folder for the spooled rows and Beam's temporary files.

    Raises:
        UsageError: The data lacks a feature, or a value does not fit the schema.
    """
    import apache_beam as beam
    import tensorflow_transform.beam as tft_beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from tfx_bsl.tfxio import tensor_adapter, tensor_representation_util, tensor_to_arrow

    converter = tensor_to_arrow.TensorsToRecordBatchConverter(traced.signature)
    spool = scratch / "rows.arrow"
    count = _spool(traced, read_batches, converter, spool)
    representations = tensor_representation_util.InferTensorRepresentationsFromMixedSchema(schema)
    config = tensor_adapter.TensorAdapterConfig(converter.arrow_schema(), representations)
    # Without options of its own, Beam would read this process's command line.
    options = PipelineOptions(flags=[])
    with (
        _without_fanout(),
        beam.Pipeline(runner="DirectRunner", options=options) as pipeline,
        tft_beam.Context(temp_dir=str(scratch)),
    ):
        rows = (
            pipeline
            | "Indexes" >> beam.Create(range(count))
            | "Rows" >> beam.Map(functools.partial(_read, str(spool)))
        )
        graph = (rows, config) | tft_beam.AnalyzeDataset(traced.function)
        graph | tft_beam.WriteTransformFn(str(output))


@contextlib.contextmanager
def _without_fanout() -> Iterator[None]:
    """Build combiners without fan-out, which spreads one sum over many machines.

    On one machine it gains nothing, and with it Beam 2.72's direct runner never gets past the
    second phase of an analysis: it holds back the flattened parts until the rows are read for the
    last time ("watermark-pending bundles did not execute"; apache/beam issue 26190).
    """
    import apache_beam as beam

    original = beam.CombineGlobally.with_fanout
    beam.CombineGlobally.with_fanout = lambda self, fanout: self
    try:
        yield
    finally:
        beam.CombineGlobally.with_fanout = original


def _spool(traced: Trace, read_batches: ReadBatches, converter: Any, path: Path) -> int:
    """Write the rows in the columns that Beam's reader takes; returns the number of batches."""
    import pyarrow as pa

    count = 0
    with pa.ipc.new_file(str(path), converter.arrow_schema()) as file:
        for tensors in training_tensors(traced, read_batches):
            file.write_batch(converter.convert(tensors))
            count += 1
    return count


def _read(path: str, index: int) -> pa.RecordBatch:
    import pyarrow as pa

    with pa.memory_map(path) as file:
        return pa.ipc.open_file(file).get_batch(index)
