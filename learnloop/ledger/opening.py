"""Opening the ledger: one connection pool for each database and process, the schema current."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from learnloop.errors import LearnLoopError
from learnloop.ledger.ledger import Ledger

SCHEMA_REVISION = "0003"
"""The newest migration; a test holds it to the migrations folder."""

POSTGRESQL = {"connect_timeout": 10, "keepalives_idle": 30, "tcp_user_timeout": 60_000}
"""A server that is gone without a word is noticed (seconds, seconds, milliseconds)."""


@cache
def open_ledger(url: str) -> Ledger:
    """Open the ledger, bringing its schema up to date.

    Args:
        url: An SQLAlchemy URL; an SQLite file is made where it does not exist.

    Returns:
        The ledger, one per URL and process.

    Raises:
        LearnLoopError: The database cannot be reached, or is newer than this LearnLoop.
    """
    parsed = sa.make_url(url)
    is_sqlite = parsed.get_backend_name() == "sqlite"
    if is_sqlite and parsed.database:
        _make_folder(Path(parsed.database).parent)
    is_postgresql = parsed.get_backend_name() == "postgresql"
    arguments = {**POSTGRESQL, **parsed.query} if is_postgresql else {}
    engine = sa.create_engine(parsed, pool_pre_ping=not is_sqlite, connect_args=arguments)
    if is_sqlite:
        sa.event.listen(engine, "connect", _prepare_sqlite)
    try:
        if _revision(engine) != SCHEMA_REVISION:
            from learnloop.ledger.migrate import migrate

            migrate(engine, SCHEMA_REVISION)
    except OperationalError as fault:
        raise LearnLoopError(
            "The ledger cannot be opened.",
            where=parsed.render_as_string(hide_password=True),
            received=str(fault.orig).strip().partition("\n")[0],
            next="start the database, or set LEARNLOOP_LEDGER",
        ) from fault
    return Ledger(engine)


def _make_folder(folder: Path) -> None:
    from learnloop.store.local import explain_disk_faults

    with explain_disk_faults(folder):
        folder.mkdir(parents=True, exist_ok=True)


def _prepare_sqlite(connection: Any, record: Any) -> None:
    """Write-ahead logging lets readers read while one writes; waiting beats failing."""
    cursor = connection.cursor()
    for pragma in (
        "busy_timeout=60000",  # first: the others may have to wait
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _revision(engine: sa.Engine) -> str | None:
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
