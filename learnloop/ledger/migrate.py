"""Bringing a ledger's schema up to date, with Alembic; imported only when that is needed."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from learnloop.errors import LearnLoopError

MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 7_201_934


def migrate(engine: sa.Engine, revision: str) -> None:
    """Run the migrations that a ledger lacks; processes that do so at once wait for each other.

    Args:
        engine: The ledger's database.
        revision: The revision to reach.

    Raises:
        LearnLoopError: The ledger is newer than this LearnLoop.
    """
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(sa.text(f"SELECT pg_advisory_lock({_LOCK})"))
            else:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
            connection.commit()
            if engine.dialect.name == "postgresql":
                connection.execute(sa.text(f"SELECT pg_advisory_unlock({_LOCK})"))
                connection.commit()
    except CommandError as fault:
        raise LearnLoopError(
            "The ledger was written by a newer LearnLoop.",
            where=engine.url.render_as_string(hide_password=True),
            expected=f"schema {revision} or older",
            received=fault,
            next="install the newer LearnLoop",
        ) from fault
