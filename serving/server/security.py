"""Who may ask the models: the bearer tokens of both protocols.

They guard all but health, which load balancers ask without one.
"""

from __future__ import annotations

from learnloop.access import REFUSAL, read_tokens, shows_token
from serving.server.contract import Code, ServingError

TOKENS_VARIABLE = "LEARNLOOP_SERVING_TOKENS"


class Tokens:
    """The bearer tokens that are let in.

    Args:
        tokens: The tokens; without any, everybody is let in.
    """

    def __init__(self, *tokens: bytes) -> None:
        self._tokens = tokens

    @classmethod
    def from_environment(cls) -> Tokens:
        """Read ``LEARNLOOP_SERVING_TOKENS``, separated by commas.

        Raises:
            UsageError: A token is too short to be a secret.
        """
        return cls(*read_tokens(TOKENS_VARIABLE))

    def __bool__(self) -> bool:
        return bool(self._tokens)

    def check(self, authorization: str) -> None:
        """Let a caller in or not.

        Args:
            authorization: The header or metadata of this name.

        Raises:
            ServingError: ``UNAUTHENTICATED``.
        """
        if not shows_token(authorization, self._tokens):
            raise ServingError(Code.UNAUTHENTICATED, REFUSAL)
