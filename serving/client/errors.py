"""What a consumer sees when a question was not answered: one error, with the canonical code."""

from __future__ import annotations

from learnloop.errors import LearnLoopError
from serving.server.contract import Code

OVER_HTTP = {
    400: Code.INVALID_ARGUMENT,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    409: Code.ALREADY_EXISTS,
    413: Code.RESOURCE_EXHAUSTED,
    429: Code.RESOURCE_EXHAUSTED,
    499: Code.CANCELLED,
    501: Code.UNIMPLEMENTED,
    502: Code.UNAVAILABLE,
    503: Code.UNAVAILABLE,
    504: Code.DEADLINE_EXCEEDED,
}
"""Canonical codes by HTTP status; any other failure is INTERNAL."""


class PredictionError(LearnLoopError):
    """A question that was not answered.

    Args:
        what: What happened, in the server's words where it had any.
        code: The canonical code.
        attempts: How often the question was sent.
        where: The server and model.
        expected: What would have been answered.
        received: What was found instead.
        next: What to do or type next.
    """

    def __init__(
        self,
        what: str,
        *,
        code: Code,
        attempts: int = 1,
        where: object = "",
        expected: object = "",
        received: object = "",
        next: str = "",
    ) -> None:
        super().__init__(what, where=where, expected=expected, received=received, next=next)
        self.code = code
        self.attempts = attempts
