"""``learnloop predict``, typed as a person types it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from learnloop.access import TlsFiles
from learnloop.cli.main import main
from serving.server.app import ServerOptions
from tests.servers import free_port
from tests.serving.client.scripted import Scripted, rest_server, rpc_server
from tests.serving.server.memory import serving
from tests.serving.server.test_security import Authority


@pytest.fixture(params=["rest", "grpc"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "rest":
        with rest_server(Scripted()) as server:
            yield server.url
    else:
        with rpc_server(Scripted()) as address:
            yield address


def typed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Type a command; give exit code, standard output and standard error."""
    code = 0
    try:
        main(["predict", *words])
    except SystemExit as ended:
        code = int(ended.code or 0)
    told = capsys.readouterr()
    return code, told.out, told.err


def test_rows_and_a_file(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rows.json"
    file.write_text('[{"x": 2}, {"x": 3.5}]')
    words = ["double", "--url", url, "--row", '{"x": 1}', "--file", str(file), "--version", "1"]
    assert typed(capsys, *words) == (0, "y\n2.0\n4.0\n7.0\n", "")
    code, printed, _ = typed(capsys, *words, "--json")
    assert code == 0
    told = json.loads(printed)
    assert told.pop("version") == 1
    assert told == {"model": "double", "label": None, "outputs": {"y": [2.0, 4.0, 7.0]}}


def test_several_outputs_of_a_label(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["double", "--url", url, "--row", '{"x": 1, "who": "Ada"}', "--label", "canary"]
    assert typed(capsys, *words, "--signature", "both") == (0, 'y\tname\n2.5\t"Ada"\n', "")


def test_an_unknown_column(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["double", "--url", url, "--version", "1", "--row", '{"whom": "Ada"}']
    assert typed(capsys, *words) == (
        2,
        "",
        "double has no input 'whom'.\n"
        "  where:    signature 'serving_default' of double version 1\n"
        "  expected: did you mean 'who'?\n"
        "  received: 'whom'\n",
    )


def test_no_server_there(capsys: pytest.CaptureFixture[str]) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    words = ["double", "--url", address, "--row", '{"x": 1}']
    assert typed(capsys, *words) == (
        3,
        "",
        f"No server answers at {address}.\n"
        f"  where:    metadata of double at {address}\n"
        "  expected: an answer\n"
        "  received: UNAVAILABLE: [Errno 111] Connection refused, after 5 attempts\n"
        "  next:     start a server: learnloop serve\n",
    )


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that this machine does not know."""
    return Authority(tmp_path_factory.mktemp("school"))


@pytest.fixture(scope="module")
def encrypted(school: Authority) -> Iterator[dict[str, str]]:
    """A server with TLS that asks who asks; its addresses by scheme."""
    files = TlsFiles(school.files.certificate, school.files.key, school.root)
    options = ServerOptions(host="localhost", rest_port=0, grpc_port=0, tls=files, drain_seconds=5)
    with serving(options) as server:
        ports = {"https": server.ports.rest, "grpcs": server.ports.grpc}
        yield {scheme: f"{scheme}://localhost:{port}" for scheme, port in ports.items()}


@pytest.mark.parametrize("scheme", ["https", "grpcs"])
@pytest.mark.parametrize("is_one_file", [False, True])
def test_an_authority_of_ones_own(
    scheme: str,
    is_one_file: bool,
    school: Authority,
    encrypted: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["half", "--row", '{"x": 1}', "--url", encrypted[scheme], "--ca", str(school.root)]
    shown = ["--certificate", str(school.both)]
    if not is_one_file:
        shown = ["--certificate", str(school.files.certificate), "--key", str(school.files.key)]
    assert typed(capsys, *words, *shown) == (0, "y\n2.5\n", "")


@pytest.mark.parametrize("scheme", ["https", "grpcs"])
@pytest.mark.parametrize("is_trusted", [False, True])
def test_who_is_not_trusted_or_does_not_show_who_asks(
    scheme: str,
    is_trusted: bool,
    school: Authority,
    encrypted: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["half", "--row", '{"x": 1}', "--url", encrypted[scheme], "--timeout", "1"]
    words += ["--ca", str(school.root)] if is_trusted else ["--certificate", str(school.both)]
    code, printed, said = typed(capsys, *words)
    assert (code, printed) == (3, "")
    assert "received: UNAVAILABLE: " in said
    assert ("CERTIFICATE_VERIFY_FAILED" in said) is not is_trusted


@pytest.mark.parametrize("scheme", ["https", "grpcs"])
def test_files_that_are_no_certificates(
    scheme: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.pem").write_text("no certificate")
    words = ["half", "--row", '{"x": 1}', "--url", f"{scheme}://localhost:1"]
    for name, why in (
        ("notes.pem", "[X509: NO_CERTIFICATE_OR_CRL_FOUND] no certificate or crl found (_ssl.c:"),
        ("gone.pem", "No such file or directory\n"),
    ):
        code, printed, said = typed(capsys, *words, "--ca", str(tmp_path / name))
        assert (code, printed) == (2, "")
        assert said.startswith(
            "The client's TLS files cannot be used.\n"
            f"  where:    {tmp_path / name}\n"
            "  expected: readable PEM files\n"
            f"  received: {why}"
        )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            [],
            "There is no row to ask about.\n"
            "  where:    learnloop predict\n"
            "  expected: --row with a JSON object, --file or --learner\n"
            "  next:     learnloop predict --help\n",
        ),
        (
            ["--row", "{x: 1}"],
            "The rows are not JSON.\n"
            "  where:    --row 1\n"
            '  expected: a JSON object, as {"clicks": 12}\n'
            "  received: Expecting property name enclosed in double quotes: line 1 column 2 "
            "(char 1)\n",
        ),
        (
            ["--row", "[1]"],
            "A row is an object with a value by column.\n"
            "  where:    --row 1\n"
            '  expected: an object, as {"clicks": 12}\n'
            "  received: a JSON list\n",
        ),
        (
            ["--file", "nowhere.json"],
            "The file of rows cannot be read.\n"
            "  where:    nowhere.json\n"
            "  expected: a JSON file\n"
            "  received: No such file or directory\n",
        ),
        (
            ["--row", '{"x": 1}', "--grpc", "--url", "http://127.0.0.1:1"],
            "This is no address for gRPC.\n"
            "  where:    --url\n"
            "  expected: grpc://host:port or grpcs://host:port\n"
            "  received: http://127.0.0.1:1\n",
        ),
        (
            ["--row", '{"x": 1}', "--ca", "school.pem", "--certificate", "me.pem"],
            "Files of TLS are of no use without TLS.\n"
            "  where:    --ca, --certificate\n"
            "  expected: --url https://host:port or grpcs://host:port\n"
            "  received: http://127.0.0.1:8501\n",
        ),
        (
            ["--row", '{"x": 1}', "--url", "https://localhost:1", "--key", "me.key"],
            "A key is of no use without its certificate.\n"
            "  where:    me.key\n"
            "  expected: the caller's certificate and its key\n"
            "  received: a key alone\n",
        ),
    ],
)
def test_what_cannot_be_asked(
    words: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert typed(capsys, "double", *words) == (2, "", said)
