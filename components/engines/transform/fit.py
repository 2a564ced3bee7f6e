"""From training rows and a ``preprocessing_fn`` to a transform graph on disk."""

from __future__ import annotations

import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from components.engines.transform import columns
from components.engines.transform.analysis import (
    PreprocessingFunction,
    ReadBatches,
    Trace,
    analyze,
    trace,
)

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2

Engine = Literal["memory", "beam"]

_ONE_AT_A_TIME = threading.Lock()
"""TensorFlow Transform keeps what it traces in a global: parallel branches take turns."""


@dataclass(frozen=True)
class FitReport:
    """How a transform graph was made.

    Args:
        engine: ``memory`` or ``beam``.
        reason: Why Beam was taken; empty for ``memory``.
        used: The raw features that the transformed ones depend on, sorted.
    """

    engine: Engine
    reason: str
    used: tuple[str, ...]


def fit_transform_graph(
    preprocessing_fn: PreprocessingFunction,
    schema: schema_pb2.Schema,
    read_batches: ReadBatches,
    output: Path,
    *,
    engine: Engine = "memory",
) -> FitReport:
    """Analyze training rows and write the transform graph.

    Args:
        preprocessing_fn: The author's TensorFlow Transform function.
        schema: The curated schema of the raw features.
        read_batches: Reads the training rows from the start, as record batches; called once for
            each phase of the analysis.
        output: The folder to write, which ``tft.TFTransformOutput`` opens; the raw schema lies
            beside, in ``metadata/``.
        engine: ``memory`` takes Beam only for an analyzer that it does not claim; ``beam`` always
            takes Beam (its direct runner).

    Returns:
        What was done, and why.

    Raises:
        UsageError: The data lacks a feature, a value does not fit the schema, there are no rows,
            or the function reads an unknown feature.
    """
    specs = columns.feature_specs(schema)
    with _ONE_AT_A_TIME, tempfile.TemporaryDirectory(prefix="transform-") as folder:
        scratch = Path(folder)
        traced = trace(preprocessing_fn, specs, scratch)
        reason = "asked for" if engine == "beam" else traced.unclaimed() or ""
        if reason:
            from components.engines.transform import beam

            beam.fit(traced, schema, read_batches, output, scratch)
        else:
            _write(traced, analyze(traced, read_batches, scratch), output, scratch)
    _write_raw_metadata(schema, output)
    return FitReport("beam" if reason else "memory", reason, tuple(sorted(traced.used)))


def _write(traced: Trace, constants: dict[str, Any], output: Path, scratch: Path) -> None:
    """Write with TensorFlow Transform's own writer, in the layout of its ``WriteTransformFn``."""
    import json
    import shutil

    import tensorflow_transform as tft
    from tensorflow_transform import annotators, impl_helper

    transform_fn = output / tft.TFTransformOutput.TRANSFORM_FN_DIR
    impl_helper.trace_and_write_v2_saved_model(
        str(transform_fn),
        traced.function,
        traced.signature,
        str(scratch),
        traced.fingerprints,
        constants,
        output_keys_to_name_map=None,
        save_options=None,
    )
    metadata = output / tft.TFTransformOutput.TRANSFORMED_METADATA_DIR
    shutil.move(transform_fn / impl_helper.METADATA_DIR_NAME, metadata)
    assets = annotators.get_asset_annotations(traced.graph)
    if assets:
        (metadata / tft.TFTransformOutput.ASSET_MAP).write_text(json.dumps(assets))


def _write_raw_metadata(schema: schema_pb2.Schema, output: Path) -> None:
    import tensorflow_transform as tft
    from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io

    metadata_io.write_metadata(
        dataset_metadata.DatasetMetadata(schema),
        str(output / tft.TFTransformOutput.RAW_METADATA_DIR),
    )
