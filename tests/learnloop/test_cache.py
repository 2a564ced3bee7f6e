"""The cache, held to a model of itself: no stale hit, no needless run, and results of an oracle.

Each case begins with a first run and then changes the world around it, one thing at a time: the
source, a parameter, a curated file, the version behind an alias, published bytes, the target of an
effect, or something that no step sees. After each change the model says which steps must run.
"""

from __future__ import annotations

import itertools
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from learnloop import runner
from learnloop.runner import Run, run_pipeline
from learnloop.settings import Settings
from tests.learnloop.outside import outside

SALTS = itertools.count()
OUTPUTS = {"read": "number", "scale": "number", "publish": "record", "compare": "number"}
SMALL = st.integers(0, 3)
CHANGES = st.one_of(
    st.tuples(st.sampled_from(["source", "offset", "alias", "factor"]), SMALL),
    st.tuples(st.sampled_from(["target", "unseen"]), SMALL),
    st.tuples(
        st.sampled_from(["damage", "remove", "remove all", "add"]), st.sampled_from([*OUTPUTS])
    ),
    st.tuples(st.just("remove target"), st.none()),
    st.tuples(st.just("nothing"), st.none()),
)


@dataclass
class World:
    """What the steps see, and what the cache ought to hold."""

    settings: Settings
    folder: Path
    salt: int = field(default_factory=lambda: next(SALTS))
    seen: dict[str, int] = field(
        default_factory=lambda: {"source": 1, "offset": 1, "alias": 1, "factor": 1}
    )
    target: int | None = None
    made: dict[tuple[object, ...], list[Path]] = field(default_factory=dict)
    spoilt: set[Path] = field(default_factory=set)
    last: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("source", "offset", "alias"):
            (self.folder / name).write_text("1")
        (self.folder / "target").unlink(missing_ok=True)

    def change(self, kind: str, value: object) -> None:
        if kind in self.seen:
            assert isinstance(value, int)
            self.seen[kind] = value
            if kind != "factor":
                (self.folder / kind).write_text(str(value))
        elif kind == "unseen":
            (self.folder / kind).write_text(str(value))
        elif kind == "target":
            assert isinstance(value, int)
            self.target = value
            (self.folder / kind).write_text(str(value))
        elif kind == "remove target":
            self.target = None
            (self.folder / "target").unlink(missing_ok=True)
        elif kind != "nothing":
            self._spoil(kind, str(value))

    def _spoil(self, kind: str, step: str) -> None:
        output = self.last[step]
        self.spoilt.add(output)
        if kind == "remove all":
            shutil.rmtree(output.parent, ignore_errors=True)
        elif output.is_dir() and kind == "damage":
            (output / "document.json").write_text('{"value": 12345}')
        elif output.is_dir() and kind == "remove":
            (output / "document.json").unlink(missing_ok=True)
        elif output.is_dir():
            (output / "added").touch()

    @property
    def values(self) -> dict[str, int]:
        """What an uncached run would give."""
        scaled = self.seen["source"] * self.seen["factor"] + self.seen["offset"]
        return {
            "read": self.seen["source"],
            "scale": scaled,
            "publish": scaled,
            "compare": scaled - 10 * self.seen["alias"],
        }

    def expected(self) -> dict[str, str]:
        """Which steps are made again."""
        fresh = {
            step: any(path not in self.spoilt for path in self.made.get(key, ()))
            for step, key in self._keys().items()
        }
        fresh["publish"] = fresh["publish"] and self.target == self.values["publish"]
        return {step: "cached" if is_fresh else "done" for step, is_fresh in fresh.items()}

    def _keys(self) -> dict[str, tuple[object, ...]]:
        """All that each step sees; a step after another sees its content, not its history."""
        seen, values = self.seen, self.values
        return {
            "read": ("read", seen["source"]),
            "scale": ("scale", values["read"], seen["factor"], seen["offset"]),
            "publish": ("publish", values["scale"]),
            "compare": ("compare", values["scale"], seen["alias"]),
        }

    def run(self) -> Run:
        parameters = {
            "folder": str(self.folder),
            "salt": self.salt,
            "factor": self.seen["factor"],
        }
        return run_pipeline(outside, parameters, settings=self.settings)

    def check(self, after: object) -> None:
        expected = self.expected()
        ended = self.run()
        assert ended.error is None
        statuses = {step: result.status for step, result in ended.results.items()}
        assert statuses == expected, f"after {after}"
        artifacts = ended.artifacts
        for step, output in OUTPUTS.items():
            artifact = artifacts[f"{step}.{output}"]
            assert artifact.load()["value"] == self.values[step], f"{step} after {after}"  # type: ignore[attr-defined]
            self.last[step] = artifact.path
            if expected[step] == "done":
                self.made.setdefault(self._keys()[step], []).append(artifact.path)
        self.target = self.values["publish"]
        assert (self.folder / "target").read_text() == str(self.target)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Path]:
    """One ledger and one store for all cases, which the salt keeps apart."""
    folder = tmp_path_factory.mktemp("cache")
    return Settings(home=folder / "home", parallelism=1), folder


@pytest.fixture(autouse=True)
def no_git(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking git for the commit takes longer than the rest of so small a run."""
    monkeypatch.setattr(runner, "git_commit", lambda: "")


def check_changes(place: tuple[Settings, Path], changes: list[tuple[str, object]]) -> None:
    world = World(*place)
    world.check("the beginning")
    for change in changes:
        world.change(*change)
        world.check(change)


QUICK = {
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
}


@hypothesis_settings(max_examples=150, **QUICK)
@given(changes=st.lists(CHANGES, min_size=1, max_size=3))
def test_every_change_that_a_step_sees_runs_it_and_no_other(
    place: tuple[Settings, Path], changes: list[tuple[str, object]]
) -> None:
    check_changes(place, changes)


@pytest.mark.slow
@hypothesis_settings(max_examples=10_000, **QUICK)
@given(changes=st.lists(CHANGES, min_size=1, max_size=5))
def test_ten_thousand_cases(
    place: tuple[Settings, Path], changes: list[tuple[str, object]]
) -> None:
    check_changes(place, changes)
