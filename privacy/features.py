"""The feature store of a project, which need not define any features."""

from __future__ import annotations

from importlib.util import find_spec

from feature_store.discovery import find_definitions
from feature_store.gathering import gather
from feature_store.store import FeatureStore
from learnloop.errors import UsageError
from learnloop.settings import Settings


def open_features(settings: Settings) -> FeatureStore:
    """Open the feature store.

    Args:
        settings: Names the packages with definitions.

    Returns:
        The store; without definitions where the project names no package, and has none of the
        default's name.

    Raises:
        UsageError: A package that is named is not there, or a definition does not fit.
    """
    try:
        return FeatureStore(settings, find_definitions(settings))
    except UsageError:
        if "features" in settings.model_fields_set or any(map(find_spec, settings.features)):
            raise
        return FeatureStore(settings, gather([]))
