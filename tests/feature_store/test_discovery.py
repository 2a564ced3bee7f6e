"""Definitions are found where authors put them, and a mistake there is told."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from feature_store.discovery import find_definitions
from feature_store.gathering import gather
from feature_store.store import FeatureStore
from learnloop.errors import UsageError
from learnloop.settings import Settings, project_root
from tests.feature_store.online.school_views import activity, attempts, pace, service

VIEWS = """
from feature_store.definitions import FeatureView
from feature_store.fields import Entity, FeatureType, Field
from feature_store.sources import ParquetSource

{entity} = Entity("{entity}", (Field("{entity}", FeatureType.INT64),))
{name} = FeatureView(
    "{name}",
    ({entity},),
    (Field("clicks", FeatureType.INT64),),
    ParquetSource("{name}_files", "data/{name}", "happened_at"),
)
"""
PACKAGE = "found_views"


@pytest.fixture
def package(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty package of the project, named by the setting ``features``."""
    monkeypatch.setenv("LEARNLOOP_FEATURES", f'["{PACKAGE}"]')
    monkeypatch.setattr(sys, "path", [*sys.path])
    folder = project_root() / PACKAGE
    folder.mkdir()
    (folder / "__init__.py").touch()
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def write_views(folder: Path, name: str, entity: str = "learner") -> None:
    folder.mkdir(exist_ok=True)
    (folder / "feature_views.py").write_text(VIEWS.format(name=name, entity=entity))


def test_views_of_the_package_and_of_its_parts(package: Path) -> None:
    write_views(package, "activity")
    write_views(package / "reading", "reading", "book")
    (package / "reading" / "__init__.py").touch()
    found = find_definitions(Settings())
    assert list(found.views) == ["activity", "reading"]
    assert list(found.entities) == ["book", "learner"]
    assert list(found.sources) == ["activity_files", "reading_files"]
    assert FeatureStore().definitions == found


def test_a_package_without_views_has_none(package: Path) -> None:
    assert find_definitions(Settings()) == gather([])


def test_a_package_that_is_not_there(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEARNLOOP_FEATURES", '["no.such.package"]')
    with pytest.raises(UsageError) as refused:
        find_definitions(Settings())
    assert str(refused.value) == (
        "There is no package 'no.such.package' with feature views.\n"
        f"  where:    the setting 'features', under {project_root()}\n"
        "  expected: a package that can be imported\n"
        "  received: 'no.such.package'"
    )


def test_a_module_that_breaks_is_told_with_its_line(package: Path) -> None:
    (package / "feature_views.py").write_text("first = 1\nsecond = missing\n")
    with pytest.raises(UsageError) as refused:
        find_definitions(Settings())
    assert str(refused.value) == (
        "'found_views.feature_views' cannot be imported: NameError: name 'missing' is not defined\n"
        f"  where:    {package / 'feature_views.py'}:2\n"
        "  next:     python -c 'import found_views.feature_views' shows the whole way there"
    )


def test_two_definitions_of_one_name(package: Path) -> None:
    write_views(package / "one", "activity")
    write_views(package / "other", "activity", "teacher")
    with pytest.raises(UsageError) as refused:
        find_definitions(Settings())
    assert str(refused.value) == (
        "Two different definitions have one name, 'activity'.\n"
        "  where:    feature view 'activity'\n"
        "  expected: a name for each\n"
        "  received: another definition of that name"
    )


def test_what_a_service_uses_comes_with_it() -> None:
    found = gather([service, pace])
    assert list(found.views) == ["activity", "attempts", "pace"]
    assert list(found.stored_views) == ["activity", "attempts"]
    assert list(found.sources) == ["activity_files", "attempt_stream"]
    assert list(found.entities) == ["learner", "skill"]
    assert gather([service, activity, attempts, pace]) == found


def test_two_sources_of_one_name() -> None:
    other = replace(attempts, name="others", source=replace(activity.source, name="attempt_stream"))
    with pytest.raises(UsageError) as refused:
        gather([attempts, other])
    assert str(refused.value) == (
        "Two different definitions have one name, 'attempt_stream'.\n"
        "  where:    source 'attempt_stream'\n"
        "  expected: a name for each\n"
        "  received: another definition of that name"
    )


def test_names_that_are_not_there() -> None:
    found = gather([service, pace])
    with pytest.raises(UsageError) as view:
        found.view("activty")
    assert str(view.value) == (
        "There is no feature view 'activty'.\n"
        "  where:    feature views\n"
        "  expected: did you mean 'activity'?\n"
        "  received: 'activty'\n"
        "  next:     learnloop features list"
    )
    with pytest.raises(UsageError) as named:
        found.service("tuto")
    assert str(named.value) == (
        "There is no feature service 'tuto'.\n"
        "  where:    feature services\n"
        "  expected: did you mean 'tutor'?\n"
        "  received: 'tuto'\n"
        "  next:     learnloop features list"
    )
    with pytest.raises(UsageError) as stored:
        found.stored_view("pace")
    assert str(stored.value) == (
        "'pace' is computed on demand and has no rows.\n"
        "  where:    feature views\n"
        "  expected: one of activity, attempts\n"
        "  received: 'pace'"
    )
