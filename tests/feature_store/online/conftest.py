"""Every kind of online store, empty."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from feature_store.online.redis import RedisStore
from feature_store.online.sqlite import SqliteStore
from feature_store.online.store import OnlineStore
from feature_store.store import FeatureStore
from learnloop.settings import Settings, load_settings
from tests.feature_store.online.school import open_school
from tests.servers import RedisServer


@pytest.fixture
def redis_store(redis_server: RedisServer) -> Iterator[RedisStore]:
    """An empty store in Redis."""
    store = RedisStore(redis_server.new_database())
    yield store
    store.close()


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[SqliteStore]:
    """An empty store in SQLite."""
    store = SqliteStore(tmp_path / "online.db")
    yield store
    store.close()


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest) -> OnlineStore:
    """An empty store of every kind."""
    found: OnlineStore = request.getfixturevalue(f"{request.param}_store")
    return found


def another(store: OnlineStore) -> OnlineStore:
    """The same store, as another process opens it."""
    if isinstance(store, SqliteStore):
        return SqliteStore(store.file)
    assert isinstance(store, RedisStore)
    return RedisStore(store.url)


@pytest.fixture(params=["sqlite", "redis"])
def school(
    request: pytest.FixtureRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FeatureStore]:
    """A project with features, on every kind of online store."""
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        monkeypatch.setenv("LEARNLOOP_FEATURES_ONLINE", server.new_database())
    store = open_school(load_settings())
    yield store
    for online in store.online_stores:
        online.close()


@pytest.fixture
def local_school(settings: Settings) -> Iterator[FeatureStore]:
    """A project with features, on SQLite."""
    store = open_school(settings)
    yield store
    store.online_stores[0].close()
