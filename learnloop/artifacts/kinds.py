"""Artifacts that are not rows: statistics, schemas, graphs, models and documents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from learnloop.artifacts.base import Artifact
from learnloop.errors import UsageError, closest

if TYPE_CHECKING:
    import tensorflow_transform as tft
    from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2


class Statistics(Artifact):
    """TensorFlow Data Validation statistics by split."""

    summary = "TFDV statistics by split."
    holds_rows = False

    def write(self, split: str, statistics: statistics_pb2.DatasetFeatureStatisticsList) -> None:
        """Write one split's statistics.

        Args:
            split: The split's name.
            statistics: What TFDV computed.
        """
        self._require_writable()
        self._file(split).write_bytes(statistics.SerializeToString(deterministic=True))
        self.describe(splits=[*self.splits, split])

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits' names, in the order they were written."""
        return tuple(self._metadata.get("splits", ()))

    def load(self, split: str) -> statistics_pb2.DatasetFeatureStatisticsList:
        """Read one split's statistics.

        Args:
            split: The split's name.

        Raises:
            UsageError: There is no such split.
        """
        from tensorflow_metadata.proto.v0 import statistics_pb2

        if split not in self.splits:
            raise UsageError(
                f"There are no statistics of split '{split}'.",
                where=self.path.name,
                expected=closest(split, self.splits),
                received=repr(split),
            )
        statistics = statistics_pb2.DatasetFeatureStatisticsList()
        statistics.ParseFromString(self._file(split).read_bytes())
        return statistics

    def _file(self, split: str) -> Path:
        return self.path / f"{split}.statistics.pb"


class Schema(Artifact):
    """A TensorFlow Metadata schema: the features expected, their types and domains."""

    summary = "A TFMD schema (text)."
    holds_rows = False

    def write(self, schema: schema_pb2.Schema) -> None:
        """Write the schema.

        Args:
            schema: The features, types and domains.
        """
        from google.protobuf import text_format

        self._require_writable()
        self.file.write_text(text_format.MessageToString(schema))

    @property
    def file(self) -> Path:
        """The text-format file, which TensorFlow's own tools read too."""
        return self.path / "schema.pbtxt"

    def load(self) -> schema_pb2.Schema:
        """Read the schema."""
        from google.protobuf import text_format
        from tensorflow_metadata.proto.v0 import schema_pb2

        return text_format.Parse(self.file.read_text(), schema_pb2.Schema())


class TransformGraph(Artifact):
    """A TensorFlow Transform graph: a ``TFTransformOutput`` folder."""

    summary = "A TensorFlow Transform graph."
    holds_rows = False

    def load(self) -> tft.TFTransformOutput:
        """Open it with TensorFlow Transform."""
        import tensorflow_transform as tft

        return tft.TFTransformOutput(str(self.path))


class Model(Artifact):
    """A trained model.

    ``saved_model/`` takes raw features (the transform graph is inside) and is what gets served;
    ``model.keras`` is the Keras model over transformed features; ``training.json`` holds curves and
    parameters.
    """

    summary = "A trained model, with its SavedModel over raw features."
    holds_rows = False

    @property
    def saved_model(self) -> Path:
        """The SavedModel's folder."""
        return self.path / "saved_model"

    @property
    def training(self) -> dict[str, Any]:
        """How it was trained: curves, parameters, signature."""
        document: dict[str, Any] = json.loads((self.path / "training.json").read_text())
        return document

    def load(self) -> Any:
        """Load the SavedModel with plain TensorFlow, as a server would."""
        import tensorflow as tf

        return tf.saved_model.load(str(self.saved_model))


class _Document(Artifact):
    """One JSON document."""

    holds_rows = False

    def write(self, document: Mapping[str, Any]) -> None:
        """Write the document.

        Args:
            document: JSON-able values.
        """
        self._require_writable()
        text = json.dumps(document, indent=1, sort_keys=True, allow_nan=False)
        self.file.write_text(text + "\n")

    @property
    def file(self) -> Path:
        """The JSON file."""
        return self.path / "document.json"

    def load(self) -> dict[str, Any]:
        """Read the document."""
        document: dict[str, Any] = json.loads(self.file.read_text())
        return document


class ValidationReport(_Document):
    """What the data gate found, as JSON and as an HTML page beside it."""

    summary = "What the data gate found (JSON, HTML)."


class Evaluation(_Document):
    """Metrics by split and slice, curves, fairness, comparison with the champion."""

    summary = "Metrics, curves, slices, fairness (JSON)."


class Blessing(_Document):
    """A gate's verdict: ``blessed`` and ``reasons``. Always written."""

    summary = "A gate's verdict with its reasons (JSON)."


class RegisteredModel(_Document):
    """A version in the model registry: ``name``, ``version``, ``run_id``, ``alias``."""

    summary = "A version in the model registry (JSON)."


class PublishedModel(_Document):
    """A version under a serving base path: ``name``, ``version``, ``path``, ``digest``."""

    summary = "A version under a serving base path (JSON)."


class MonitoringReport(_Document):
    """What a monitor saw of a model in service, as JSON and as an HTML page beside it."""

    summary = "What a monitor saw of a model in service (JSON, HTML)."
