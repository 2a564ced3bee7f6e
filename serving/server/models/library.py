"""The models of a server: what is wanted, what there is, and how one becomes the other.

A version that is wanted and not there is tried in a process of its own, loaded in a thread, and
offered. One that is there and not wanted is let go, but not before a wanted one answers
(TensorFlow Serving's availability-preserving policy). What cannot be loaded is refused with its
reason, and what answered goes on answering. Once a version answers, it is made faster beside.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from learnloop.errors import LearnLoopError
from serving.server.contract import Code, ServingError, VersionState, VersionStatus
from serving.server.models.batching import Limits, SignatureRun
from serving.server.models.config import ModelConfig, parse_config
from serving.server.models.loading import load_runs
from serving.server.models.preparation import Checked, Interrupted, Preparation
from serving.server.models.servable import LoadedVersion
from serving.server.models.versions import Model, Version, trace_of, versions_on_disk

LOG = logging.getLogger(__name__)

Source = Callable[[], Mapping[str, ModelConfig] | None]
"""Reads which models are wanted; None where that is what it was."""


@dataclass(frozen=True)
class ModelOptions:
    """How versions are loaded.

    Args:
        limits: What a version takes before it refuses.
        cache: Where findings about versions are kept.
        is_converting: Whether versions are made faster by TFLite and ONNX Runtime.
        load_retries: How often a load that was killed is tried again.
        retry_seconds: The pause before that.
    """

    cache: Path
    limits: Limits = field(default_factory=Limits)
    is_converting: bool = True
    load_retries: int = 5
    retry_seconds: float = 1.0


@dataclass(frozen=True)
class _Refused:
    """A configuration on disk that was refused; it is tried again when its models have changed.

    Args:
        configs: The configuration.
        disk: What its models looked like.
    """

    configs: Mapping[str, ModelConfig]
    disk: Hashable

    async def has_changed(self) -> bool:
        """Whether the models look different by now."""
        return await asyncio.to_thread(_disk, self.configs) != self.disk


class ModelLibrary:
    """The models of a server (:class:`serving.server.contract.Models`).

    Args:
        source: Which models are wanted.
        options: How they are loaded.
    """

    def __init__(self, source: Source, options: ModelOptions) -> None:
        self._source = source
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._preparation = Preparation(options.cache)
        self._models: dict[str, Model] = {}
        self._refreshing = asyncio.Lock()
        self._reloading = asyncio.Lock()
        self._improving: set[asyncio.Task[None]] = set()
        self._following: asyncio.Task[None] | None = None
        self._refused: _Refused | None = None
        self._complaint = ""

    def find(
        self, model: str, version: int | None = None, label: str | None = None
    ) -> LoadedVersion:
        """See :meth:`serving.server.contract.Models.find`."""
        found = self._models.get(model)
        if label is not None:
            version = self._labelled(model, label)
        if version is None:
            if found is None or found.latest is None:
                raise ServingError(
                    Code.NOT_FOUND, f"Servable not found for request: Latest({model})"
                )
            return found.latest
        there = found.versions.get(version) if found else None
        if there is None or there.servable is None:
            raise ServingError(
                Code.NOT_FOUND, f"Servable not found for request: Specific({model}, {version})"
            )
        return there.servable

    def statuses(
        self, model: str, version: int | None = None, label: str | None = None
    ) -> list[VersionStatus]:
        """See :meth:`serving.server.contract.Models.statuses`."""
        if label is not None:
            version = self._labelled(model, label)
        found = self._models.get(model)
        versions = found.versions if found else {}
        if version is not None:
            if version not in versions:
                raise ServingError(
                    Code.NOT_FOUND, f"Could not find version {version} of model {model}"
                )
            return [versions[version].status]
        if not versions:
            raise ServingError(Code.NOT_FOUND, f"Could not find any versions of model {model}")
        return [versions[number].status for number in sorted(versions, reverse=True)]

    async def reload(self, config: bytes) -> None:
        """See :meth:`serving.server.contract.Models.reload`."""
        await self._apply(parse_config(config))

    async def poll(self) -> None:
        """Look at the configuration and the disk once, and begin to do what follows from them."""
        if self._following is not None and not self._following.done():
            await self._refresh()  # a further configuration is read when this one is realised
            return
        configs = await self._read_source()
        if configs is None and self._refused is not None and await self._refused.has_changed():
            configs = self._refused.configs
        if configs is None:
            await self._refresh()
        else:
            self._following = asyncio.create_task(self._follow(configs))

    async def settle(self) -> None:
        """Wait until everything that was begun is loaded or refused."""
        if self._following is not None:
            await self._following
        while loading := self._loading(self._models.values()):
            await asyncio.wait(loading)

    async def improve(self) -> None:
        """Wait until every version that answers is as fast as it will be."""
        await self.settle()
        while self._improving:
            await asyncio.wait(set(self._improving))

    async def close(self) -> None:
        """Answer what is queued, refuse what comes after, and let everything go."""
        tasks = [*self._improving, *self._loading(self._models.values())]
        if self._following is not None:
            tasks.append(self._following)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        servables = [
            version.servable
            for model in self._models.values()
            for version in model.versions.values()
            if version.servable is not None
        ]
        await asyncio.gather(*(servable.close() for servable in servables))
        for model in self._models.values():
            model.wanted = []
            model.is_held = False
            model.settle(self._loop)

    async def start(self) -> None:
        """Realise the first configuration.

        A label whose version was refused waits for it, so that one bad version does not keep a
        server from starting again.
        """
        await self._refresh(await asyncio.to_thread(self._source))
        await self.settle()

    async def _read_source(self) -> Mapping[str, ModelConfig] | None:
        """Read which models are wanted; what cannot be read is complained of once."""
        try:
            configs = await asyncio.to_thread(self._source)
        except (LearnLoopError, ServingError, OSError) as fault:
            if str(fault) != self._complaint:
                self._complaint = str(fault)
                LOG.error("Which models are wanted cannot be read; what is served stays: %s", fault)
            return None
        self._complaint = ""
        return configs

    async def _follow(self, configs: Mapping[str, ModelConfig]) -> None:
        """Realise a configuration that changed on disk; whoever changed it is not here."""
        refused = _Refused(configs, await asyncio.to_thread(_disk, configs))
        try:
            await self._apply(configs)
        except ServingError as refusal:
            LOG.error("The new configuration of models is refused: %s", refusal.message)
            self._refused = refused
        else:
            self._refused = None

    async def _apply(self, configs: Mapping[str, ModelConfig]) -> None:
        """Realise a configuration, and only it; nothing is let go before it is sure."""
        async with self._reloading:
            previous = {name: model.config for name, model in self._models.items()}
            models = list(self._models.values())
            for model in models:
                model.is_held = True
            try:
                await self._refresh(configs)
                while loading := self._loading(
                    model for name, model in self._models.items() if name in configs
                ):
                    await asyncio.wait(loading)
                self._require_labelled(configs)
            except BaseException:
                self._release(models)
                await self._refresh(previous)
                raise
            self._release(models)
            self._settle()

    def _release(self, models: Iterable[Model]) -> None:
        for model in models:
            model.is_held = False

    def _require_labelled(self, configs: Mapping[str, ModelConfig]) -> None:
        for name, config in configs.items():
            for number in config.labels.values():
                version = self._models[name].versions.get(number)
                if version is None or version.servable is None:
                    reason = version.status.message if version else "It is not wanted or not there."
                    raise ServingError(
                        Code.FAILED_PRECONDITION,
                        f"Request to assign label to version {number} of model {name}, which is "
                        f"not currently available for inference. {reason}".strip(),
                    )

    async def _refresh(self, configs: Mapping[str, ModelConfig] | None = None) -> None:
        """Look at the disk, begin to load what is wanted, and let go what is not."""
        async with self._refreshing:
            if configs is not None:
                self._configure(configs)
            for name, model in self._models.items():
                await self._look(name, model)
            self._settle()

    def _configure(self, configs: Mapping[str, ModelConfig]) -> None:
        for name, config in configs.items():
            if name not in self._models:
                self._models[name] = Model(config)
            self._models[name].config = config
        for name, model in self._models.items():
            if name not in configs:
                model.config = ModelConfig(name, None)

    async def _look(self, name: str, model: Model) -> None:
        base = model.config.base
        if base is None:
            model.wanted = []
            return
        try:
            folders = await asyncio.to_thread(versions_on_disk, base)
        except OSError as fault:
            # TensorFlow Serving changes nothing either; an empty folder would unload.
            LOG.warning("The base path of model %s cannot be read: %s", name, fault.strerror)
            return
        model.wanted = model.config.policy.choose(folders)
        for number in model.wanted:
            there = model.versions.get(number)
            if there is None or (there.is_over and await self._is_worth_loading(there)):
                version = model.versions[number] = Version(number, folders[number])
                version.loading = asyncio.create_task(self._load(name, model, version))

    async def _is_worth_loading(self, version: Version) -> bool:
        """Whether it was let go, or was refused and its files are others by now."""
        if version.refused is None:
            return True
        return await asyncio.to_thread(trace_of, version.folder) != version.refused

    async def _load(self, name: str, model: Model, version: Version) -> None:
        version.become(VersionState.LOADING)
        trace = await asyncio.to_thread(trace_of, version.folder)
        try:
            checked = await self._checked(version)
            runs, meta_graph = await self._runs(version, checked)
        except Exception as fault:
            refusal = fault if isinstance(fault, ServingError) else _unexpected(fault)
            LOG.error("Version %d of model %s: %s", version.number, name, refusal.message)
            version.become(VersionState.END, refusal.code, refusal.message)
            version.refused = trace
        else:
            version.servable = LoadedVersion(
                name, version.number, meta_graph, runs, self._options.limits, self._loop
            )
            version.become(VersionState.AVAILABLE)
            is_improving = (
                self._options.is_converting and self._preparation.plan(checked.key) is None
            )
            _tell(version.servable, is_improving=is_improving)
            if is_improving:
                task = version.improving = asyncio.create_task(
                    self._improve(name, version, checked)
                )
                self._improving.add(task)
                task.add_done_callback(self._improving.discard)
        finally:
            version.loading = None
        model.settle(self._loop)

    async def _checked(self, version: Version) -> Checked:
        for left in range(self._options.load_retries, -1, -1):
            try:
                return await self._preparation.check(version.folder)
            except Interrupted as fault:
                if not left:
                    raise ServingError(Code.INTERNAL, str(fault)) from None
                await asyncio.sleep(self._options.retry_seconds)
        raise AssertionError("the last attempt returns or raises")

    async def _runs(
        self, version: Version, checked: Checked
    ) -> tuple[dict[str, SignatureRun], bytes]:
        """Load what was made of a version before; if that is damaged, the version itself."""
        converted = self._preparation.plan(checked.key)
        if converted is not None:
            try:
                return await asyncio.to_thread(
                    load_runs, version.folder, checked.seconds, converted
                )
            except Exception as fault:
                LOG.warning(
                    "What was made of version %d before is no use: %s", version.number, fault
                )
                await asyncio.to_thread(shutil.rmtree, converted, ignore_errors=True)
        return await asyncio.to_thread(load_runs, version.folder, checked.seconds, None)

    async def _improve(self, name: str, version: Version, checked: Checked) -> None:
        """Make a version that answers faster; where that fails it stays as it is."""
        try:
            converted = await self._preparation.convert(version.folder, checked.key)
            runs, _ = await asyncio.to_thread(load_runs, version.folder, checked.seconds, converted)
        except Exception as fault:
            LOG.warning("Version %d of model %s stays as it is: %s", version.number, name, fault)
            runs = {}
        if version.servable is not None:
            if runs:
                version.servable.replace(runs)
            _tell(version.servable, is_improving=False)

    def _settle(self) -> None:
        for model in self._models.values():
            model.settle(self._loop)

    def _labelled(self, model: str, label: str) -> int:
        found = self._models.get(model)
        if found is None or label not in found.labels:
            raise ServingError(
                Code.INVALID_ARGUMENT, f"Unrecognized servable version label: {label}"
            )
        return found.labels[label]

    def _loading(self, models: Iterable[Model]) -> list[asyncio.Task[None]]:
        return [
            version.loading
            for model in models
            for version in model.versions.values()
            if version.loading is not None
        ]


def _tell(servable: LoadedVersion, *, is_improving: bool) -> None:
    """Say that a version answers, and how (:mod:`serving.embedded` reads it)."""
    ways = ", ".join(f"{name} by {execution}" for name, execution in servable.executions.items())
    more = ", and is made faster" if is_improving else ""
    LOG.info("Version %d of model %s answers (%s)%s", servable.version, servable.model, ways, more)


def _disk(configs: Mapping[str, ModelConfig]) -> Hashable:
    return tuple(trace_of(config.base) for config in configs.values() if config.base is not None)


def _unexpected(fault: Exception) -> ServingError:
    return ServingError(
        Code.INTERNAL, f"The version cannot be loaded: {type(fault).__name__}: {fault}"
    )
