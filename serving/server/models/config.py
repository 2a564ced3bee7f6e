"""Which models a server serves: TensorFlow Serving's ``ModelServerConfig``, or a folder of models.

The texts of refusals are TensorFlow Serving's where it has one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from google.protobuf.message import DecodeError

from learnloop.errors import UsageError
from serving.server.contract import Code, ServingError
from serving.server.protos import model_server_config_pb2

PLATFORM = "tensorflow"
_TYPE_TENSORFLOW = 1


@dataclass(frozen=True)
class VersionPolicy:
    """Which of a model's versions are served.

    Args:
        latest: So many of the highest numbers; None for all there are.
        specific: Exactly these, whatever ``latest`` says, where there are any.
    """

    latest: int | None = 1
    specific: frozenset[int] = frozenset()

    def choose(self, versions: Iterable[int]) -> list[int]:
        """Choose among the versions on disk, the highest first."""
        highest = sorted(versions, reverse=True)
        if self.specific:
            return [version for version in highest if version in self.specific]
        return highest[: self.latest]


@dataclass(frozen=True)
class ModelConfig:
    """A model to serve.

    Args:
        name: What callers call it.
        base: The folder with a folder for each version; None where nothing of it is wanted.
        policy: Which versions.
        labels: A version by label.
    """

    name: str
    base: Path | None
    policy: VersionPolicy = VersionPolicy()
    labels: Mapping[str, int] = field(default_factory=dict)


class ModelFolder:
    """Every child of a folder is a model: ``models/<name>/<version>``.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last: dict[str, ModelConfig] = {}
        if not folder.is_dir():
            raise UsageError(
                "There is no folder of models.",
                where=folder,
                expected="a folder with a folder per model, and in it one per version",
                received="nothing there",
                next="learnloop serving push, or name another folder",
            )

    def __call__(self) -> dict[str, ModelConfig] | None:
        """List the models; None where they are the same as before."""
        found = {
            child.name: ModelConfig(child.name, child.resolve())
            for child in sorted(self._folder.iterdir())
            if child.is_dir() and not child.name.startswith(".")
        }
        is_same, self._last = found == self._last, found
        return None if is_same else found


class ConfigFile:
    """A ``models.config``: the text of a ``ModelServerConfig``.

    Args:
        file: The file.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._last = b""

    def __call__(self) -> dict[str, ModelConfig] | None:
        """Read the models; None where the file is the same as before.

        Raises:
            UsageError: It cannot be read.
            ServingError: ``INVALID_ARGUMENT``: it cannot be realised.
        """
        serialised = read_config_file(self._file)
        if serialised == self._last:
            return None
        models = parse_config(serialised)
        self._last = serialised
        return models


def read_config_file(file: Path) -> bytes:
    """Read a ``models.config``: the text of a ``ModelServerConfig``.

    Returns:
        The same, serialised.

    Raises:
        UsageError: It cannot be read.
    """
    config = model_server_config_pb2.ModelServerConfig()
    try:
        text_format.Parse(file.read_text(encoding="utf-8"), config)
    except (OSError, UnicodeDecodeError, text_format.ParseError) as fault:
        raise UsageError(
            "The configuration of models cannot be read.",
            where=file,
            expected="the text of a ModelServerConfig, such as "
            'model_config_list { config { name: "m" base_path: "/models/m" '
            'model_platform: "tensorflow" } }',
            received=str(fault),
            next="mend the file, then run the same command again",
        ) from None
    return bytes(config.SerializeToString())


def parse_config(serialised: bytes) -> dict[str, ModelConfig]:
    """Read a serialised ``ModelServerConfig``.

    Raises:
        ServingError: ``INVALID_ARGUMENT`` with the reason.
    """
    try:
        config = model_server_config_pb2.ModelServerConfig.FromString(serialised)
    except DecodeError:
        raise _refused("The configuration is no ModelServerConfig.") from None
    if config.WhichOneof("config") == "custom_model_config":
        raise _refused("custom_model_config is not supported; expected model_config_list")
    models: dict[str, ModelConfig] = {}
    for model in config.model_config_list.config:
        if model.name in models:
            raise _refused(f"Illegal to list model {model.name} multiple times in config list")
        models[model.name] = _model(model)
    return models


def _model(model: Any) -> ModelConfig:
    if not model.name:
        raise _refused("Expected every model to have a name; got none")
    if not model.model_platform and not model.model_type:
        raise _refused(
            "Illegal setting neither ModelServerConfig::model_type nor "
            "ModelServerConfig::model_platform."
        )
    if model.model_platform not in ("", PLATFORM) or model.model_type not in (0, _TYPE_TENSORFLOW):
        raise _refused(
            f"ModelServerConfig::model_platform of model {model.name}: expected {PLATFORM}; "
            f"got {model.model_platform or model.model_type}"
        )
    if "://" in model.base_path:
        raise _refused(
            f"Expected model {model.name} to lie on a disk of this machine; "
            f"got base_path()={model.base_path}"
        )
    if not model.base_path.startswith("/"):
        raise _refused(
            f"Expected model {model.name} to have an absolute path or URI; "
            f"got base_path()={model.base_path}"
        )
    return ModelConfig(
        name=model.name,
        base=Path(model.base_path),
        policy=_policy(model),
        labels=dict(model.version_labels),
    )


def _policy(model: Any) -> VersionPolicy:
    policy = model.model_version_policy
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return VersionPolicy(latest=None)
    if choice == "specific":
        if not policy.specific.versions:
            raise _refused(f"Expected model {model.name} to have specific versions; got none")
        return VersionPolicy(specific=frozenset(policy.specific.versions))
    return VersionPolicy(latest=policy.latest.num_versions or 1)


def _refused(reason: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, reason)
