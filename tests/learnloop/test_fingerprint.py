"""Keys see every change that a step can see, and no other: mutations of a generated project."""

from __future__ import annotations

import importlib
import os
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from learnloop.component import CodeReference, Component, File
from learnloop.errors import GraphError, UsageError
from learnloop.fingerprint import (
    code_digest,
    describe_changes,
    fingerprint_step,
    import_closure,
    version_of,
)

FILES = {
    "__init__.py": "",
    "steps.py": (
        "from __future__ import annotations\n"
        "from typing import TYPE_CHECKING\n"
        "from learnloop.artifacts import Evaluation\n"
        "from learnloop.component import CodeReference, File, Output, component\n"
        "from {package} import direct\n"
        "if TYPE_CHECKING:\n"
        "    from {package} import for_types_only\n"
        "@component\n"
        "def work(out: Output[Evaluation], *, number: int = 1, file: File | None = None,\n"
        "         code: CodeReference | None = None) -> None:\n"
        '    """Work."""\n'
        "    from {package}.inner import lazy\n"
        "    import numpy\n"
    ),
    "direct.py": "from .inner.deep import VALUE\n",
    "inner/__init__.py": "",
    "inner/deep.py": "VALUE = 1\n",
    "inner/lazy.py": "import json\nLAZY = 1\n",
    "referenced.py": "from {package}.behind import X\ndef build(): return X\n",
    "behind.py": "X = 1\n",
    "for_types_only.py": "T = 1\n",
    "unrelated.py": "U = 1\n",
    "unrelated_inner/__init__.py": "",
}
SEEN = (
    "__init__.py",
    "steps.py",
    "direct.py",
    "inner/__init__.py",
    "inner/deep.py",
    "inner/lazy.py",
)
SEEN_BY_REFERENCE = ("referenced.py", "behind.py")
UNSEEN = ("for_types_only.py", "unrelated.py", "unrelated_inner/__init__.py")


@dataclass(frozen=True)
class Project:
    """A generated package with one component."""

    root: Path
    package: str

    def restore(self) -> None:
        for name, text in FILES.items():
            path = self.root / self.package / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.format(package=self.package))
        (self.root / "data.txt").write_text("1")

    def change(self, name: str, addition: str) -> None:
        path = self.root / self.package / name
        stat = path.stat()
        path.write_text(path.read_text() + addition)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # times must not be trusted

    def key(self, number: int = 1, inputs: str = "x", outside: str = "v1") -> str:
        module = importlib.import_module(f"{self.package}.steps")
        component: Component[...] = module.work
        arguments = {
            "number": number,
            "file": File(str(self.root / "data.txt")),
            "code": CodeReference(f"{self.package}.referenced:build"),
        }
        return fingerprint_step(component, arguments, {"in": inputs}, {"champion": outside}).key


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    root = tmp_path_factory.mktemp("generated")
    made = Project(root, f"generated_{uuid.uuid4().hex[:8]}")
    made.restore()
    sys.path.insert(0, str(root))
    made.key()  # its module is imported while it can be, whichever test comes first
    yield made
    sys.path.remove(str(root))


CHANGES = st.one_of(
    st.tuples(st.just("code"), st.sampled_from(SEEN + SEEN_BY_REFERENCE), st.integers(0, 99)),
    st.tuples(st.just("unseen"), st.sampled_from(UNSEEN), st.integers(0, 99)),
    st.tuples(st.just("comment"), st.sampled_from(SEEN), st.text("abc ", max_size=5)),
    st.tuples(st.just("parameter"), st.just(""), st.integers(2, 99)),
    st.tuples(st.just("file"), st.just(""), st.integers(2, 99)),
    st.tuples(st.just("input"), st.just(""), st.integers(0, 99)),
    st.tuples(st.just("outside"), st.just(""), st.integers(2, 99)),
)


def check_change(project: Project, change: tuple[str, str, object]) -> None:
    project.restore()
    before = project.key()
    kind, name, value = change
    arguments: dict[str, object] = {}
    if kind in ("code", "unseen"):
        project.change(name, f"\nADDED_{value} = {value}\n")
    elif kind == "comment":
        project.change(name, f"\n# {value}\n\n")
    elif kind == "file":
        (project.root / "data.txt").write_text(str(value))
    elif kind == "parameter":
        arguments["number"] = value
    elif kind == "input":
        arguments["inputs"] = f"digest {value}"
    else:
        arguments["outside"] = f"v{value}"
    after = project.key(**arguments)  # type: ignore[arg-type]
    if kind in ("unseen", "comment"):
        assert after == before, f"a needless re-run after {change}"
    else:
        assert after != before, f"a stale hit after {change}"


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(change=CHANGES)
def test_every_change_that_a_step_sees_counts_and_no_other(
    project: Project, change: tuple[str, str, object]
) -> None:
    check_change(project, change)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(change=CHANGES)
def test_ten_thousand_changes(project: Project, change: tuple[str, str, object]) -> None:
    check_change(project, change)


def test_the_closure_stops_at_libraries_and_the_framework(project: Project) -> None:
    project.restore()
    closure = import_closure(f"{project.package}.steps")
    names = {name.removeprefix(project.package).lstrip(".") for name in closure.modules}
    assert names == {"", "steps", "direct", "inner", "inner.deep", "inner.lazy"}
    assert closure.libraries == {"numpy"}
    assert version_of("numpy").startswith("1.26")
    assert version_of("sklearn").count(".") >= 1
    assert version_of("no_such_library") == "absent"


@pytest.mark.parametrize("call", ["import_module(name)", "importlib.import_module(f'a.{name}')"])
def test_a_computed_import_is_refused_unless_declared(project: Project, call: str) -> None:
    project.restore()
    project.change(
        "direct.py",
        f"\nimport importlib\nfrom importlib import import_module\nname = 'x'\n{call}\n",
    )
    with pytest.raises(GraphError) as caught:
        project.key()
    path = project.root / project.package / "direct.py"
    assert str(caught.value) == (
        "A step's code imports by a computed name, which a cache key cannot see.\n"
        f"  where:    {path}:6\n"
        "  expected: a plain import, or @component(dynamic_imports=(…))"
    )
    declared = import_closure(f"{project.package}.steps", (f"{project.package}.unrelated",))
    assert f"{project.package}.unrelated" in declared.modules


def test_a_constant_dynamic_import_is_followed(project: Project) -> None:
    project.restore()
    project.change(
        "direct.py", f"\nimport importlib\nimportlib.import_module('{project.package}.unrelated')\n"
    )
    assert f"{project.package}.unrelated" in import_closure(f"{project.package}.steps").modules


def test_code_digest_is_of_the_code_behind_a_name(project: Project) -> None:
    project.restore()
    reference = CodeReference(f"{project.package}.referenced:build")
    before = code_digest(reference)
    project.change("unrelated.py", "\nZ = 3\n")
    assert code_digest(reference) == before
    project.change("behind.py", "\nZ = 3\n")
    assert code_digest(reference) != before


def test_a_module_that_does_not_parse_is_told(project: Project) -> None:
    project.restore()
    project.change("direct.py", "\ndef (:\n")
    with pytest.raises(UsageError, match="A module does not parse: invalid syntax"):
        project.key()
    project.restore()


def test_changes_are_named() -> None:
    earlier = {"a": "1", "gone": "x", "code m": "0" * 64}
    later = {"a": "2", "new": "y", "code m": "1" * 64}
    assert describe_changes(earlier, later) == [
        "a changed: 1 → 2",
        "code m changed: 000000000000 → 111111111111",
        "gone is gone: x",
        "new is new: y",
    ]
