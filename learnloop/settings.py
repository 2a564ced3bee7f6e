"""Where things are: one typed settings object from the environment, then a file, then defaults.

The file is ``learnloop.toml`` in the project's root; the environment's names are ``LEARNLOOP_`` and
the field in capitals. Secrets are not settings: they are read from the environment by the library
that needs them (``AWS_…``, ``MLFLOW_TRACKING_PASSWORD``), or as ``LEARNLOOP_CONNECTION_<NAME>``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from learnloop.errors import UsageError

SETTINGS_FILE = "learnloop.toml"


def project_root() -> Path:
    """Find the project: ``LEARNLOOP_PROJECT``, else the nearest folder with ``learnloop.toml``.

    Returns:
        An absolute path; the current folder when neither is there.
    """
    named = os.environ.get("LEARNLOOP_PROJECT")
    if named:
        return Path(named).resolve()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / SETTINGS_FILE).is_file():
            return folder
    return here


Days = Annotated[str, Field(pattern=r"^([1-9][0-9]{0,5}d)?$")]


class Retention(BaseModel):
    """How old what is kept may grow, in days as ``400d``; what is not given is kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    events: Days = Field("", description="Collected learner events.")
    predictions: Days = Field("", description="The prediction log.")
    features: Days = Field("", description="Rows that were pushed to the feature store.")
    artifacts: Days = Field("", description="Runs and what only they need, by the day they began.")


class Settings(BaseSettings):
    """Where artifacts, the ledger, the registry and published models are.

    Relative paths are relative to the project's root.
    """

    model_config = SettingsConfigDict(env_prefix="LEARNLOOP_", frozen=True, extra="forbid")

    home: Path = Field(Path(".learnloop"), description="Local state: store, ledger, logs, scratch.")
    store: str = Field("", description="Where artifacts live: a folder or s3://bucket/prefix.")
    ledger: str = Field("", description="SQLAlchemy URL of the ledger; SQLite under home if empty.")
    mlflow: str = Field("", description="MLflow tracking URI; SQLite under home if empty.")
    serving: str = Field("models", description="Published models: a folder or s3://bucket/prefix.")
    serving_mount: str = Field("", description="Where servers see it, if elsewhere: /models.")
    serving_poll: float = Field(
        2.0, ge=0, description="Seconds within which every server reads models.config again."
    )
    serving_keep: int = Field(5, ge=1, description="Versions of a model that are kept at least.")
    predictions: Path = Field(Path("predictions"), description="The prediction log.")
    events: Path = Field(Path("events"), description="Collected learner events.")
    pipelines: tuple[str, ...] = Field(("pipelines",), description="Packages with pipelines.")
    features: tuple[str, ...] = Field(("pipelines",), description="Packages with feature views.")
    features_online: str = Field("", description="redis://host:port/number; SQLite if empty.")
    features_fallback: bool = Field(False, description="Keep SQLite in step, for Redis' absence.")
    learner_columns: tuple[str, ...] = Field(
        (), description="Columns that name a learner, beside learner and id_student."
    )
    retention: Retention = Field(Retention(), description="How old what is kept may grow.")
    dags: Path = Field(Path("dags"), description="Airflow's DAG files.")
    retrain_delays: tuple[PositiveFloat, ...] = Field(
        (2.0, 10.0, 60.0),
        min_length=1,
        description="Seconds before each further attempt to start a retraining; the last repeats.",
    )
    parallelism: int = Field(2, ge=1, description="Steps that the local runner runs at once.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take arguments first, then the environment, then the file."""
        file = TomlConfigSettingsSource(settings_cls, project_root() / SETTINGS_FILE)
        return init_settings, env_settings, file

    @property
    def home_folder(self) -> Path:
        """The absolute home folder."""
        return project_root() / self.home

    @property
    def store_location(self) -> str:
        """The store: an absolute folder or an S3 URI."""
        if self.store.startswith("s3://"):
            return self.store
        return str(project_root() / self.store if self.store else self.home_folder / "store")

    @property
    def ledger_url(self) -> str:
        """The ledger's SQLAlchemy URL."""
        return self.ledger or f"sqlite:///{self.home_folder / 'ledger.db'}"

    @property
    def has_ledger(self) -> bool:
        """Whether there is a ledger already, which a file of SQLite need not be."""
        is_file = not self.ledger or self.ledger.startswith("sqlite:///")
        return not is_file or Path(self.ledger_url.removeprefix("sqlite:///")).exists()

    @property
    def mlflow_uri(self) -> str:
        """MLflow's tracking and registry URI."""
        return self.mlflow or f"sqlite:///{self.home_folder / 'mlflow' / 'mlflow.db'}"

    @property
    def events_folder(self) -> Path:
        """The absolute folder of collected learner events."""
        return project_root() / self.events

    @property
    def serving_location(self) -> str:
        """Where models are published: an absolute folder or an S3 URI."""
        if self.serving.startswith("s3://"):
            return self.serving.rstrip("/")
        return str(project_root() / self.serving)

    @property
    def predictions_folder(self) -> Path:
        """The absolute folder of the prediction log."""
        return project_root() / self.predictions

    @property
    def serving_folder(self) -> Path:
        """The absolute base folder of published models.

        Raises:
            UsageError: They are published to S3.
        """
        if self.serving_location.startswith("s3://"):
            raise UsageError(
                "Models are published to S3 here, and this needs a folder.",
                where="the setting 'serving'",
                expected="a folder",
                received=self.serving_location,
                next="set LEARNLOOP_SERVING to a folder",
            )
        return Path(self.serving_location)


def load_settings() -> Settings:
    """Read the settings.

    Raises:
        UsageError: A setting does not fit, or the file is not TOML.
    """
    try:
        return Settings()
    except ValidationError as fault:
        error = fault.errors()[0]
        name = ".".join(str(part) for part in error["loc"])
        raise UsageError(
            f"Setting '{name}' does not fit: {error['msg']}.",
            where=f"{project_root() / SETTINGS_FILE} or LEARNLOOP_{name.upper()}",
            received=repr(error["input"]),
        ) from None
    except ValueError as fault:
        raise UsageError(
            "The settings file is not TOML.",
            where=project_root() / SETTINGS_FILE,
            received=fault,
        ) from None


def connection(name: str) -> str:
    """Look up a named connection, whose URL may hold a password.

    Args:
        name: The connection's name, as parameters carry it.

    Returns:
        The URL in ``LEARNLOOP_CONNECTION_<NAME>``.

    Raises:
        UsageError: The environment does not hold it.
    """
    variable = f"LEARNLOOP_CONNECTION_{name.upper()}"
    url = os.environ.get(variable)
    if not url:
        raise UsageError(
            f"There is no connection '{name}'.",
            where="the environment",
            expected=f"a URL in {variable}",
            next=f"export {variable}=postgresql://user:password@host/database",
        )
    return url
