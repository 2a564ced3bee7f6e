"""What any online store promises: the newest row of every key, all of a write or nothing of it.

* A **materialization** of a view becomes visible as a whole: a reader sees the rows from before it
  or from after it. With the rows the store changes the view's :class:`ViewState`, which says up to
  when the source has been read; who finds the state changed while they worked is told so.
* A row never replaces a newer one: the later ``(event time, created)`` stays, whoever writes last.
* A view without a state is not an empty view: it was never materialized, or the store lost its
  data. Reading or pushing is refused then, so that no model is fed with silent nulls.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from feature_store.online.packing import RowSchema
from learnloop.errors import LearnLoopError, UsageError

if TYPE_CHECKING:
    from learnloop.settings import Settings

Row = tuple[bytes, bytes]
"""A key and a packed row."""


class OnlineStoreUnavailable(LearnLoopError):
    """The online store does not answer."""


class NotMaterialized(LearnLoopError):
    """The online store holds nothing of a view."""


class MaterializationConflict(LearnLoopError):
    """Somebody else changed a view while it was being materialized."""


@dataclass(frozen=True)
class ViewState:
    """What a store knows of a view.

    Args:
        schema: The fingerprint, in hexadecimal, of the schema that was written last.
        watermark: Up to when the source has been read, in microseconds since 1970.
        materialization: A name of this state that no other state has.
    """

    schema: str
    watermark: int
    materialization: str = field(default_factory=lambda: uuid.uuid4().hex)

    @classmethod
    def from_json(cls, text: str | bytes) -> ViewState:
        """Read what :meth:`to_json` wrote."""
        return cls(**json.loads(text))

    def to_json(self) -> str:
        """Write the state as a line of text."""
        return json.dumps(asdict(self))

    def renewed(self) -> ViewState:
        """The same state under another name: whoever is at work on this one will be refused."""
        return replace(self, materialization=uuid.uuid4().hex)


@dataclass(frozen=True)
class Materialization:
    """A change of a view as a whole.

    Args:
        view: The view's name in the store.
        schema: The schema that the rows are packed with.
        before: The state that the rows were made from; None for a view that has none.
        after: The state that the view has once the rows are there.
    """

    view: str
    schema: RowSchema
    before: ViewState | None
    after: ViewState


class OnlineStore(Protocol):
    """Where the newest rows are.

    Every method raises :class:`OnlineStoreUnavailable`, within seconds, if the store does not
    answer. All of them may be called by several threads and processes at once.
    """

    @property
    def name(self) -> str:
        """What people call the store."""
        ...

    def state(self, view: str) -> ViewState | None:
        """What the store knows of a view; None if it holds nothing of it."""
        ...

    def views(self) -> list[str]:
        """The views that the store holds something of, sorted."""
        ...

    def schema(self, fingerprint: bytes) -> RowSchema:
        """The schema that a row says it was packed with."""
        ...

    def read(self, wanted: Sequence[tuple[str, Sequence[bytes]]]) -> list[list[bytes | None]]:
        """Read rows, all of them as they are at one moment.

        Args:
            wanted: Views, each with keys.

        Returns:
            For each view its rows in the order of the keys, None where there is none.

        Raises:
            NotMaterialized: The store holds nothing of one of the views.
        """
        ...

    def materialize(self, change: Materialization, batches: Iterable[Sequence[Row]]) -> int:
        """Add rows to a view and change its state, all at one moment.

        Args:
            change: The view and its states.
            batches: Rows; a row that the store has a newer one of is passed over.

        Returns:
            How many rows were given.

        Raises:
            MaterializationConflict: The view's state is not ``change.before`` any more.
        """
        ...

    def push(self, view: str, schema: RowSchema, rows: Sequence[Row]) -> None:
        """Add rows to a view, each at once.

        Args:
            view: The view's name in the store.
            schema: The schema that they are packed with.
            rows: Rows; one that the store has a newer one of is passed over.

        Raises:
            NotMaterialized: The store holds nothing of the view.
        """
        ...

    def erase(self, view: str, parts: Collection[bytes]) -> int:
        """Remove rows so that no byte of them stays, and refuse materializations under way.

        Args:
            view: The view's name in the store.
            parts: Parts of keys; rows that have one of them, wherever in their key, are removed.

        Returns:
            How many rows were removed.
        """
        ...

    def drop(self, view: str) -> None:
        """Remove all that the store holds of a view."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


def not_materialized(view: str, store: str) -> NotMaterialized:
    """Say that a store holds nothing of a view.

    Args:
        view: The view's name in the store.
        store: What people call the store.
    """
    return NotMaterialized(
        f"The online store holds nothing of feature view '{plain_name(view)}': it was never "
        "materialized, or the store lost its data.",
        where=store,
        next=f"learnloop features materialize --view {plain_name(view)}",
    )


def conflict(view: str, store: str) -> MaterializationConflict:
    """Say that a view was changed by somebody else.

    Args:
        view: The view's name in the store.
        store: What people call the store.
    """
    return MaterializationConflict(
        f"Feature view '{plain_name(view)}' was materialized or erased from by somebody else "
        "meanwhile; nothing was written.",
        where=store,
        next=f"learnloop features materialize-incremental --view {plain_name(view)}",
    )


def unknown_schema(fingerprint: bytes, store: str) -> LearnLoopError:
    """Say that a row cannot be read.

    Args:
        fingerprint: What the row says of its schema.
        store: What people call the store.
    """
    return LearnLoopError(
        "The online store has a row of a schema that it does not know.",
        where=store,
        received=f"schema {fingerprint.hex()}",
        next="learnloop features materialize",
    )


def stored_name(view: str, pseudonyms: str) -> str:
    """Name a view in a store.

    Rows under another pseudonym key are other rows: they are never found by a new key and are
    dropped once the view has been materialized under it.

    Args:
        view: The view's name.
        pseudonyms: The name of the pseudonym key; empty where there is none.
    """
    return f"{view}.{pseudonyms}" if pseudonyms else view


def plain_name(stored: str) -> str:
    """The view's own name."""
    return stored.partition(".")[0]


def open_online_stores(settings: Settings) -> tuple[OnlineStore, ...]:
    """Open the online stores that the settings name.

    Whoever writes, writes to all of them; whoever reads takes the first that has an answer.

    Args:
        settings: ``features_online`` names the store; with ``features_fallback`` SQLite is kept in
            step behind Redis.

    Returns:
        The store, then the one that takes its place when it fails.

    Raises:
        UsageError: The setting names no store.
    """
    from feature_store.online.sqlite import SqliteStore

    local = SqliteStore(settings.home_folder / "features" / "online.db")
    url = settings.features_online
    if not url:
        return (local,)
    if not url.startswith(("redis://", "rediss://")):
        raise UsageError(
            "The setting 'features_online' names no online store.",
            where="learnloop.toml or LEARNLOOP_FEATURES_ONLINE",
            expected="redis://host:port/number, rediss://host:port/number, or nothing for SQLite",
            received=repr(url.partition("@")[2] or url),
        )
    from feature_store.online.redis import RedisStore

    return (RedisStore(url), local) if settings.features_fallback else (RedisStore(url),)
