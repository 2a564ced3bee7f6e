"""Who may ask: bearer tokens and TLS.

Tokens come from the environment, several at once so that one can be replaced while it is in use.
They guard both protocols but for health, which load balancers ask without one.
"""

from __future__ import annotations

import hmac
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from learnloop.errors import UsageError
from serving.server.contract import Code, ServingError

if TYPE_CHECKING:
    import grpc

TOKENS_VARIABLE = "LEARNLOOP_SERVING_TOKENS"
_SCHEME = "bearer "
_SHORTEST = 16


class Tokens:
    """The bearer tokens that are let in.

    Args:
        tokens: The tokens; without any, everybody is let in.
    """

    def __init__(self, *tokens: str) -> None:
        self._tokens = tuple(token.encode() for token in tokens)

    @classmethod
    def from_environment(cls) -> Tokens:
        """Read ``LEARNLOOP_SERVING_TOKENS``, separated by commas.

        Raises:
            UsageError: A token is too short to be a secret.
        """
        tokens = [t.strip() for t in os.environ.get(TOKENS_VARIABLE, "").split(",") if t.strip()]
        if any(len(token) < _SHORTEST for token in tokens):
            raise UsageError(
                "A bearer token is too short to be a secret.",
                where=TOKENS_VARIABLE,
                expected=f"at least {_SHORTEST} characters each",
                received=f"{min(map(len, tokens))} characters",
                next=f'export {TOKENS_VARIABLE}="$(openssl rand -hex 32)"',
            )
        return cls(*tokens)

    def __bool__(self) -> bool:
        return bool(self._tokens)

    def check(self, authorization: str) -> None:
        """Let a caller in or not.

        Args:
            authorization: The header or metadata of this name.

        Raises:
            ServingError: ``UNAUTHENTICATED``.
        """
        token = authorization[len(_SCHEME) :].strip().encode("latin-1", "replace")
        is_bearer = authorization[: len(_SCHEME)].lower() == _SCHEME
        # Every token is compared, each in constant time: the time tells nothing.
        matches = [hmac.compare_digest(token, known) for known in self._tokens]
        if not (is_bearer and any(matches)):
            raise ServingError(Code.UNAUTHENTICATED, "A valid bearer token is required.")


@dataclass(frozen=True)
class TlsFiles:
    """The files of TLS, in PEM.

    Args:
        certificate: The server's certificate and its chain.
        key: Its private key.
        client_authority: Callers need a certificate signed by one of these (mTLS); None where they
            need none.
    """

    certificate: Path
    key: Path
    client_authority: Path | None = None

    def ssl_context(self) -> ssl.SSLContext:
        """Make what REST needs.

        Raises:
            UsageError: A file cannot be read as what it should be.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self.certificate, self.key)
            if self.client_authority is not None:
                context.load_verify_locations(self.client_authority)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ssl.SSLError) as fault:
            raise UsageError(
                "The files of TLS cannot be used.",
                where=", ".join(
                    str(file)
                    for file in (self.certificate, self.key, self.client_authority)
                    if file is not None
                ),
                expected="a certificate, its private key and the authority of clients, in PEM",
                received=fault,
            ) from None
        return context

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """Make what gRPC needs; :meth:`ssl_context` has checked the files."""
        import grpc

        authority = self.client_authority
        return grpc.ssl_server_credentials(
            [(self.key.read_bytes(), self.certificate.read_bytes())],
            root_certificates=None if authority is None else authority.read_bytes(),
            require_client_auth=authority is not None,
        )
