from __future__ import annotations

from collections.abc import Iterator

import pytest

from feature_store.store import FeatureStore
from learnloop.settings import Settings


@pytest.fixture
def store(settings: Settings) -> Iterator[FeatureStore]:
    """The feature store of this repository's own definitions, in an empty project."""
    found = FeatureStore(settings)
    found.apply()
    yield found
    for online in found.online_stores:
        online.close()
