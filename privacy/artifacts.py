"""A person in the artifacts of runs: found by the columns that name learners, followed downstream.

What holds rows goes, whole executions at a time, as they were published; so does what lies about in
scratch space. What holds none stays (a model, its evaluation) and is marked in the ledger. A step
that is being executed meanwhile may have read rows that are gone now, so whoever calls this waits
for such steps and calls it again, until it finds nothing.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from feature_store.erased import learner_columns
from feature_store.erasure import Erased
from learnloop.artifacts import Artifact, Examples, Records, Statistics
from learnloop.component import load_object
from learnloop.errors import CorruptArtifact, LearnLoopError, UsageError
from learnloop.holding import is_held
from learnloop.ledger import ArtifactRecord, Ledger
from learnloop.ledger.erasing import (
    Made,
    mark_erased,
    marked_by,
    published_artifacts,
    trace_downstream,
    unpublished,
)
from learnloop.ledger.journal import JournalEntry
from learnloop.settings import Settings
from learnloop.store import Store, open_store
from privacy.tables import rows_naming


@dataclass(frozen=True)
class ArtifactPlaces:
    """Where the artifacts are.

    Args:
        settings: Names them.
        ledger: Knows what was made of what.
        store: Holds the files.
    """

    settings: Settings
    ledger: Ledger
    store: Store

    @property
    def columns(self) -> frozenset[str]:
        """The columns that hold a learner's identifier."""
        return learner_columns(self.settings)

    def uri(self, made: Made) -> str:
        """Where an artifact is in this store, whatever the store was called when it was made."""
        return self.store.uri(made.location or "", made.artifact.output)

    def published(self) -> list[Made]:
        """List the artifacts that are in this store, the oldest first."""
        here = set(self.store.executions())
        return [one for one in published_artifacts(self.ledger) if one.location in here]

    def count_rows(self, made: Made, is_theirs: Callable[[str], bool]) -> int | None:
        """Count the rows of an artifact of tables that name one of some people.

        Args:
            made: The artifact, which is in this store.
            is_theirs: Tells, by an identifier, whether it is one of theirs.

        Returns:
            How many, nought if it is no artifact of tables; None where they cannot be counted.
        """
        kind = _kind(made.artifact)
        if kind is None or not issubclass(kind, (Records, Examples)):
            return 0
        try:
            return rows_naming(self.store.fetch(self.uri(made)), self.columns, is_theirs)
        except CorruptArtifact:
            return None


def open_artifacts(settings: Settings, ledger: Ledger) -> ArtifactPlaces:
    """Open the store.

    Args:
        settings: Where things are.
        ledger: The ledger.
    """
    store = open_store(settings.store_location, str(settings.home_folder))
    return ArtifactPlaces(settings, ledger, store)


def sweep_artifacts(places: ArtifactPlaces, erasure: JournalEntry, learner: str) -> list[Erased]:
    """Remove every execution with rows of a person, or made of them, that is published now.

    Args:
        places: Where the artifacts are.
        erasure: The entry that began the erasure.
        learner: The person.

    Returns:
        What was removed; nothing if nothing was found.

    Raises:
        UsageError: The store belongs to another ledger.
        LearnLoopError: A file could not be removed.
    """
    ledger, store = places.ledger, places.store
    made = places.published()
    found = {
        one.artifact.id: rows
        for one in made
        if (rows := places.count_rows(one, learner.__eq__)) != 0
    }
    marked = {one.artifact.id for one in marked_by(ledger, erasure)}  # an earlier sweep's
    downstream = trace_downstream(ledger, marked.union(found))
    going = {
        one.execution_id
        for one in made
        if one.artifact.id in found
        or (one.artifact.id in downstream and _holds_person(places, one))
    }
    leaving = [one for one in made if one.execution_id in going]
    mark_erased(ledger, erasure, {*downstream, *(one.artifact.id for one in leaving)}, going)
    _purge(ledger, store)
    return _told(leaving, found)


def remove_leftovers(places: ArtifactPlaces, began: float) -> None:
    """Remove what steps left about: staging folders, unfinished uploads, scratch space.

    What a living process holds stays; it began after the person was listed.

    Args:
        places: Where the artifacts are.
        began: When the command began, in seconds since 1970: what is on S3 without a manifest since
            then may be on its way.
    """
    is_shared = places.settings.store_location.startswith("s3://")
    places.store.remove_abandoned(time.time() - began if is_shared else 0.0)
    for folder in (places.settings.home_folder / "scratch").glob("*"):
        if not is_held(folder):
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(folder)


def tell_other_stores(places: ArtifactPlaces) -> list[Erased]:
    """Tell of stores that runs of this ledger filled and that are not the one named now.

    Args:
        places: Where the artifacts are.
    """
    here, others = set(places.store.executions()), set()
    for one in published_artifacts(places.ledger):
        end = f"/{one.location}/{one.artifact.output}"
        root = one.artifact.uri.removesuffix(end)
        if one.location not in here and root != places.uri(one).removesuffix(end):
            others.add(root.removesuffix("/artifacts"))
    return [
        Erased(f"artifacts in {root}", 0, "another store: set LEARNLOOP_STORE, and erase again")
        for root in sorted(others)
    ]


def _kind(artifact: ArtifactRecord) -> type[Artifact] | None:
    """The type of an artifact; None where it is no longer in the code."""
    try:
        kind = load_object(artifact.type)
    except LearnLoopError:
        return None
    return kind if isinstance(kind, type) and issubclass(kind, Artifact) else None


def _holds_person(places: ArtifactPlaces, made: Made) -> bool:
    """Whether an artifact that was made of a person's rows still has something of them."""
    kind = _kind(made.artifact)
    if kind is None or kind.holds_rows:
        return True
    return issubclass(kind, Statistics) and _describes_learners(places, made)


def _describes_learners(places: ArtifactPlaces, made: Made) -> bool:
    """Whether statistics tell of a column that names learners, say its least and greatest value."""
    try:
        folder = places.store.fetch(places.uri(made))
        texts = [file.read_bytes() for file in folder.glob("*.statistics.pb")]
    except (CorruptArtifact, OSError):
        return True
    return any(name.encode() in text for text in texts for name in places.columns)


def _purge(ledger: Ledger, store: Store) -> None:
    """Remove from the store what the ledger has given up; killed, the next call goes on."""
    published = {one.rpartition("/")[2]: one for one in store.executions()}
    known, given_up = ledger.execution_ids(), unpublished(ledger)
    if published and not published.keys() & known:
        raise UsageError(
            "The ledger knows nothing of what the store holds: nobody can tell who is in it.",
            where="the store",
            expected="the ledger of the runs that filled this store",
            received=ledger.location,
            next="set LEARNLOOP_LEDGER, or empty the store by hand",
        )
    for one, location in sorted(published.items()):
        if one in given_up or one not in known:
            store.purge(location)


def _told(leaving: Iterable[Made], found: Mapping[str, int | None]) -> list[Erased]:
    """Put together what was removed, by pipeline and step."""
    executions: dict[str, set[str]] = {}
    rows: Counter[str] = Counter()
    for one in leaving:
        step = (one.location or "").rpartition("/")[0]
        executions.setdefault(step, set()).add(one.execution_id)
        rows[step] += found.get(one.artifact.id) or 0
    return [
        Erased(f"artifacts of {step}, {_count(ids)}", rows[step])
        for step, ids in sorted(executions.items())
    ]


def _count(executions: Collection[str]) -> str:
    return f"{len(executions)} execution{'' if len(executions) == 1 else 's'}"
