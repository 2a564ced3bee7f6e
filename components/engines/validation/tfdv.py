"""TensorFlow Data Validation, imported without the note on notebooks it prints to stderr."""

from __future__ import annotations

import contextlib
import io
from types import ModuleType


def load() -> ModuleType:
    """Import TFDV (a few seconds the first time).

    Returns:
        The module ``tensorflow_data_validation``.
    """
    with contextlib.redirect_stderr(io.StringIO()):
        import tensorflow_data_validation
    module: ModuleType = tensorflow_data_validation
    return module
