"""The model registry, MLflow: registering a model with its card, and fetching one.

Who stands behind an alias, which keys and checks ask without MLflow's client, is
:mod:`serving.registry`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from learnloop.errors import LearnLoopError
from serving.registry import DIGEST_TAG, RUN_TAG, Aliases, quiet, without_password

ARTIFACT_FOLDER = "artifact"
REQUIREMENTS = ["tensorflow==2.16.2", "tensorflow-transform==1.16.0", "keras>=3"]
"""Given, because MLflow's inference of them loads the model elsewhere and takes 12 seconds."""


@dataclass(frozen=True)
class ModelCard:
    """What is registered beside a model.

    Args:
        parameters: Training parameters, by name.
        metrics: Final figures, by name.
        curves: Values by epoch, by name.
        tags: Lineage and other facts.
        description: The card, in Markdown.
        signature: MLflow's column descriptions of the served signature's inputs.
        example: A few raw rows, by column; no learner's identifier is among the columns.
    """

    parameters: Mapping[str, Any]
    metrics: Mapping[str, float]
    curves: Mapping[str, Sequence[float]]
    tags: Mapping[str, str]
    description: str
    signature: Sequence[Mapping[str, Any]]
    example: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelRegistry(Aliases):
    """MLflow's registry at one place.

    Args:
        uri: MLflow's tracking and registry URI.
        artifacts: Where experiments keep artifacts, if MLflow has no server to say so.
    """

    artifacts: Path

    def find_version(self, name: str, digest: str) -> tuple[str, str] | None:
        """Find the version that holds a model already.

        Args:
            name: The registered model.
            digest: The model's content digest.

        Returns:
            Version and MLflow run, or None.
        """
        for version in self.client().search_model_versions(f"name = '{name}'"):
            if version.tags.get(DIGEST_TAG) == digest:
                return str(version.version), str(version.run_id)
        return None

    def register(self, name: str, model: Path, digest: str, card: ModelCard) -> tuple[str, str]:
        """Log a model with its card and make it a new version.

        Args:
            name: The registered model, made where it does not exist.
            model: The folder of the Model artifact.
            digest: Its content digest.
            card: What is logged beside.

        Returns:
            Version and MLflow run.

        Raises:
            LearnLoopError: MLflow did not take it.
        """
        from mlflow.exceptions import MlflowException

        try:
            return self._register(name, model, digest, card)
        except MlflowException as fault:
            raise LearnLoopError(
                "MLflow did not take the model.",
                where=without_password(self.uri),
                received=str(fault).partition("\n")[0],
                next="check that MLflow runs, then run the same command again",
            ) from fault

    def download(self, name: str, version: str, folder: Path) -> Path:
        """Fetch the Model artifact of a version.

        Args:
            name: The registered model.
            version: The version.
            folder: A folder to download into.

        Returns:
            The artifact's folder.

        Raises:
            LearnLoopError: The version's files are not there.
        """
        import mlflow
        from mlflow.exceptions import MlflowException

        try:
            source = self.client().get_model_version_download_uri(name, version)
            with quiet():
                mlflow.set_tracking_uri(self.uri)
                copy = mlflow.artifacts.download_artifacts(
                    f"{source}/{ARTIFACT_FOLDER}", dst_path=str(folder), tracking_uri=self.uri
                )
        except (MlflowException, OSError) as fault:
            raise LearnLoopError(
                f"The files of model '{name}' version {version} cannot be had from MLflow.",
                where=without_password(self.uri),
                received=str(fault).partition("\n")[0],
            ) from fault
        return Path(copy)

    def _register(self, name: str, model: Path, digest: str, card: ModelCard) -> tuple[str, str]:
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.exceptions import MlflowException

        client = self.client()
        experiment = client.get_experiment_by_name(name)
        experiment_id = (
            experiment.experiment_id
            if experiment
            else client.create_experiment(name, artifact_location=self._artifact_location(name))
        )
        run = client.create_run(experiment_id, run_name=card.tags.get(RUN_TAG))
        run_id = run.info.run_id
        now = run.info.start_time
        metrics = [Metric(key, value, now, 0) for key, value in card.metrics.items()]
        metrics += [
            Metric(key, value, now, epoch)
            for key, curve in card.curves.items()
            for epoch, value in enumerate(curve, start=1)
        ]
        for start in range(0, len(metrics), 1000):
            client.log_batch(run_id, metrics=metrics[start : start + 1000])
        client.log_batch(
            run_id,
            params=[Param(key, str(value)[:6000]) for key, value in card.parameters.items()],
            tags=[RunTag(key, value) for key, value in card.tags.items()],
        )
        client.log_text(run_id, card.description, "model_card.md")
        source, model_id = self._log_model(run_id, model, card)
        client.set_terminated(run_id)
        try:
            client.create_registered_model(name)
        except MlflowException as fault:
            if fault.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        version = client.create_model_version(
            name,
            source,
            run_id,
            model_id=model_id,
            tags={**card.tags, DIGEST_TAG: digest},
            description=card.description,
        )
        return str(version.version), run_id

    def _log_model(self, run_id: str, model: Path, card: ModelCard) -> tuple[str, str]:
        """Log the artifact's folder as it is, with the ``tensorflow`` and ``pyfunc`` flavours."""
        from mlflow.models import Model
        from mlflow.models.signature import ModelSignature
        from mlflow.types import Schema

        from components.engines import saved_model_flavor

        signature = ModelSignature(Schema([_tensor_spec(column) for column in card.signature]))
        with quiet(), _active_run(self.uri, run_id):
            logged = Model.log(
                artifact_path=None,
                name="model",
                flavor=saved_model_flavor,
                artifact=model,
                signature=signature,
                example=card.example,
                pip_requirements=REQUIREMENTS,
            )
        return str(logged.model_uri), str(logged.model_id)

    def _artifact_location(self, name: str) -> str | None:
        return (self.artifacts / name).as_uri() if self.is_database else None


@contextmanager
def _active_run(uri: str, run_id: str) -> Iterator[None]:
    """MLflow's ``Model.log`` speaks to the fluent API's run of this process."""
    import mlflow

    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    with mlflow.start_run(run_id=run_id):
        yield


def _tensor_spec(column: Mapping[str, Any]) -> Any:
    import numpy as np
    from mlflow.types import TensorSpec

    kind = np.dtype("str") if column["dtype"] == "string" else np.dtype(column["dtype"])
    shape = [-1, *(-1 if size is None else size for size in column["shape"])]
    return TensorSpec(kind, tuple(shape), column["name"])
