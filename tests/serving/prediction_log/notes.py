"""Answers to log, as a server would tell of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from feature_store.pseudonyms import Keyring, PseudonymKey
from serving.client import pseudonym

KEY = PseudonymKey("2026", b"k" * 32)
ADA, BOB = (pseudonym(name, Keyring((KEY,))) for name in ("ada", "bob"))


def answered(
    number: float = 0.0, metadata: Mapping[str, str] = {}, **changes: Any
) -> dict[str, Any]:
    """One request with one row, whose feature ``x`` is the number and whose score is half of it."""
    return {
        "model": "outcome",
        "version": 1,
        "label": None,
        "signature": "serving_default",
        "inputs": {"x": np.array([number]), "course": np.array([b"algebra"], object)},
        "outputs": {"probability": np.array([number / 2], np.float32)},
        "metadata": metadata,
        "seconds": 0.001,
        **changes,
    }
