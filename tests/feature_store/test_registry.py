"""What is applied: versions that only rise, a file that is whole, changes that would not fit."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from feature_store.definitions import Definition
from feature_store.fields import FeatureType, Field
from feature_store.gathering import gather
from feature_store.registry import Change, apply_definitions, plan_changes, read_registry
from learnloop.errors import CorruptArtifact, LearnLoopError, UsageError
from tests.feature_store.online.school_views import activity, attempts, pace, service

T = FeatureType
TIMES = 30
"""How often each of two applies."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "features" / "registry.json"


def applied(file: Path, *definitions: Definition) -> list[tuple[str, str, str]]:
    changes = apply_definitions(gather(definitions), file)
    return [(change.action, change.kind, change.name) for change in changes]


def test_the_first_time_everything_is_added(file: Path) -> None:
    assert applied(file, service, pace) == [
        ("added", "entity", "learner"),
        ("added", "entity", "skill"),
        ("added", "source", "activity_files"),
        ("added", "source", "attempt_stream"),
        ("added", "feature view", "activity"),
        ("added", "feature view", "attempts"),
        ("added", "feature view", "pace"),
        ("added", "feature service", "tutor"),
    ]
    assert applied(file, service, pace) == []


def test_a_plan_is_what_applying_does_and_changes_nothing(file: Path) -> None:
    applied(file, activity)
    before = file.read_bytes()
    later = gather([replace(activity, ttl=timedelta(days=60)), attempts])
    planned = plan_changes(later, read_registry(file))
    assert file.read_bytes() == before
    assert planned == [
        Change("added", "entity", "skill"),
        Change("added", "source", "attempt_stream"),
        Change(
            "changed", "feature view", "activity", ("ttl: 30 days, 0:00:00 -> 60 days, 0:00:00",)
        ),
        Change("added", "feature view", "attempts"),
    ]
    assert apply_definitions(later, file) == planned
    assert plan_changes(later, read_registry(file)) == []


def test_a_version_rises_with_each_change_and_after_a_removal(file: Path) -> None:
    def version() -> tuple[int, bool]:
        registry = read_registry(file)
        is_applied = registry.document("feature view", "activity") is not None
        return registry.version("feature view", "activity"), is_applied

    assert version() == (0, False)
    applied(file, activity)
    assert version() == (1, True)
    applied(file, replace(activity, owner="analytics"))
    assert version() == (2, True)
    removed = applied(file, attempts)
    assert ("removed", "feature view", "activity") in removed
    assert version() == (2, False)
    assert applied(file, attempts) == []
    applied(file, activity, attempts)
    assert version() == (3, True)


def test_the_moment_is_kept(file: Path) -> None:
    began = datetime.now(UTC).replace(microsecond=0)
    applied(file, activity)
    registry = read_registry(file)
    moment = datetime.fromisoformat(registry.applied("feature view", "activity"))
    assert began <= moment <= datetime.now(UTC)
    assert registry.applied("feature view", "attempts") == ""


@pytest.mark.parametrize(
    ("fields", "before", "after"),
    [
        ((Field("clicks", T.STRING),), "int64", "string"),
        ((Field("presses", T.FLOAT64, formerly=("clicks",)),), "int64", "float64"),
    ],
)
def test_a_type_in_which_stored_values_do_not_fit(
    fields: Sequence[Field], before: str, after: str, file: Path
) -> None:
    applied(file, activity)
    kept = file.read_bytes()
    with pytest.raises(UsageError) as refused:
        applied(file, replace(activity, schema=tuple(fields)))
    assert str(refused.value) == (
        "Values of 'clicks' that are stored do not fit its new type.\n"
        f"  where:    feature view 'activity', field '{fields[0].name}'\n"
        f"  expected: {before}, or a type that holds every value of it\n"
        f"  received: {after}\n"
        "  next:     give the new feature a name of its own"
    )
    assert file.read_bytes() == kept


def test_a_name_never_takes_another_type_not_even_after_a_removal(file: Path) -> None:
    applied(file, activity)
    applied(file, replace(activity, schema=activity.schema[1:]))
    applied(file, attempts)
    with pytest.raises(UsageError, match="Values of 'clicks' that are stored do not fit"):
        applied(file, replace(activity, schema=(Field("clicks", T.STRING),)))


def test_a_type_may_widen(file: Path) -> None:
    applied(file, activity)
    wider = (activity.schema[0], Field("score", T.FLOAT64), *activity.schema[2:])
    assert applied(file, replace(activity, schema=wider)) == [
        ("changed", "feature view", "activity")
    ]


@pytest.mark.parametrize(
    ("text", "received"),
    [
        (
            b'{"format": 1, "obj',
            "JSONDecodeError: Unterminated string starting at: line 1 column 15 (char 14)",
        ),
        (b"{}", "KeyError: 'format'"),
        (b"[]", "TypeError: list indices must be integers or slices, not str"),
    ],
)
def test_a_file_that_is_no_registry(text: bytes, received: str, file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(text)
    with pytest.raises(CorruptArtifact) as refused:
        read_registry(file)
    assert str(refused.value) == (
        "The registry of features cannot be read.\n"
        f"  where:    {file}\n"
        "  expected: the JSON document that 'learnloop features apply' writes\n"
        f"  received: {received}\n"
        "  next:     restore it from a backup; the definitions themselves are in the code"
    )


def test_a_file_of_another_version(file: Path) -> None:
    file.parent.mkdir()
    file.write_text(json.dumps({"format": 2, "objects": {}}))
    with pytest.raises(UsageError) as refused:
        applied(file, activity)
    assert str(refused.value) == (
        "The registry of features was written by another version of LearnLoop.\n"
        f"  where:    {file}\n"
        "  expected: format 1\n"
        "  received: format 2"
    )


def test_a_fault_while_writing_leaves_what_was(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    applied(file, activity)

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(LearnLoopError):
            applied(file, attempts)
    assert read_registry(file).document("feature view", "activity") is not None
    assert read_registry(file).document("feature view", "attempts") is None


def test_two_who_apply_at_once_do_it_one_after_the_other(file: Path) -> None:
    """No version overwrites another's."""
    forking = multiprocessing.get_context("fork")
    workers = [forking.Process(target=_apply_often, args=(file, name)) for name in ("a", "b")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    versions = read_registry(file).objects["feature view"]["activity"]["versions"]
    written = [f"{name}{number}" for name in ("a", "b") for number in range(TIMES)]
    assert sorted(version["owner"] for version in versions) == sorted(written)


def _apply_often(file: Path, name: str) -> None:
    for number in range(TIMES):
        applied(file, replace(activity, owner=f"{name}{number}"))
