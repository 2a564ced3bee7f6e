"""Who may ask a server: bearer tokens, TLS, how far an address reaches, and whose a port is.

Tokens come from the environment, several at once so that one can be replaced while it is in use.
"""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
import os
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from learnloop.errors import UsageError

if TYPE_CHECKING:
    import grpc

SHORTEST_TOKEN = 16
REFUSAL = "A valid bearer token is required."
"""What whoever shows no token is told."""


def read_tokens(variable: str) -> tuple[bytes, ...]:
    """Read bearer tokens, separated by commas, from an environment variable.

    Args:
        variable: Its name.

    Raises:
        UsageError: A token is too short to be a secret.
    """
    tokens = [token.strip() for token in os.environ.get(variable, "").split(",") if token.strip()]
    if any(len(token) < SHORTEST_TOKEN for token in tokens):
        raise UsageError(
            "A bearer token is too short to be a secret.",
            where=f"the environment variable {variable}",
            expected=f"at least {SHORTEST_TOKEN} characters each",
            received=f"{min(map(len, tokens))} characters",
            next=f'export {variable}="$(openssl rand -hex 32)"',
        )
    return tuple(token.encode() for token in tokens)


def shows_token(authorization: str, tokens: Sequence[bytes]) -> bool:
    """Tell whether a header ``Authorization`` shows one of the tokens.

    Args:
        authorization: The header.
        tokens: The tokens.
    """
    scheme, _, shown = authorization.partition(" ")
    given = shown.strip().encode("latin-1", "replace")
    # Every token is compared, each in constant time: the time tells nothing.
    matches = [hmac.compare_digest(given, token) for token in tokens]
    return scheme.lower() == "bearer" and any(matches)


def is_loopback(host: str) -> bool:
    """Tell whether an address or name can be reached from this machine alone.

    Args:
        host: The address or name; of names, ``localhost`` alone is known to.
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextlib.contextmanager
def explain_taken_port(of: str, host: str, port: int, next: str) -> Iterator[None]:
    """Tell in words that a server cannot have its port.

    Args:
        of: Whose port it is.
        host: The address.
        port: The port.
        next: The command that asks for another one.

    Raises:
        UsageError: The ``with`` block, which listens there, cannot.
    """
    try:
        yield
    except OSError as fault:
        raise UsageError(
            f"The port of {of} cannot be had.",
            where=f"{host}:{port}",
            received=fault.strerror or fault,
            next=next,
        ) from None


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

    @classmethod
    def named(
        cls, certificate: Path | None, key: Path | None, client_authority: Path | None = None
    ) -> TlsFiles | None:
        """Put the files together that a command's options name.

        Args:
            certificate: ``--tls-certificate``.
            key: ``--tls-key``.
            client_authority: ``--tls-client-authority``.

        Returns:
            The files; None where none is named.

        Raises:
            UsageError: One is named without the others it needs.
        """
        if certificate is not None and key is not None:
            return cls(certificate, key, client_authority)
        named = {
            "--tls-certificate": certificate,
            "--tls-key": key,
            "--tls-client-authority": client_authority,
        }
        if any(named.values()):
            raise UsageError(
                "TLS needs a certificate and its key.",
                expected="--tls-certificate and --tls-key",
                received=", ".join(option for option, file in named.items() if file is not None),
            )
        return None

    def ssl_context(self) -> ssl.SSLContext:
        """Make what HTTP needs.

        Raises:
            UsageError: A file cannot be read as what it should be.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        expected = "a certificate and its private key"
        try:
            context.load_cert_chain(self.certificate, self.key)
            if self.client_authority is not None:
                expected += " and the authority of clients"
                context.load_verify_locations(self.client_authority)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ssl.SSLError) as fault:
            files = (self.certificate, self.key, self.client_authority)
            raise UsageError(
                "The files of TLS cannot be used.",
                where=", ".join(str(file) for file in files if file is not None),
                expected=f"{expected}, in PEM",
                received=fault.strerror or fault,
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
