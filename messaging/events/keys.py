"""Every learner's own key: what is sealed under it can be read until it is destroyed.

A key is random, and wrapped under the master key. It is found by its reference, a keyed pseudonym
of the learner. Destroying it leaves a tombstone: a digest of the reference, which is itself in no
row any more. So whoever tells or collects events knows that the learner was erased, and nobody can
tell from the tombstone who that was.

The keys lie in the ledger's PostgreSQL, or else in an SQLite file of their own, which overwrites
what is deleted and keeps no write-ahead log: no byte of a destroyed key is left in a file.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from learnloop.errors import UsageError
from learnloop.ledger.connecting import chunks, connect_patiently, explain_faults
from learnloop.ledger.opening import POSTGRESQL
from learnloop.settings import Settings
from learnloop.store.local import explain_disk_faults
from messaging.events.master_keys import KEY_BYTES, VARIABLE, MasterKey, load_master_keys

FILE = "event_keys.db"
MOST_CACHED = 100_000
"""Keys kept in memory, some hundred bytes each."""

_LOCK = 7_201_935
_metadata = sa.MetaData()
_keys = sa.Table(
    "event_keys",
    _metadata,
    sa.Column("reference", sa.String(32), primary_key=True),
    sa.Column("wrapped", sa.LargeBinary, nullable=False),
)
_erased = sa.Table(
    "event_keys_erased", _metadata, sa.Column("tombstone", sa.String(32), primary_key=True)
)


class ErasedLearner(UsageError):
    """Events of a learner who was erased; nothing is ever sealed for them again."""


@dataclass(frozen=True)
class LearnerKey:
    """A learner's key.

    Args:
        reference: What names it in Kafka.
        cipher: AES-256-GCM under it.
    """

    reference: str
    cipher: Any = field(repr=False)


class LearnerKeys:
    """The learners' keys in a database, for any number of threads and processes.

    Args:
        url: The database, as SQLAlchemy names it.
        masters: The master keys, the one in use first; at least one.

    Raises:
        LearnLoopError: The database cannot be reached.
    """

    def __init__(self, url: str, masters: Collection[MasterKey]) -> None:
        self._masters = tuple(masters)
        self._engine = _open_engine(url)
        self._place = sa.make_url(url).render_as_string(hide_password=True)
        self._own: dict[str, LearnerKey] = {}
        self._found: dict[str, LearnerKey | None] = {}
        self._erasures = 0
        self._lock = threading.Lock()
        """What is read before an erasure must not come into the memory behind it."""
        with self._changing() as connection:
            _metadata.create_all(connection)

    def references(self, learner: str) -> list[str]:
        """Name a learner's key under every master key.

        Args:
            learner: The learner's id.
        """
        return [master.reference(learner) for master in self._masters]

    def to_seal(self, learners: Collection[str]) -> dict[str, LearnerKey]:
        """Find the keys of learners, making those that are not there.

        Args:
            learners: The learners' ids.

        Returns:
            Each one's key.

        Raises:
            ErasedLearner: One of them was erased.
            LearnLoopError: The database did not do as asked.
        """
        with self._lock:
            self._bound(self._own, learners)
            unknown = sorted({*learners} - self._own.keys())
            if unknown:
                self._own.update(self._look_up(unknown) or self._make(unknown))
            return {learner: self._own[learner] for learner in learners}

    def to_open(self, references: Collection[str]) -> dict[str, LearnerKey | None]:
        """Find the keys that events were sealed under.

        Args:
            references: What names them.

        Returns:
            By reference: the key, or None if it was destroyed. One that is not there is not known.

        Raises:
            LearnLoopError: The database did not do as asked.
        """
        with self._lock:
            self._bound(self._found, references)
            unknown = sorted({*references} - self._found.keys())
            if unknown:
                with self._reading() as connection:
                    self._found.update(self._read(connection, unknown))
                    self._found.update(dict.fromkeys(_read_erased(connection, unknown)))
            return {one: self._found[one] for one in references if one in self._found}

    def refresh(self) -> None:
        """Forget what was destroyed since; what is sealed or opened from now on knows of it.

        Raises:
            LearnLoopError: The database did not do as asked.
        """
        count = sa.select(sa.func.count()).select_from(_erased)
        with self._lock:
            with self._reading() as connection:
                erasures = connection.execute(count).scalar_one()
            if erasures != self._erasures:
                self._forget()
                self._erasures = erasures

    def destroy(self, learner: str) -> bool:
        """Remove a learner's key for good, and refuse the learner's events from now on.

        Args:
            learner: The learner's id.

        Returns:
            Whether there was a key.

        Raises:
            LearnLoopError: The database did not do as asked; call it again.
        """
        references = self.references(learner)
        with self._lock, self._changing() as connection:
            self._forget()
            erased = {_tombstone(one) for one in references}
            there = connection.execute(
                sa.select(_erased.c.tombstone).where(_erased.c.tombstone.in_(erased))
            )
            new = erased - set(there.scalars())
            if new:
                rows = [{"tombstone": tombstone} for tombstone in sorted(new)]
                connection.execute(sa.insert(_erased), rows)
            gone = connection.execute(sa.delete(_keys).where(_keys.c.reference.in_(references)))
        self._forget_bytes()
        return bool(gone.rowcount)

    def _forget(self) -> None:
        self._own.clear()
        self._found.clear()

    def _look_up(self, learners: list[str]) -> dict[str, LearnerKey]:
        """Find keys without holding up whoever makes some; nothing if one has to be made."""
        with self._reading() as connection:
            found = self._read_of(connection, learners)
        return found if len(found) == len(learners) else {}

    def _make(self, learners: list[str]) -> dict[str, LearnerKey]:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        master = self._masters[0]
        with self._changing() as connection:
            names = {name: learner for learner in learners for name in self.references(learner)}
            if erased := {names[name] for name in _read_erased(connection, list(names))}:
                raise ErasedLearner(
                    "Events of a learner who was erased are not told.",
                    where="what was to be sent",
                    expected="events of learners who were not erased",
                    received=f"{len(erased)} who were",
                    next="remove them from where the events come from",
                )
            found = self._read_of(connection, learners)
            made = {}
            for learner in learners:
                if learner not in found:
                    reference, secret = master.reference(learner), os.urandom(KEY_BYTES)
                    made[reference] = master.wrap(reference, secret)
                    found[learner] = LearnerKey(reference, AESGCM(secret))
            if made:
                rows = [{"reference": one, "wrapped": wrapped} for one, wrapped in made.items()]
                connection.execute(sa.insert(_keys), rows)
        return found

    def _read_of(self, connection: sa.Connection, learners: list[str]) -> dict[str, LearnerKey]:
        """Read the keys there are of learners, who may have been named under an old master key."""
        names = {learner: self.references(learner) for learner in learners}
        keys = self._read(connection, [name for own in names.values() for name in own])
        found = {
            learner: [keys[name] for name in own if name in keys] for learner, own in names.items()
        }
        return {learner: own[0] for learner, own in found.items() if own}

    def _read(self, connection: sa.Connection, references: list[str]) -> dict[str, LearnerKey]:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        found = {}
        for some in chunks(references):
            rows = connection.execute(sa.select(_keys).where(_keys.c.reference.in_(some)))
            for reference, wrapped in rows:
                found[reference] = LearnerKey(reference, AESGCM(self._unwrap(reference, wrapped)))
        return found

    def _unwrap(self, reference: str, wrapped: bytes) -> bytes:
        for master in self._masters:
            secret = master.unwrap(reference, wrapped)
            if secret is not None:
                return secret
        raise UsageError(
            "A learner's key was wrapped under another master key.",
            where=f"{self._place}, the environment variable {VARIABLE}",
            expected="the master key of that time, after the one in use",
            next=f'export {VARIABLE}="NEW,OLD"',
        )

    @staticmethod
    def _bound(cache: dict[str, Any], wanted: Collection[str]) -> None:
        if len(cache) + len(wanted) > MOST_CACHED:
            cache.clear()

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with _explained(self._place), connect_patiently(self._engine) as connection:
            yield connection

    @contextmanager
    def _changing(self) -> Iterator[sa.Connection]:
        """Change keys in one transaction, one after the other: no key is made while one goes."""
        with _explained(self._place), connect_patiently(self._engine) as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            else:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            connection.commit()

    def _forget_bytes(self) -> None:
        """Have PostgreSQL write the rows anew; SQLite has overwritten what was deleted."""
        if self._engine.dialect.name != "postgresql":
            return
        with _explained(self._place), connect_patiently(self._engine) as connection:
            own = connection.execution_options(isolation_level="AUTOCOMMIT")
            own.exec_driver_sql(f"VACUUM FULL {_keys.name}")


def open_learner_keys(settings: Settings) -> LearnerKeys | None:
    """Open the learners' keys, where events are sealed.

    Args:
        settings: Say where the ledger is, or the home folder.

    Returns:
        The keys; None if the environment has no master key and no learner has a key.

    Raises:
        UsageError: The master key does not fit, or learners have keys and there is no master key:
            their events would be told plain, or left as they are by an erasure.
        LearnLoopError: The database cannot be reached.
    """
    url = settings.ledger_url
    if sa.make_url(url).get_backend_name() != "postgresql":
        url = f"sqlite:///{settings.home_folder / FILE}"
    masters = load_master_keys()
    if masters:
        with explain_disk_faults(settings.home_folder):
            settings.home_folder.mkdir(parents=True, exist_ok=True)
        return LearnerKeys(url, masters)
    if _is_there(url):
        place = sa.make_url(url).render_as_string(hide_password=True)
        raise UsageError(
            "Events are sealed here, and there is no master key.",
            where=f"the environment variable {VARIABLE}",
            expected=f"the key that wrapped those in {place}",
            received="nothing",
            next=f"set {VARIABLE}, then do the same again",
        )
    return None


def _is_there(url: str) -> bool:
    """Whether learners' keys were ever kept in a database; it is not made by asking."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return Path(str(parsed.database)).exists()
    engine = _open_engine(url)
    place = parsed.render_as_string(hide_password=True)
    with _explained(place), connect_patiently(engine) as connection:
        is_there = sa.inspect(connection).has_table(_keys.name)
    engine.dispose()
    return is_there


def _explained(place: str) -> AbstractContextManager[None]:
    return explain_faults(place, "The database of the learners' keys", "do the same again")


def _open_engine(url: str) -> sa.Engine:
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "postgresql":
        arguments = {**POSTGRESQL, **parsed.query}
        return sa.create_engine(parsed, pool_pre_ping=True, connect_args=arguments)
    engine = sa.create_engine(parsed)
    sa.event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: Any, record: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("busy_timeout=60000", "journal_mode=DELETE", "secure_delete=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _tombstone(reference: str) -> str:
    return hashlib.sha256(f"erased\0{reference}".encode()).hexdigest()[:32]


def _read_erased(connection: sa.Connection, references: list[str]) -> list[str]:
    """Tell which references are of learners who were erased."""
    by_tombstone = {_tombstone(reference): reference for reference in references}
    found: list[str] = []
    for some in chunks(list(by_tombstone)):
        rows = connection.execute(sa.select(_erased).where(_erased.c.tombstone.in_(some)))
        found += [by_tombstone[tombstone] for tombstone in rows.scalars()]
    return found
