"""Which version of each model callers get: the one document that says so, and how it may change.

``rollout.json`` lies beside the published models; ``models.config``, which servers read, is made
from it. Everything here is a pure function from one document to the next; where the document lies
and how two writers keep out of each other's way is :mod:`serving.places`.

Servers are always told two labels. ``stable`` is the version in service; ``canary`` is the version
on trial, and while there is none it points at the stable one too, so that a caller who asks for a
label is answered whatever ends meanwhile. The version that was stable before stays loaded, so that
rolling back is no more than a label that moves.

TensorFlow Serving refuses a configuration, whole, that moves a label to a version which is not
loaded yet (``ServerCore::ReloadConfig`` updates labels before it adds models). So a move to a new
version is told in two steps: first load it, then point at it and drop what is no longer wanted.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from learnloop.errors import LearnLoopError, UsageError, closest

STABLE, CANARY = "stable", "canary"
FORMAT = 1


@dataclass(frozen=True)
class Told:
    """What servers are told of a model.

    Args:
        versions: The versions to load, the lowest first.
        labels: Version by label.
    """

    versions: tuple[int, ...] = ()
    labels: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelRollout:
    """How far the versions of one model are rolled out.

    Args:
        stable: The version in service.
        canary: The version on trial, if there is one.
        weight: The share of callers that the canary is for, 0 to 1.
        earlier: The versions that were in service before, the last one last.
        withdrawn: Why a version was taken out of service, by version.
        published: The versions that lie there, each with the moment since which no server is told
            of it, or at which it was published (ISO 8601, UTC).
        leaving: Versions that are being removed.
        told: What servers are told now: behind what they shall be told while a version loads.
        told_at: Since when.
    """

    stable: int
    canary: int | None = None
    weight: float = 0.0
    earlier: tuple[int, ...] = ()
    withdrawn: Mapping[int, str] = field(default_factory=dict)
    published: Mapping[int, str] = field(default_factory=dict)
    leaving: tuple[int, ...] = ()
    told: Told = Told()
    told_at: str = ""

    @property
    def wanted(self) -> Told:
        """What servers shall be told in the end.

        The highest loaded version is the stable one or the canary, because a caller who names
        neither version nor label gets the highest.
        """
        versions = {self.stable}
        if self.canary is not None:
            versions.add(self.canary)
        if self.earlier and self.earlier[-1] < self.stable:
            versions.add(self.earlier[-1])
        on_trial = self.stable if self.canary is None else self.canary
        return Told(tuple(sorted(versions)), {STABLE: self.stable, CANARY: on_trial})

    @property
    def is_settled(self) -> bool:
        """Whether servers are told all that they shall be."""
        return self.told == self.wanted

    def tell(self, poll: float) -> ModelRollout:
        """Take the next step towards what servers shall be told.

        A label moves only to a version that every server was told to load before.

        Args:
            poll: Seconds within which every server reads what it is told.
        """
        next_told = self.wanted
        targets = {
            next_told.labels[label]
            for label, version in self.told.labels.items()
            if next_told.labels[label] != version
        }
        is_unread = abs(self.seconds_told) < poll  # of a clock that jumped, nothing is known
        if not targets <= {*self.told.versions} or (targets and is_unread):
            versions = {*self.told.versions, *next_told.versions}
            next_told = Told(tuple(sorted(versions)), self.told.labels)
        if next_told == self.told:
            return self
        left = {version: moment() for version in {*self.told.versions} - {*next_told.versions}}
        return dataclasses.replace(
            self, told=next_told, told_at=moment(), published={**self.published, **left}
        )

    @property
    def seconds_told(self) -> float:
        """How long servers have been told what they are told now; forever, if nothing."""
        if not self.told_at:
            return math.inf
        since = datetime.fromisoformat(self.told_at)
        return (datetime.now(UTC) - since).total_seconds()

    def push(self, version: int, weight: float = 0.0) -> ModelRollout:
        """Take in a version that was just published.

        A version that was withdrawn, or is older than the stable one, lies there and no more.

        Args:
            version: Its number.
            weight: The share of callers to try it on; 0 puts it into service at once.
        """
        here = dataclasses.replace(
            self.end_removal(version), published={**self.published, version: moment()}
        )
        if version <= self.stable or version in self.withdrawn:
            return here
        return here.try_out(version, weight) if weight else here._with_stable(version)

    def try_out(self, version: int, weight: float) -> ModelRollout:
        """Make a version the canary, or give the canary another weight.

        Args:
            version: A published version.
            weight: The share of callers that it is for.

        Raises:
            UsageError: It is the stable one.
        """
        if version == self.stable:
            raise UsageError(
                f"Version {version} is in service already.",
                expected="another version than the stable one",
                received=version,
                next="learnloop serving status",
            )
        withdrawn = {one: why for one, why in self.withdrawn.items() if one != version}
        return dataclasses.replace(self, canary=version, weight=weight, withdrawn=withdrawn)

    def promote(self) -> ModelRollout:
        """Put the canary into service.

        Raises:
            UsageError: There is none.
        """
        if self.canary is None:
            raise UsageError(
                "There is no canary to promote.",
                expected="a version on trial",
                received=f"version {self.stable} in service, alone",
                next="learnloop serving canary NAME VERSION --weight 0.1",
            )
        return self._with_stable(self.canary)

    def roll_back(
        self, reason: str, to: int | None = None, only: int | None = None
    ) -> ModelRollout:
        """Take out of service what came last: the canary if there is one, else the stable version.

        Args:
            reason: Why.
            to: The version to put into service; it ends the canary too.
            only: The version that may go; nothing happens where another one would.

        Raises:
            UsageError: There was no version before.
        """
        if only not in (None, self.stable if self.canary is None else self.canary):
            return self
        ended = self
        if self.canary is not None and self.canary != to:
            withdrawn = {**self.withdrawn, self.canary: reason}
            ended = dataclasses.replace(self, canary=None, weight=0.0, withdrawn=withdrawn)
            if to is None:
                return ended
        if to is None and not self.earlier:
            raise UsageError(
                f"There is no version before {self.stable} to go back to.",
                expected="an earlier stable version",
                received="the first",
                next="learnloop serving rollback NAME --to VERSION --reason WHY",
            )
        target = self.earlier[-1] if to is None else to
        if target == self.stable:
            return ended
        cut = self.earlier.index(target) if target in self.earlier else len(self.earlier)
        withdrawn = {**ended.withdrawn, self.stable: reason}
        withdrawn.pop(target, None)
        return dataclasses.replace(
            ended,
            stable=target,
            canary=None,
            weight=0.0,
            earlier=self.earlier[:cut],
            withdrawn=withdrawn,
        )

    def begin_removal(self, versions: Sequence[int]) -> ModelRollout:
        """Strike versions whose files are about to go; see :mod:`serving.retention`.

        Args:
            versions: Those that no server is told of.
        """
        return dataclasses.replace(
            self,
            published={one: at for one, at in self.published.items() if one not in versions},
            earlier=tuple(one for one in self.earlier if one not in versions),
            leaving=(*self.leaving, *versions),
        )

    def end_removal(self, version: int) -> ModelRollout:
        """Strike a version whose files are gone.

        Args:
            version: One of ``leaving``.
        """
        leaving = tuple(one for one in self.leaving if one != version)
        return dataclasses.replace(self, leaving=leaving)

    def summary(self) -> dict[str, Any]:
        """Who gets what, for the journal and for people."""
        return {"stable": self.stable, "canary": self.canary, "weight": self.weight}

    def _with_stable(self, version: int) -> ModelRollout:
        earlier = (*(one for one in self.earlier if one != version), self.stable)
        return dataclasses.replace(self, stable=version, canary=None, weight=0.0, earlier=earlier)


@dataclass(frozen=True)
class Rollout:
    """The document: every model, and the moves that the journal has not taken yet.

    Args:
        models: By name.
        unrecorded: Entries for the journal, as JSON. They are written with the move itself, so
            that no kill and no ledger that is away loses one.
    """

    models: Mapping[str, ModelRollout] = field(default_factory=dict)
    unrecorded: tuple[Mapping[str, Any], ...] = ()

    def model(self, name: str) -> ModelRollout:
        """Look up a model.

        Args:
            name: Its name.

        Raises:
            UsageError: No model of this name is published.
        """
        if name not in self.models:
            raise UsageError(
                f"There is no published model '{name}'.",
                expected=closest(name, self.models),
                received=repr(name),
                next="learnloop serving status",
            )
        return self.models[name]

    def published_version(self, name: str, version: int) -> int:
        """Check that a version of a model lies there.

        Args:
            name: The model's name.
            version: The version.

        Raises:
            UsageError: It does not.
        """
        known = self.model(name).published
        if version not in known:
            numbers = ", ".join(str(number) for number in sorted(known))
            raise UsageError(
                f"Version {version} of '{name}' is not published.",
                expected=f"one of {numbers}",
                received=version,
                next=f"learnloop serving status {name}",
            )
        return version

    def with_model(self, name: str, model: ModelRollout) -> Rollout:
        """Give a model another state.

        Args:
            name: Its name.
            model: Its state.
        """
        return dataclasses.replace(self, models={**self.models, name: model})

    def to_json(self) -> str:
        """Write the document."""
        models = {name: dataclasses.asdict(model) for name, model in self.models.items()}
        document = {"format": FORMAT, "models": models, "unrecorded": list(self.unrecorded)}
        return json.dumps(document, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: bytes, where: object) -> Rollout:
        """Read the document.

        Args:
            text: JSON.
            where: Where it was read, for the error.

        Raises:
            LearnLoopError: It is not such a document, or a newer LearnLoop's.
        """
        try:
            document = json.loads(text)
            if document["format"] != FORMAT:
                raise ValueError(f"format {document['format']}")
            models = {name: _model(values) for name, values in document["models"].items()}
            return cls(models, tuple(document["unrecorded"]))
        except (ValueError, KeyError, TypeError, AttributeError) as fault:
            raise LearnLoopError(
                "The document of what is rolled out cannot be read.",
                where=where,
                expected=f"JSON of format {FORMAT}",
                received=repr(fault),
                next="restore the file from a backup, or move it away and push again",
            ) from None


def moment() -> str:
    """This moment as the document writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _model(values: Mapping[str, Any]) -> ModelRollout:
    told = values["told"]
    return ModelRollout(
        **{
            **values,
            "earlier": tuple(values["earlier"]),
            "leaving": tuple(values["leaving"]),
            "withdrawn": {int(version): why for version, why in values["withdrawn"].items()},
            "published": {int(version): at for version, at in values["published"].items()},
            "told": Told(tuple(told["versions"]), told["labels"]),
        }
    )
