"""What a path asks for, by the two patterns of TensorFlow Serving's ``http_rest_api_util.cc``.

The patterns ignore case; the verb and ``metadata`` are compared with case afterwards, so
``:PREDICT`` is a malformed request and ``/METADATA`` asks for the status, there as here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from serving.server.contract import Code, ServingError

PREFIX = "/v1/"
Verb = Literal["predict", "classify", "regress", "status", "metadata"]
"""What can be asked of a model, as TensorFlow Serving's metrics label it."""

_ASK = re.compile(
    r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?:(classify|regress|predict)",
    re.IGNORECASE | re.ASCII,
)
_STATUS = re.compile(
    r"/v1/models(?:/([^/:]+))?(?:/versions/(\d+)|/labels/([^/:]+))?(?:/(metadata))?",
    re.IGNORECASE | re.ASCII,
)
_LARGEST_VERSION = 2**63 - 1
_VERBS: Mapping[str, Verb] = {
    "classify": "classify",
    "regress": "regress",
    "predict": "predict",
}


@dataclass(frozen=True)
class Route:
    """A question to a model.

    Args:
        verb: The question.
        model: The model's name.
        version: The version asked for; None for the newest or the label's.
        label: The label asked for.
    """

    verb: Verb
    model: str
    version: int | None = None
    label: str | None = None


def route_of(method: str, path: str) -> Route:
    """Read a path below ``/v1/``.

    Args:
        method: The HTTP method.
        path: The path with its query: a query makes every request malformed.

    Raises:
        ServingError: ``INVALID_ARGUMENT``: the path asks for nothing.
    """
    malformed = ServingError(Code.INVALID_ARGUMENT, f"Malformed request: {method} {path}")
    if method == "POST":
        match = _ASK.fullmatch(path)
        if match is None or match[4] not in _VERBS:
            raise malformed
        return Route(_VERBS[match[4]], unquote(match[1]), _version(match[2]), _label(match[3]))
    match = _STATUS.fullmatch(path) if method == "GET" else None
    if match is None:
        raise malformed
    version, label = _version(match[2]), _label(match[3])
    if not match[1]:
        raise ServingError(Code.INVALID_ARGUMENT, "Missing model name in request.")
    verb: Verb = "metadata" if match[4] == "metadata" else "status"
    return Route(verb, unquote(match[1]), version, label)


def _version(digits: str | None) -> int | None:
    if not digits:
        return None
    # Python refuses to read thousands of digits.
    if len(digits.lstrip("0")) > 19 or int(digits) > _LARGEST_VERSION:
        raise ServingError(
            Code.INVALID_ARGUMENT, f"Failed to convert version: {digits} to numeric."
        )
    return int(digits)


def _label(text: str | None) -> str | None:
    return unquote(text) if text else None
