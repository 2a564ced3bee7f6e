"""TensorFlow Transform without Beam where its analyzers allow, with Beam where they do not.

An author's ``preprocessing_fn`` is analyzed over the training rows (:func:`fit_transform_graph`)
and becomes a folder that ``tft.TFTransformOutput`` opens; :func:`transform_batches` applies it to
record batches, and :func:`serving_transform` inside an exported model, so that training and serving
cannot differ. Record batches in, record batches or a folder out: no artifact or runner here.

The engine in memory calls TensorFlow Transform's own tracing, combiners and writers and replaces
only Beam's part, the moving of values between them. It leans on inner parts of TensorFlow Transform
1.16; each analyzer that it claims is tested for equality with Beam.
"""

from components.engines.transform.apply import Transformer, transform_batches, transformed_schema
from components.engines.transform.digest import digest_transform_graph
from components.engines.transform.fit import FitReport, fit_transform_graph
from components.engines.transform.serving_layer import ServingTransform, serving_transform

__all__ = [
    "FitReport",
    "ServingTransform",
    "Transformer",
    "digest_transform_graph",
    "fit_transform_graph",
    "serving_transform",
    "transform_batches",
    "transformed_schema",
]
