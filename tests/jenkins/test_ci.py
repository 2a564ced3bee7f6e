"""``ci.Jenkinsfile``: packages are built, published to a real index once, and installed from it."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from learnloop import __version__
from tests import servers
from tests.jenkins.jenkins import ROOT, Agent, Build

pytestmark = pytest.mark.xdist_group("delivery")

PASSWORD = "a-password/that@nobody:may%20read"
PARTS = ("components", "feature_store", "learnloop", "messaging", "privacy", "serving", "simulator")
TAG, WHEEL = f"v{__version__}", f"learnloop-{__version__}-py3-none-any.whl"
BUILT = ["SHA256SUMS", WHEEL, f"learnloop-{__version__}.tar.gz"]
FILES = ("LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.py")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A package index that wants a password, for reading too: its URL and its folder."""
    folder = tmp_path_factory.mktemp("index")
    port = servers.free_port()
    (folder / "packages").mkdir()
    (folder / "index.py").write_text(
        "import os, sys\n"
        "from wsgiref.simple_server import make_server\n"
        "import pypiserver\n"
        "app = pypiserver.app(\n"
        "    roots=['packages'], disable_fallback=True,\n"
        "    authenticate=['update', 'list', 'download'],\n"
        "    auther=lambda *given: given == ('jenkins', os.environ['INDEX_PASSWORD']),\n"
        ")\n"
        "make_server('127.0.0.1', int(sys.argv[1]), app).serve_forever()\n"
    )
    with servers.running(
        [sys.executable, "index.py", str(port)],
        port,
        folder / "index.log",
        environment={"INDEX_PASSWORD": PASSWORD},
    ):
        yield f"http://127.0.0.1:{port}", folder / "packages"


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory, index: tuple[str, Path]) -> Agent:
    """A checkout, with a CI that does nothing, because these tests are part of the real one."""
    folder = tmp_path_factory.mktemp("checkout")
    for part in PARTS:
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / part, folder / part, ignore=ignored)
    for file in (*FILES, "requirements.in", "requirements.lock"):
        shutil.copy(ROOT / file, folder)
    (folder / ".ci").mkdir()
    (folder / ".ci" / "run").write_text('#!/bin/sh\necho "CI, with reports in $REPORTS"\n')
    (folder / ".ci" / "run").chmod(0o755)
    url, _ = index
    return Agent(
        folder,
        {"TWINE_REPOSITORY_URL": f"{url}/", "PACKAGE_INDEX_URL": f"{url}/simple/"},
        {"package-repository": {"username": "jenkins", "password": PASSWORD}},
    )


@pytest.fixture(scope="module")
def change(agent: Agent) -> Build:
    """A build of a branch."""
    build = agent.start("ci")
    assert build.result == "SUCCESS", build.printed
    return build


@pytest.fixture(scope="module")
def tagged(agent: Agent, change: Build, index: tuple[str, Path]) -> Build:
    """A build of a tag."""
    assert list(index[1].iterdir()) == [], "a branch publishes nothing"
    build = agent.start("ci", tag=TAG)
    assert build.result == "SUCCESS", build.printed
    return build


def test_a_change_is_tested_and_packaged(agent: Agent, change: Build) -> None:
    assert change.stages == ["Check and test", "Package", "Publish", "Publish is skipped"]
    assert "CI, with reports in reports" in change.lines
    assert sorted(path.name for path in (agent.folder / "dist").iterdir()) == BUILT
    archived = [line for line in change.lines if line.startswith("archived")]
    assert archived == [f"archived {name}" for name in BUILT]


def test_a_tag_is_published_and_can_be_installed(
    agent: Agent, change: Build, tagged: Build, index: tuple[str, Path], tmp_path: Path
) -> None:
    url, packages = index
    assert f"{WHEEL}: OK" in tagged.lines, "what the index gives is what was built"
    assert {path.name for path in packages.iterdir()} == {*BUILT} - {"SHA256SUMS"}
    assert PASSWORD not in change.printed + tagged.printed
    target = tmp_path / "installed"
    login = f"jenkins:{quote(PASSWORD, safe='')}@"
    index_url = f"{url}/simple/".replace("://", f"://{login}")
    words = ["-q", "--no-deps", "--target", str(target), "--index-url", index_url]
    installed = agent.type([sys.executable, "-m", "pip", "install", *words, "learnloop"])
    assert installed.returncode == 0, installed.stderr
    asked = agent.type([str(target / "bin" / "learnloop"), "--help"], {"PYTHONPATH": str(target)})
    assert re.search(r"^  serving +Publish versions of models", asked.stdout, re.MULTILINE), asked
    where = "import learnloop; print(learnloop.__file__)"
    found = agent.type([sys.executable, "-P", "-c", where], {"PYTHONPATH": str(target)})
    assert Path(found.stdout.strip()).is_relative_to(target)


def test_a_version_is_published_once(agent: Agent, tagged: Build, index: tuple[str, Path]) -> None:
    def held() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in index[1].iterdir()}

    before = held()

    def publish(tag: str, **more: str) -> tuple[int, str]:
        login = {"TWINE_USERNAME": "jenkins", "TWINE_PASSWORD": PASSWORD}
        done = agent.type(["jenkins/steps/publish.sh", tag], login | more)
        return done.returncode, done.stdout + done.stderr

    assert publish(TAG) == (
        1,
        f"learnloop {__version__} is published already, and is never replaced.\n"
        "  next:     raise __version__ in learnloop/__init__.py, and tag that\n",
    )
    assert publish("v9.9.9") == (
        2,
        "The tag v9.9.9 is not the version of the package.\n"
        f"  expected: {TAG}\n"
        "  received: v9.9.9\n",
    )
    assert (
        "PACKAGE_INDEX_URL: is not set: where packages are" in publish(TAG, PACKAGE_INDEX_URL="")[1]
    )
    # An index that does not list what is there yet: the repository itself refuses.
    behind = {"PACKAGE_INDEX_URL": f"{index[0]}/nothing/"}
    code, printed = publish(TAG, **behind)
    assert (code, "400 Bad Request" in printed) == (1, True)
    log = (index[1].parent / "index.log").read_text()
    assert f"Cannot upload '{WHEEL}' since it already exists!" in log
    assert held() == before


@pytest.mark.parametrize("reader", ["expired", "nobody"])
def test_an_index_that_does_not_say_is_not_one_that_lacks_the_version(
    reader: str, agent: Agent, tagged: Build, index: tuple[str, Path], tmp_path: Path
) -> None:
    """Nothing is uploaded, not even where the repository would take it."""
    url = f"{index[0]}/simple/" if reader == "expired" else "http://127.0.0.1:1/simple/"
    given = {
        "TWINE_USERNAME": "jenkins",
        "TWINE_PASSWORD": "expired" if reader == "expired" else PASSWORD,
        "PACKAGE_INDEX_URL": url,
        "TMPDIR": str(tmp_path),
    }
    uploads = (index[1].parent / "index.log").read_text().count("POST")
    assert uploads >= 2, "the tagged build's own"
    done = agent.type(["jenkins/steps/publish.sh", TAG], given)
    received = {"expired": "403 Forbidden", "nobody": ".*Connection refused.*"}[reader]
    assert done.returncode == 1
    assert re.fullmatch(
        f"Whether learnloop {re.escape(__version__)} is published is not known:"
        " nothing was uploaded.\n"
        f"  where:    {re.escape(url)}learnloop/\n"
        "  expected: 200 or 404\n"
        f"  received: {received}\n"
        "  next:     see that the index answers, and that the password of the credential"
        " package-repository has not expired\n",
        done.stderr,
    ), done.stderr
    assert (index[1].parent / "index.log").read_text().count("POST") == uploads


def test_the_password_is_in_no_argument_and_in_no_file_that_stays(
    agent: Agent, change: Build, tmp_path: Path
) -> None:
    """Python is stood in for, to see how it is called, and what lies in the private folder then."""
    seen = tmp_path / "seen"
    watched = tmp_path / "bin" / "python"
    watched.parent.mkdir()
    watched.write_text(
        "#!/bin/sh\n"
        f'echo "$@" >>{seen}\n'
        '[ -n "${PIP_CONFIG_FILE##*/pip.conf}" ] ||'
        f' stat -c "%a %n" "$PIP_CONFIG_FILE" >>{seen}\n'
        'case "$*" in *unpublished*|*twine*) exit 0 ;; esac\n'
        f'exec {sys.executable} "$@"\n'
    )
    watched.chmod(0o755)
    private = tmp_path / "private"
    private.mkdir()
    given = {
        "TWINE_USERNAME": "jenkins",
        "TWINE_PASSWORD": PASSWORD,
        "PATH": f"{watched.parent}:{agent.variables()['PATH']}",
        "PACKAGE_INDEX_URL": "http://127.0.0.1:1/simple/",
        "TMPDIR": str(private),
        "PIP_RETRIES": "0",
    }
    done = agent.type(["jenkins/steps/publish.sh", TAG], given)
    assert done.returncode == 1, "nobody is there to read from"
    told = seen.read_text()
    assert "-m pip download" in told
    assert re.search(rf"^600 {private}/.*/pip.conf$", told, re.MULTILINE), told
    for secret in (PASSWORD, quote(PASSWORD, safe="")):
        assert secret not in told + done.stdout + done.stderr
    assert list(private.iterdir()) == [], "the folder is gone, though the step failed"
