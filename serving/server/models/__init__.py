"""The models half of the server: find, check, load, run and let go of model versions."""

from __future__ import annotations

from pathlib import Path

from learnloop.settings import load_settings
from serving.server.models.batching import Limits
from serving.server.models.config import ConfigFile, ModelFolder
from serving.server.models.library import ModelLibrary, ModelOptions

__all__ = ["Limits", "ModelLibrary", "ModelOptions", "open_models"]

_CACHE = "prepared-models"


async def open_models(
    source: Path, *, limits: Limits = Limits(), options: ModelOptions | None = None
) -> ModelLibrary:
    """Serve models; returns when all of them answer or were refused.

    Args:
        source: A file with the text of a ``ModelServerConfig``, or a folder of models.
        limits: What a version takes before it refuses.
        options: How versions are loaded; findings are kept in the settings' home when None.

    Returns:
        The models, to be polled while the server runs and closed when it stops.

    Raises:
        UsageError: The source is neither.
        ServingError: ``INVALID_ARGUMENT``: the configuration cannot be realised.
    """
    if options is None:
        options = ModelOptions(cache=load_settings().home_folder / _CACHE, limits=limits)
    wanted = ConfigFile(source) if source.is_file() else ModelFolder(source)
    library = ModelLibrary(wanted, options)
    try:
        await library.start()
    except BaseException:
        await library.close()
        raise
    return library
