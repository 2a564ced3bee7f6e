"""Who may ask a server."""

from __future__ import annotations

import socket
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import trustme

from learnloop.access import (
    TlsFiles,
    explain_taken_port,
    is_loopback,
    read_tokens,
    shows_token,
)
from learnloop.errors import UsageError

VARIABLE = "LEARNLOOP_SOME_TOKENS"
FIRST, SECOND = b"first-token-of-some-length", b"second-token-of-some-length"


def test_tokens_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_tokens(VARIABLE) == ()
    monkeypatch.setenv(VARIABLE, f" {FIRST.decode()}, {SECOND.decode()} ,")
    assert read_tokens(VARIABLE) == (FIRST, SECOND)
    monkeypatch.setenv(VARIABLE, f"{FIRST.decode()},short")
    with pytest.raises(UsageError) as refused:
        read_tokens(VARIABLE)
    assert str(refused.value) == (
        "A bearer token is too short to be a secret.\n"
        "  where:    the environment variable LEARNLOOP_SOME_TOKENS\n"
        "  expected: at least 16 characters each\n"
        "  received: 5 characters\n"
        '  next:     export LEARNLOOP_SOME_TOKENS="$(openssl rand -hex 32)"'
    )


@pytest.mark.parametrize(
    ("authorization", "is_shown"),
    [
        ("Bearer first-token-of-some-length", True),
        ("bearer  second-token-of-some-length ", True),
        ("", False),
        ("Bearer", False),
        ("Bearer ", False),
        ("Bearer first-token-of-some-lengt", False),
        ("Bearer first-token-of-some-lengthx", False),
        ("Basic first-token-of-some-length", False),
        ("first-token-of-some-length", False),
        ("Bearer \xff", False),
        ("Bearer \u20ac", False),
    ],
)
def test_a_token_is_shown(authorization: str, is_shown: bool) -> None:
    assert shows_token(authorization, (FIRST, SECOND)) is is_shown
    assert not shows_token(authorization, ())


@pytest.mark.parametrize(
    ("host", "is_near"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("models.example", False),
        ("", False),
    ],
)
def test_how_far_an_address_reaches(host: str, is_near: bool) -> None:
    assert is_loopback(host) is is_near


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with (
            pytest.raises(UsageError) as refused,
            explain_taken_port("the metrics", "127.0.0.1", port, next="take another"),
        ):
            HTTPServer(("127.0.0.1", port), BaseHTTPRequestHandler)
    assert str(refused.value) == (
        "The port of the metrics cannot be had.\n"
        f"  where:    127.0.0.1:{port}\n"
        "  received: Address already in use\n"
        "  next:     take another"
    )


def test_tls_needs_both_files() -> None:
    certificate, key, authority = Path("a.pem"), Path("a.key"), Path("ca.pem")
    assert TlsFiles.named(None, None) is None
    assert TlsFiles.named(certificate, key) == TlsFiles(certificate, key)
    assert TlsFiles.named(certificate, key, authority) == TlsFiles(certificate, key, authority)
    with pytest.raises(UsageError) as refused:
        TlsFiles.named(certificate, None, authority)
    assert str(refused.value) == (
        "TLS needs a certificate and its key.\n"
        "  expected: --tls-certificate and --tls-key\n"
        "  received: --tls-certificate, --tls-client-authority"
    )


def test_files_that_are_not_there(tmp_path: Path) -> None:
    files = TlsFiles(tmp_path / "tls.crt", tmp_path / "tls.key")
    with pytest.raises(UsageError) as refused:
        files.ssl_context()
    assert str(refused.value) == (
        "The files of TLS cannot be used.\n"
        f"  where:    {tmp_path}/tls.crt, {tmp_path}/tls.key\n"
        "  expected: a certificate and its private key, in PEM\n"
        "  received: No such file or directory"
    )


def test_files_that_are_no_certificates(tmp_path: Path) -> None:
    issued = trustme.CA().issue_cert("localhost")
    both = tmp_path / "both.pem"
    issued.private_key_and_cert_chain_pem.write_to_path(str(both))
    (tmp_path / "none.pem").write_text("nothing")
    with pytest.raises(UsageError) as refused:
        TlsFiles(both, both, tmp_path / "none.pem").ssl_context()
    assert refused.value.where == f"{both}, {both}, {tmp_path}/none.pem"
    assert refused.value.expected == (
        "a certificate and its private key and the authority of clients, in PEM"
    )
    with pytest.raises(UsageError, match=r"The files of TLS cannot be used\."):
        TlsFiles(tmp_path / "none.pem", both).ssl_context()
