"""Questions over TensorFlow Serving's REST API.

Values travel by column: it is the shorter of the two formats, and the faster to read. Encoding and
decoding know no connection; :class:`RestSender` and :class:`AsyncRestSender` know little else.
"""

from __future__ import annotations

import base64
import email.utils
import json
import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from learnloop.errors import UsageError
from serving.client.endpoint import Endpoint, Security
from serving.client.errors import OVER_HTTP
from serving.client.question import Answer, Failure, Question, Signatures, Statuses
from serving.server.contract import Code, Signature, TensorSpec, VersionState, VersionStatus

if TYPE_CHECKING:
    import httpx

DT_STRING = 7
_DTYPES = {
    "DT_FLOAT": 1,
    "DT_DOUBLE": 2,
    "DT_INT32": 3,
    "DT_UINT8": 4,
    "DT_INT16": 5,
    "DT_INT8": 6,
    "DT_STRING": DT_STRING,
    "DT_COMPLEX64": 8,
    "DT_INT64": 9,
    "DT_BOOL": 10,
    "DT_UINT16": 17,
    "DT_COMPLEX128": 18,
    "DT_HALF": 19,
    "DT_UINT32": 22,
    "DT_UINT64": 23,
}
"""``tensorflow.DataType`` by name, as the metadata names types."""


def path_of(question: Question) -> str:
    """Name the resource that a question is asked of."""
    path = f"/v1/models/{quote(question.model, safe='')}"
    if question.version is not None:
        path += f"/versions/{question.version}"
    elif question.label:
        path += f"/labels/{quote(question.label, safe='')}"
    endings = {"status": "", "metadata": "/metadata"}
    return path + endings.get(question.operation, f":{question.operation}")


def body_of(question: Question) -> bytes | None:
    """Write a question's body; None where it is all in the path.

    Raises:
        UsageError: A value is neither a number, a text nor bytes.
    """
    if question.operation in ("status", "metadata"):
        return None
    document: dict[str, Any] = {}
    if question.signature:
        document["signature_name"] = question.signature
    if question.operation == "predict":
        document["inputs"] = question.columns
    else:
        document["examples"] = list(question.examples)
    try:
        return json.dumps(document, default=_plain, separators=(",", ":")).encode()
    except TypeError as fault:
        raise UsageError(
            "A value cannot be sent to a model.",
            where=f"a question to {question.model}",
            expected="numbers, texts, bytes, or sequences or arrays of them",
            received=str(fault),
        ) from None


def answer_of(
    question: Question, status: int, headers: Mapping[str, str], body: bytes
) -> Answer | Failure:
    """Read what the server sent.

    Args:
        question: What was asked.
        status: The HTTP status.
        headers: The answer's headers, by any case.
        body: Its body.
    """
    try:
        document = json.loads(body)
        if status == 200:
            return Answer(_READERS[question.operation](question, document))
        message = str(document["error"])
    except (ValueError, KeyError, TypeError, AttributeError):
        if status == 200:
            return Failure(Code.INTERNAL, "the answer is none that TensorFlow Serving gives")
        message = f"HTTP status {status}"
    retry_after = _seconds(headers.get("retry-after", ""))
    return Failure(OVER_HTTP.get(status, Code.INTERNAL), message, retry_after)


class _Sender:
    """What both senders share: how an exchange is opened, and what its faults mean."""

    def __init__(self, endpoint: Endpoint, security: Security) -> None:
        self._endpoint = endpoint
        self._options: dict[str, Any] = {
            "base_url": endpoint.url,
            # A proxy or a password from this machine's environment has no business here.
            "trust_env": False,
            "verify": security.ssl_context() if endpoint.is_encrypted else False,
        }

    def _request(self, question: Question, seconds: float) -> dict[str, Any]:
        body = body_of(question)
        headers = {**(question.headers or {}), **self._endpoint.authorization()}
        if body is not None:
            headers["content-type"] = "application/json"
        headers["grpc-timeout"] = _timeout(seconds)
        return {
            "method": "GET" if body is None else "POST",
            "url": path_of(question),
            "content": body,
            "headers": headers,
            "timeout": seconds,
        }


class RestSender(_Sender):
    """Sends questions over kept connections; safe for threads."""

    def __init__(self, endpoint: Endpoint, security: Security) -> None:
        import httpx

        super().__init__(endpoint, security)
        self._client = httpx.Client(**self._options)

    def send(self, question: Question, seconds: float) -> Answer | Failure:
        """Send a question once.

        Args:
            question: The question.
            seconds: How long it may take.
        """
        import httpx

        until = time.monotonic() + seconds
        try:
            with self._client.stream(**self._request(question, seconds)) as response:
                parts = []
                for part in response.iter_bytes():
                    parts.append(part)
                    if time.monotonic() > until:
                        return _too_late(seconds)
                return answer_of(question, response.status_code, response.headers, b"".join(parts))
        except httpx.TransportError as fault:
            return _failure_of(fault, seconds)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class AsyncRestSender(_Sender):
    """Sends questions over kept connections, on an event loop."""

    def __init__(self, endpoint: Endpoint, security: Security) -> None:
        import httpx

        super().__init__(endpoint, security)
        self._client = httpx.AsyncClient(**self._options)

    async def send(self, question: Question, seconds: float) -> Answer | Failure:
        """Send a question once.

        Args:
            question: The question.
            seconds: How long it may take.
        """
        import asyncio

        import httpx

        try:
            async with asyncio.timeout(seconds):
                response = await self._client.request(**self._request(question, seconds))
                return answer_of(question, response.status_code, response.headers, response.content)
        except TimeoutError:
            return _too_late(seconds)
        except httpx.TransportError as fault:
            return _failure_of(fault, seconds)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _timeout(seconds: float) -> str:
    """Tell the server how long the answer is waited for, in gRPC's notation.

    Rounded up to two digits: a server keeps the heads that it has read, and so finds this one.
    """
    milliseconds = max(1, math.ceil(seconds * 1000))
    unit = 10 ** max(0, len(str(milliseconds)) - 2)
    return f"{math.ceil(milliseconds / unit) * unit}m"


def _too_late(seconds: float) -> Failure:
    return Failure(Code.DEADLINE_EXCEEDED, f"no answer within {seconds:.3g} s")


def _failure_of(fault: httpx.TransportError, seconds: float) -> Failure:
    import httpx

    if isinstance(fault, httpx.TimeoutException):
        return _too_late(seconds)
    text = str(fault) or type(fault).__name__
    return Failure(Code.UNAVAILABLE, text, is_unreachable=isinstance(fault, httpx.ConnectError))


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a value of type {type(value).__name__}")


def _seconds(retry_after: str) -> float | None:
    """Read ``Retry-After``: seconds or a date."""
    if not retry_after:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        until = email.utils.parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(0.0, until.timestamp() - time.time())


def _outputs(question: Question, document: dict[str, Any]) -> dict[str, list[Any]]:
    """Read ``outputs``, which TensorFlow Serving unwraps where there is one only."""
    assert question.specification is not None
    specs = question.specification.outputs
    found = document["outputs"]
    if len(specs) == 1:
        found = {next(iter(specs)): found}
    return {
        name: _decoded(values) if specs[name].dtype == DT_STRING else values
        for name, values in found.items()
    }


def _decoded(values: Any) -> Any:
    if isinstance(values, list):
        return [_decoded(value) for value in values]
    return base64.b64decode(values["b64"]) if isinstance(values, dict) else values


def _classes(question: Question, document: dict[str, Any]) -> list[dict[str, float]]:
    return [{name: float(score) for name, score in row} for row in document["results"]]


def _numbers(question: Question, document: dict[str, Any]) -> list[float]:
    return [float(value) for value in document["results"]]


def _statuses(question: Question, document: dict[str, Any]) -> Statuses:
    return [
        VersionStatus(
            int(entry["version"]),
            VersionState[entry["state"]],
            _code(entry["status"]["error_code"]),
            entry["status"]["error_message"],
        )
        for entry in document["model_version_status"]
    ]


def _code(name: str) -> int:
    return 0 if name == "OK" else int(Code[name])


def _signatures(question: Question, document: dict[str, Any]) -> Signatures:
    found = document["metadata"]["signature_def"]["signature_def"]
    return {
        name: Signature(
            signature["method_name"],
            {key: _spec(tensor) for key, tensor in signature["inputs"].items()},
            {key: _spec(tensor) for key, tensor in signature["outputs"].items()},
            {},
        )
        for name, signature in found.items()
    }


def _spec(tensor: dict[str, Any]) -> TensorSpec:
    shape = tensor["tensor_shape"]
    sizes = None if shape["unknown_rank"] else tuple(int(size["size"]) for size in shape["dim"])
    return TensorSpec(tensor["name"], _DTYPES.get(tensor["dtype"], 0), sizes)


_READERS = {
    "predict": _outputs,
    "classify": _classes,
    "regress": _numbers,
    "status": _statuses,
    "metadata": _signatures,
}
