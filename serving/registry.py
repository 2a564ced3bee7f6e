"""The model registry, asked lightly: who stands behind an alias, and moving one.

Importing MLflow takes longer than a whole cached run may, so the facts that keys and checks
need (the version behind an alias, the tags of a version) are read from its database by SQL where
MLflow keeps one, and through its client elsewhere. A test holds the two ways to each other.
Registering and fetching models is :mod:`components.engines.registry`.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from learnloop.errors import LearnLoopError

if TYPE_CHECKING:
    import sqlalchemy as sa
    from mlflow import MlflowClient

CHAMPION = "champion"
CHALLENGER = "challenger"
DIGEST_TAG = "learnloop.model_digest"
RUN_TAG = "learnloop.run_id"
"""The run that registered a version, in the ledger."""
ERASED_TAG = "learnloop.trained_with_erased"
"""The day on which a person was erased with whose rows a version was trained."""


@dataclass(frozen=True)
class Aliases:
    """The aliases of MLflow's registry at one place.

    Args:
        uri: MLflow's tracking and registry URI.
    """

    uri: str

    def alias_version(self, name: str, alias: str) -> str | None:
        """The version behind an alias.

        Args:
            name: The registered model.
            alias: ``champion`` or ``challenger``.

        Returns:
            The version; None where the model or the alias does not exist.
        """
        if self.is_database:
            found = self._query(
                "SELECT version FROM registered_model_aliases"
                " WHERE name = :name AND alias = :alias",
                name=name,
                alias=alias,
            )
            return str(found[0][0]) if found else None
        for model in self.client().search_registered_models(f"name = '{name}'"):
            version = model.aliases.get(alias)
            return None if version is None else str(version)
        return None

    def version_digest(self, name: str, version: str) -> str | None:
        """The model's content digest, as it was tagged when the version was made.

        Args:
            name: The registered model.
            version: The version.

        Returns:
            The digest; None where there is no such version.
        """
        return self.version_tag(name, version, DIGEST_TAG)

    def version_tag(self, name: str, version: str, tag: str) -> str | None:
        """A fact that was noted beside a version.

        Args:
            name: The registered model.
            version: The version.
            tag: The tag's name.

        Returns:
            Its value; None where there is no such version or tag.
        """
        if self.is_database:
            found = self._query(
                "SELECT t.value FROM model_version_tags t JOIN model_versions v"
                " ON v.name = t.name AND v.version = t.version"
                " WHERE t.name = :name AND t.version = :version AND t.key = :key"
                " AND v.current_stage <> 'Deleted_Internal'",
                name=name,
                version=int(version),
                key=tag,
            )
            return str(found[0][0]) if found else None
        for found_version in self.client().search_model_versions(f"name = '{name}'"):
            if str(found_version.version) == version:
                value = found_version.tags.get(tag)
                return None if value is None else str(value)
        return None

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Point an alias at a version.

        Args:
            name: The registered model.
            alias: ``champion`` or ``challenger``.
            version: The version.

        Raises:
            LearnLoopError: MLflow did not do so.
        """
        from mlflow.exceptions import MlflowException

        try:
            self.client().set_registered_model_alias(name, alias, version)
        except MlflowException as fault:
            raise LearnLoopError(
                f"MLflow did not point the alias {alias} of '{name}' at version {version}.",
                where=without_password(self.uri),
                received=str(fault).partition("\n")[0],
                next="check that MLflow runs, then run the same command again",
            ) from fault

    def tag_version(self, name: str, version: str, tag: str, value: str) -> bool:
        """Note a fact beside a version.

        Args:
            name: The registered model.
            version: The version.
            tag: The tag's name.
            value: Its value.

        Returns:
            Whether there is such a version; one that was deleted needs no notes.

        Raises:
            LearnLoopError: MLflow did not do so.
        """
        from mlflow.exceptions import MlflowException

        try:
            self.client().set_model_version_tag(name, version, tag, value)
        except MlflowException as fault:
            if fault.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise LearnLoopError(
                f"MLflow did not take a note of version {version} of '{name}'.",
                where=without_password(self.uri),
                received=str(fault).partition("\n")[0],
                next="check that MLflow runs, then run the same command again",
            ) from fault
        return True

    def untag_version(self, name: str, version: str, tag: str) -> None:
        """Take back a fact that was noted beside a version, if it was.

        Args:
            name: The registered model.
            version: The version.
            tag: The tag's name.
        """
        if self.version_tag(name, version, tag) is not None:
            self.client().delete_model_version_tag(name, version, tag)

    @property
    def is_database(self) -> bool:
        """Whether MLflow keeps the registry in a database that can be asked by SQL."""
        return self.uri.startswith(("sqlite:", "postgresql", "mysql"))

    def client(self) -> MlflowClient:
        """MLflow's client, one for each URI and process."""
        if self.uri.startswith("sqlite:///"):
            Path(self.uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        return _client(self.uri)

    def _query(self, statement: str, **values: Any) -> list[Any]:
        import sqlalchemy as sa
        from sqlalchemy.exc import SQLAlchemyError

        if self.uri.startswith("sqlite:///") and not Path(self.uri[len("sqlite:///") :]).exists():
            return []
        try:
            with _engine(self.uri).connect() as connection:
                if not sa.inspect(connection).has_table("registered_model_aliases"):
                    return []
                return list(connection.execute(sa.text(statement), values))
        except SQLAlchemyError as fault:
            raise LearnLoopError(
                "The model registry's database did not answer.",
                where=without_password(self.uri),
                received=str(fault).partition("\n")[0],
                next="start it, or set LEARNLOOP_MLFLOW",
            ) from fault


@functools.cache
def _client(uri: str) -> MlflowClient:
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    from mlflow import MlflowClient

    with quiet():
        return MlflowClient(tracking_uri=uri, registry_uri=uri)


@functools.cache
def _engine(uri: str) -> sa.Engine:
    import sqlalchemy as sa

    return sa.create_engine(uri)


@contextmanager
def quiet() -> Iterator[None]:
    """MLflow and Alembic announce every step they take; a pipeline's log is not for that."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def without_password(uri: str) -> str:
    """Write a registry's URI so that it may be shown."""
    import sqlalchemy as sa

    if "://" not in uri or uri.startswith("http"):
        return uri
    return sa.make_url(uri).render_as_string(hide_password=True)
