"""Moving versions: push, try out, promote, roll back. Nobody else writes what servers read.

A move changes the document, and with it ``models.config``; servers follow within their polling
time. It is written down in the same stroke and then handed to the ledger's journal, so that a
ledger that is away delays the record and never the rollback.
"""

from __future__ import annotations

import dataclasses
import getpass
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from learnloop.errors import CorruptArtifact, LearnLoopError, UsageError
from learnloop.ledger.journal import JournalEntry, append_to_journal
from learnloop.settings import Settings
from serving.places import Place, open_place
from serving.publish import Publication, PublishedVersion
from serving.registry import CHAMPION, Aliases
from serving.retention import removable
from serving.state import ModelRollout, Rollout, moment

SERVING = "serving"
"""The journal's kind of a move of versions; a move of the registry's alias is of its name's."""

MLFLOW_VERSION = "mlflow_version"
"""In a version's lineage: its number in the registry, if it comes from there."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_log = logging.getLogger("learnloop.serving")


@dataclass(frozen=True)
class Mover:
    """Moves the versions of published models.

    Args:
        settings: Where models are published, the ledger and the registry.
        actor: Who moves them.
    """

    settings: Settings
    actor: str = field(default_factory=getpass.getuser)

    @property
    def place(self) -> Place:
        """Where models are published."""
        return open_place(self.settings)

    def push(
        self, name: str, publication: Publication, *, weight: float = 0.0, why: str
    ) -> PublishedVersion:
        """Publish a version and put it into service, or on trial; then drop old ones.

        The first version of a model, and any with no weight, is in service at once. One that is
        older than the stable version, or was withdrawn, is published and no more.

        Args:
            name: The model's name.
            publication: The version.
            weight: The share of callers to try it on.
            why: For the journal.

        Raises:
            UsageError: The name does not fit, or the number is taken by another model.
            LearnLoopError: The disk or S3 failed.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(
                "A model's name is a part of paths and of URLs.",
                expected="letters, digits, '_', '-' and '.'",
                received=repr(name),
            )
        published = self.place.publish(name, publication)
        version = publication.version

        def change(rollout: Rollout) -> ModelRollout:
            if name not in rollout.models:
                return ModelRollout(stable=version, published={version: moment()})
            return rollout.models[name].push(version, weight)

        self._move(name, "push", change, why, version=version)
        self.retain(name)
        return published

    def try_out(self, name: str, version: int, weight: float, why: str) -> ModelRollout:
        """Make a published version the canary, or give the canary another weight.

        Args:
            name: The model's name.
            version: The version.
            weight: The share of callers that it is for, 0 to 1.
            why: For the journal.

        Raises:
            UsageError: There is no such model or version, or it is the stable one.
            CorruptArtifact: Its files are not as they were published.
        """
        self._check_files(name, version)
        return self._move(name, "canary", lambda r: r.model(name).try_out(version, weight), why)

    def promote(self, name: str, why: str, only: int | None = None) -> ModelRollout:
        """Put the canary into service, and point the registry's ``champion`` at it.

        Args:
            name: The model's name.
            why: For the journal.
            only: The version that was agreed upon; any canary when None.

        Raises:
            UsageError: There is no such model, or it has no canary, or another one.
            CorruptArtifact: The canary's files are not as they were published.
            LearnLoopError: The registry did not answer; nothing was moved.
        """
        current = self.place.read()
        version = only or current.model(name).promote().stable

        def change(rollout: Rollout) -> ModelRollout:
            model = rollout.model(name)
            if model.canary != version:
                raise UsageError(
                    f"The canary of '{name}' was changed meanwhile.",
                    expected=f"version {version}",
                    received=f"version {model.canary}" if model.canary else "no canary",
                    next=f"learnloop serving status {name}",
                )
            return model.promote()

        change(current)
        self._check_files(name, version)
        champion = self._move_champion(name, version, why)
        return self._move(name, "promote", change, why, also=champion)

    def make_champion(self, name: str, why: str) -> ModelRollout:
        """Point the registry's ``champion`` at the stable version, which nobody tried out first.

        Args:
            name: The model's name.
            why: For the journal.

        Raises:
            UsageError: There is no such model.
            LearnLoopError: The registry did not answer.
        """
        stable = self.place.read().model(name).stable
        return self._finish(name, also=self._move_champion(name, stable, why))

    def roll_back(
        self,
        name: str,
        reason: str,
        to: int | None = None,
        evidence: Mapping[str, Any] = {},
        only: int | None = None,
    ) -> ModelRollout:
        """Take out of service what came last, and point ``champion`` back if it pointed there.

        The canary goes if there is one, else the stable version; with ``to`` both. A rollback that
        a kill cut short is finished, not done a second time.

        Args:
            name: The model's name.
            reason: Why.
            to: The version to put into service; the one before when None.
            evidence: Figures for the journal.
            only: The version that may go; nothing happens where another one would.

        Raises:
            UsageError: There is no such model or version, or none before.
            CorruptArtifact: The files of the version to go back to are not as they were published.
            LearnLoopError: Callers are served, but the registry did not answer.
        """
        rollout = self.place.read()
        before = rollout.model(name)
        if to is None and self._is_unrecorded_rollback(rollout, name):
            _log.warning("An earlier rollback of '%s' was cut short; it is finished now.", name)
            return self._finish(name)
        if to is not None:
            rollout.published_version(name, to)
        target = before.roll_back(reason, to, only).stable
        if target != before.stable:
            self._check_files(name, target)
        after = self._move(
            name,
            "rollback",
            lambda r: r.model(name).roll_back(reason, to, only),
            reason,
            evidence=dict(evidence),
        )
        champion = self._move_champion(name, after.stable, reason, only_from=after.withdrawn)
        return self._finish(name, also=champion) if champion else after

    def stop(self, name: str, version: int, reason: str, evidence: Mapping[str, Any]) -> None:
        """Take a canary that does harm out of service; nothing, if it is the canary no more.

        Args:
            name: The model's name.
            version: The canary.
            reason: Why.
            evidence: The figures, for the journal.
        """

        def change(rollout: Rollout) -> ModelRollout:
            model = rollout.model(name)
            return model.roll_back(reason) if model.canary == version else model

        self._move(name, "stop", change, reason, evidence=dict(evidence))

    def retain(self, name: str) -> list[int]:
        """Remove versions that nobody needs any more.

        Args:
            name: The model's name.

        Returns:
            The versions that were removed.
        """
        keep = self.settings.serving_keep
        if not removable(self.place.read().model(name), keep):
            return []

        def change(rollout: Rollout) -> ModelRollout:
            model = rollout.model(name)
            return model.begin_removal(removable(model, keep))

        leaving = self._move(name, "remove", change, f"the last {keep} are kept").leaving
        for version in leaving:
            self.place.remove(name, version)
            self._change(name, partial(ModelRollout.end_removal, version=version))
        return list(leaving)

    def _move(
        self,
        name: str,
        move: str,
        change: Callable[[Rollout], ModelRollout],
        why: str,
        *,
        also: tuple[JournalEntry, ...] = (),
        **facts: Any,
    ) -> ModelRollout:
        """Change a model's state with its journal entry, and see it through."""

        def apply(rollout: Rollout) -> Rollout:
            before, after = rollout.models.get(name), change(rollout)
            entries = also
            if before is None or _differ(before, after):
                document = {
                    "move": move,
                    "from": before.summary() if before else None,
                    "to": after.summary(),
                    "why": why,
                    **facts,
                }
                if after.leaving:
                    document["versions"] = list(after.leaving)
                entries = (*also, JournalEntry(SERVING, name, self.actor, document))
            written = (*rollout.unrecorded, *(_to_json(entry) for entry in entries))
            changed = rollout.with_model(name, after.tell(self.settings.serving_poll))
            return dataclasses.replace(changed, unrecorded=written)

        self.place.change(apply)
        return self._finish(name)

    def _finish(self, name: str, also: tuple[JournalEntry, ...] = ()) -> ModelRollout:
        """Tell servers the rest, step by step, then hand the journal what it lacks."""
        poll = self.settings.serving_poll
        tell = partial(ModelRollout.tell, poll=poll)
        rollout = self._change(name, tell, also)
        while not rollout.model(name).is_settled:
            time.sleep(min(max(0.0, poll - rollout.model(name).seconds_told), poll))
            rollout = self._change(name, tell)
        self._record(rollout)
        return rollout.model(name)

    def _change(
        self,
        name: str,
        change: Callable[[ModelRollout], ModelRollout],
        also: tuple[JournalEntry, ...] = (),
    ) -> Rollout:
        written = tuple(_to_json(entry) for entry in also)

        def apply(rollout: Rollout) -> Rollout:
            changed = rollout.with_model(name, change(rollout.model(name)))
            return dataclasses.replace(changed, unrecorded=(*rollout.unrecorded, *written))

        return self.place.change(apply)

    def _record(self, rollout: Rollout) -> None:
        """Hand the journal the entries that it lacks; again does no harm."""
        if not rollout.unrecorded:
            return
        from learnloop.ledger import open_ledger

        entries = [_from_json(entry) for entry in rollout.unrecorded]
        try:
            append_to_journal(open_ledger(self.settings.ledger_url), *entries)
        except LearnLoopError as fault:
            _log.warning(
                "The journal lacks %d entries until the next move: %s", len(entries), fault.what
            )
            return
        taken = {entry.id for entry in entries}

        def strike(rollout: Rollout) -> Rollout:
            rest = tuple(entry for entry in rollout.unrecorded if entry["id"] not in taken)
            return dataclasses.replace(rollout, unrecorded=rest)

        self.place.change(strike)

    def _check_files(self, name: str, version: int) -> None:
        self.place.read().published_version(name, version)
        problem = self.place.why_not_as_published(name, version)
        if problem:
            raise CorruptArtifact(
                f"Version {version} of '{name}' cannot be put into service.",
                where=self.place.location,
                expected="every file as it was published",
                received=problem,
                next="move the version's folder away and push it again",
            )

    def _move_champion(
        self, name: str, version: int, why: str, only_from: Mapping[int, str] | None = None
    ) -> tuple[JournalEntry, ...]:
        """Point the alias at a version that comes from the registry.

        Args:
            name: The model's name.
            version: The published version, whose lineage names the registry's.
            why: For the journal.
            only_from: Move the alias only from one of these.

        Returns:
            The entry for the journal, if the alias was moved.
        """
        published = self.place.find(name, version)
        registered = published and published.manifest["lineage"].get(MLFLOW_VERSION)
        if not registered:
            return ()
        aliases = Aliases(self.settings.mlflow_uri)
        holder = aliases.alias_version(name, CHAMPION)
        if only_from is not None and holder not in {str(one) for one in only_from}:
            return ()
        aliases.set_alias(name, CHAMPION, registered)
        document = {"from": holder, "to": registered, "why": why}
        return (JournalEntry(CHAMPION, name, self.actor, document),)

    def _is_unrecorded_rollback(self, rollout: Rollout, name: str) -> bool:
        return any(
            entry["subject"] == name and entry["document"].get("move") == "rollback"
            for entry in rollout.unrecorded
        )


def _differ(before: ModelRollout, after: ModelRollout) -> bool:
    return before.summary() != after.summary() or before.published.keys() != after.published.keys()


def _to_json(entry: JournalEntry) -> dict[str, Any]:
    return {**vars(entry), "document": dict(entry.document), "at": entry.at.isoformat()}


def _from_json(document: Mapping[str, Any]) -> JournalEntry:
    return JournalEntry(**{**document, "at": datetime.fromisoformat(document["at"])})
