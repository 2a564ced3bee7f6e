"""Where a server is, and how a client shows who it is."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from learnloop.access import is_loopback
from learnloop.errors import UsageError

TOKEN_VARIABLE = "LEARNLOOP_SERVING_TOKEN"
"""The environment variable with the bearer token."""

_SCHEMES: dict[str, tuple[Literal["rest", "grpc"], bool]] = {
    "http": ("rest", False),
    "https": ("rest", True),
    "grpc": ("grpc", False),
    "grpcs": ("grpc", True),
}


@dataclass(frozen=True)
class Security:
    """Whom a client trusts, and how it shows who it is. The token is in the environment.

    Args:
        authority: PEM of the authorities that may vouch for the server; the system's when None.
        certificate: PEM of the client's own certificate, where the server asks for one.
        key: PEM of the certificate's key, where that is not in the certificate's file.

    Raises:
        UsageError: There is a key and no certificate.
    """

    authority: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        if self.key is not None and self.certificate is None:
            raise UsageError(
                "A key is of no use without its certificate.",
                where=self.key,
                expected="the caller's certificate and its key",
                received="a key alone",
            )

    def ssl_context(self) -> ssl.SSLContext:
        """Make what HTTPS connections are opened with.

        Raises:
            UsageError: A file is not there or not PEM.
        """
        try:
            context = ssl.create_default_context(cafile=self.authority)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except OSError as fault:
            raise _unreadable(self, fault) from None
        return context

    def pem(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """Read authorities, key and certificate, as gRPC takes them.

        Raises:
            UsageError: A file is not there or not PEM.
        """
        self.ssl_context()  # gRPC would only say that it cannot connect
        authority, key, certificate = (
            None if path is None else path.read_bytes()
            for path in (self.authority, self.key or self.certificate, self.certificate)
        )
        return authority, key, certificate


@dataclass(frozen=True)
class Endpoint:
    """One address of a server.

    Args:
        url: As it was given, without what follows the port.
        protocol: ``rest`` or ``grpc``.
        host: Name or address.
        port: The port.
        is_encrypted: Whether TLS is spoken.
    """

    url: str
    protocol: Literal["rest", "grpc"]
    host: str
    port: int
    is_encrypted: bool

    @classmethod
    def parse(cls, url: str) -> Endpoint:
        """Read ``http://host:port``, ``https://…``, ``grpc://…`` or ``grpcs://…``.

        Args:
            url: The address; the port may be left out for https (443), else not.

        Raises:
            UsageError: It is not such an address.

        Example:
            >>> Endpoint.parse("grpcs://models.example:8500").is_encrypted
            True
        """
        try:
            parts = urlsplit(url)
            port = parts.port or (443 if parts.scheme == "https" else None)
        except ValueError:
            parts, port = urlsplit(""), None
        is_plain = not (parts.username or parts.password or parts.query or parts.fragment)
        if parts.scheme not in _SCHEMES or not parts.hostname or not port or not is_plain:
            raise UsageError(
                "This is not the address of a server.",
                where="the client's URL",
                expected="http://, https://, grpc:// or grpcs://host:port",
                received=repr(url) if is_plain else "a URL with a password or a query in it",
            )
        protocol, is_encrypted = _SCHEMES[parts.scheme]
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        address = f"{parts.scheme}://{host}:{port}"
        return cls(address, protocol, parts.hostname, port, is_encrypted)

    @property
    def target(self) -> str:
        """``host:port``, as gRPC takes it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def authorization(self) -> dict[str, str]:
        """The header that carries the token, if the environment has one.

        Raises:
            UsageError: The token would travel in the clear.
        """
        token = os.environ.get(TOKEN_VARIABLE, "")
        if not token:
            return {}
        if not self.is_encrypted and not is_loopback(self.host):
            raise UsageError(
                "A bearer token is not sent in the clear.",
                where=self.url,
                expected="https:// or grpcs://",
                received=f"a token in {TOKEN_VARIABLE} and a connection without TLS",
            )
        return {"authorization": f"Bearer {token}"}


def _unreadable(security: Security, fault: OSError) -> UsageError:
    files = [str(p) for p in (security.authority, security.certificate, security.key) if p]
    return UsageError(
        "The client's TLS files cannot be used.",
        where=", ".join(files),
        expected="readable PEM files",
        received=fault.strerror or fault,
    )
