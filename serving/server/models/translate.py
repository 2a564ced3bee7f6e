"""Translates signatures of a SavedModel to TFLite and ONNX, by TensorFlow's own means and tf2onnx.

``python -m serving.server.models.translate FOLDER TARGET SIGNATURE…`` writes ``SIGNATURE.tflite``
and ``SIGNATURE.onnx`` where that succeeds, and why not into ``reasons.json``. Whether they answer
as the original does is judged elsewhere (:mod:`.prepare`).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from serving.server.models.executions import ONNX, TFLITE

_OPSET = "17"


def translate(folder: Path, target: Path, names: Sequence[str]) -> None:
    """Translate signatures.

    Args:
        folder: The SavedModel.
        target: Where the files go.
        names: The signatures.
    """
    translators: dict[str, Callable[[Path, str, Path], None]] = {TFLITE: _to_tflite, ONNX: _to_onnx}
    reasons = {}
    for execution, translator in translators.items():
        for name in names:
            file = target / f"{name}.{execution}"
            incoming = file.with_name(f".{file.name}")
            try:
                translator(folder, name, incoming)
                incoming.rename(file)
            except (Exception, SystemExit) as fault:
                line = str(fault).strip().partition("\n")[0]
                reasons[file.name] = f"it cannot be translated: {type(fault).__name__}: {line}"
            (target / "reasons.json").write_text(json.dumps(reasons))


def _to_tflite(folder: Path, name: str, file: Path) -> None:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=[name])
    file.write_bytes(converter.convert())


def _to_onnx(folder: Path, name: str, file: Path) -> None:
    from tf2onnx import convert

    _teach_onnx()
    sys.argv = [
        "tf2onnx",
        *("--saved-model", str(folder)),
        *("--signature_def", name),
        *("--tag", "serve"),
        *("--opset", _OPSET),
        *("--output", str(file)),
    ]
    convert.main()


def _teach_onnx() -> None:
    """Teach tf2onnx the operations of our transforms that it does not know."""
    import numpy as np
    from tf2onnx.handler import tf_op

    class Log1p:
        """The logarithm of one more; ONNX has none."""

        @classmethod
        def version_7(cls, ctx: Any, node: Any, **kwargs: Any) -> None:
            numpy_type = {1: np.float32, 11: np.float64}[ctx.get_dtype(node.input[0])]
            one = ctx.make_const(f"{node.name}_one", np.array(1, numpy_type))
            shapes, dtypes = node.output_shapes, node.output_dtypes
            more = ctx.make_node("Add", [node.input[0], one.output[0]])
            ctx.remove_node(node.name)
            ctx.make_node(
                "Log",
                more.output,
                name=node.name,
                outputs=node.output,
                shapes=shapes,
                dtypes=dtypes,
            )

    tf_op("Log1p")(Log1p)


if __name__ == "__main__":
    translate(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
