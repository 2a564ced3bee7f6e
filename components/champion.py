"""The model in service, for comparison: whatever the registry's alias ``champion`` points at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.engines.registry import ModelRegistry
from learnloop.artifacts import Model
from learnloop.component import Context, Output, component
from learnloop.settings import Settings
from serving.registry import CHAMPION


def resolve_champion(parameters: Mapping[str, Any], settings: Settings) -> Mapping[str, Any]:
    """Tell which version the alias points at now, which enters the cache key.

    Args:
        parameters: The step's parameters.
        settings: Names the registry.
    """
    registry = open_registry(settings)
    version = registry.alias_version(parameters["name"], CHAMPION)
    digest = registry.version_digest(parameters["name"], version) if version else None
    return {"champion": version, "digest": digest}


def open_registry(settings: Settings) -> ModelRegistry:
    """Open the registry that the settings name.

    Args:
        settings: Where things are.
    """
    return ModelRegistry(settings.mlflow_uri, settings.home_folder / "mlflow" / "artifacts")


@component(resolve=resolve_champion)
def load_champion(champion: Output[Model] | None, *, name: str, context: Context) -> None:
    """Fetch the champion from the registry; leave the output empty where there is none yet.

    Args:
        champion: The model in service.
        name: The registered model.
        context: Names the registry.
    """
    registry = open_registry(context.settings)
    version = registry.alias_version(name, CHAMPION)
    if version is None or champion is None:
        return
    champion.adopt(registry.download(name, version, context.scratch))
