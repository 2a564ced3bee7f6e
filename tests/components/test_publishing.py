"""From a CSV to MLflow and TensorFlow Serving's folder: register, champion, push, and again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from components.champion import open_registry
from components.engines.registry import ModelRegistry
from components.push import push
from components.register import register
from learnloop.artifacts import Model, PublishedModel
from learnloop.component import Context
from learnloop.errors import GateRefused, LearnLoopError, UsageError
from learnloop.runner import Run, RunOptions
from learnloop.settings import Settings
from serving.publish import MANIFEST, Publication, publish_version, why_not_as_published
from serving.registry import CHALLENGER, CHAMPION, ERASED_TAG
from tests.components.small import small, write_source

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.xdist_group("publishing")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    project = tmp_path_factory.mktemp("project")
    (project / "learnloop.toml").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEARNLOOP_PROJECT", str(project))
        yield Settings()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "small.csv"
    write_source(path)
    return path


@pytest.fixture(scope="module")
def run(settings: Settings, source: Path) -> Run:
    ended = small.run_in(settings, source=str(source))
    assert ended.status == "done", ended.error
    return ended


def statuses(run: Run) -> dict[str, str]:
    return {name: result.status for name, result in run.results.items()}


def test_the_version_is_in_mlflow_with_all_that_belongs_to_it(run: Run) -> None:
    from mlflow import MlflowClient

    registered = run.artifacts["registered"].load()
    client = MlflowClient(run.settings.mlflow_uri, run.settings.mlflow_uri)
    version = client.get_model_version_by_alias("small", CHALLENGER)
    assert str(version.version) == registered["version"] == "1"
    assert version.tags["learnloop.run_id"] == run.id
    assert version.tags["learnloop.model_digest"] == run.artifacts["model"].content_digest()
    assert "# small" in version.description
    logged = client.get_run(registered["run_id"])
    assert logged.data.params["epochs"] == "60"
    metrics = run.artifacts["evaluation"].load()["metrics"]
    assert logged.data.metrics["test_auc"] == pytest.approx(metrics["test"]["auc"])
    curves = [name for name in logged.data.metrics if "loss" in name]
    assert any(len(client.get_metric_history(registered["run_id"], name)) > 1 for name in curves)


def test_mlflow_loads_exactly_what_is_served(run: Run) -> None:
    import mlflow
    import tensorflow as tf

    mlflow.set_tracking_uri(run.settings.mlflow_uri)
    loaded = mlflow.pyfunc.load_model("models:/small/1")
    rows = {"score": np.array([40.0, 80.0], np.float32), "course": np.array(["logic", "new"])}
    answer = loaded.predict(rows)
    served = tf.saved_model.load(str(run.settings.serving_folder / "small" / "1"))
    expected = served.signatures["serving_default"](**{k: tf.constant(v) for k, v in rows.items()})
    np.testing.assert_array_equal(answer["probability"], expected["probability"])
    assert answer["probability"][0] < 0.5 < answer["probability"][1]
    example = json.loads(Path(loaded_path("small", "1"), "input_example.json").read_text())
    assert set(example["inputs"]) == {"score", "course"}
    names = [column.name for column in loaded.metadata.signature.inputs]
    assert names == ["course", "score"]


def loaded_path(name: str, version: str) -> str:
    import mlflow

    return str(mlflow.artifacts.download_artifacts(f"models:/{name}/{version}"))


def test_no_learner_is_in_the_model_or_the_registry(run: Run) -> None:
    for folder in (run.settings.serving_folder, run.settings.home_folder / "mlflow"):
        for path in folder.rglob("*"):
            if path.is_file():
                assert b"secret-learner-" not in path.read_bytes(), path
    for path in (run.settings.home_folder / "logs").rglob("*.log"):
        assert "secret-learner-" not in path.read_text()


def test_the_light_and_the_full_way_to_ask_agree(run: Run, settings: Settings) -> None:
    from mlflow import MlflowClient

    registry = open_registry(settings)
    full = MlflowClient(settings.mlflow_uri, settings.mlflow_uri)
    aliases = {k: str(v) for k, v in full.get_registered_model("small").aliases.items()}
    assert registry.alias_version("small", CHALLENGER) == aliases[CHALLENGER]
    assert registry.alias_version("small", "nobody") is None
    assert registry.alias_version("nothing", CHAMPION) is None
    digest = full.get_model_version("small", "1").tags["learnloop.model_digest"]
    assert registry.version_digest("small", "1") == digest
    assert registry.version_digest("small", "99") is None


def test_the_registry_may_be_a_server(mlflow_server: str, run: Run, tmp_path: Path) -> None:
    """Over HTTP nothing is read from a database of ours."""
    registry = ModelRegistry(mlflow_server, tmp_path)
    assert registry.alias_version("small", CHAMPION) is None
    settings = run.settings.model_copy(update={"mlflow": mlflow_server})
    ended = small.run_in(settings, source=run.graph.parameters["source"])
    assert ended.status == "done", ended.error
    assert statuses(ended)["register"] == "done", "the version is not in that registry"
    assert registry.alias_version("small", CHALLENGER) == "1"
    digest = run.artifacts["model"].content_digest()
    assert registry.version_digest("small", "1") == digest
    assert registry.find_version("small", digest)[0] == "1"  # type: ignore[index]
    copy = registry.download("small", "1", tmp_path)
    assert Model.open(copy).content_digest() == digest


def test_running_again_finds_everything_and_imports_no_tensorflow(
    run: Run, settings: Settings
) -> None:
    script = (
        "import sys\n"
        "from tests.components.small import small\n"
        f"run = small.run(source={run.graph.parameters['source']!r})\n"
        "print([r.status for r in run.results.values()])\n"
        "heavy = ('tensorflow', 'mlflow', 'great_expectations', 'pandas', 'pyarrow', 'keras')\n"
        "print([name for name in heavy if name in sys.modules])\n"
        "from learnloop import fingerprint\n"
        "print(fingerprint._distributions_by_import.cache_info().misses)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    searched = "0"  # times that all installed packages were looked through, half a second each
    assert done.stdout.splitlines() == [str(["cached"] * 11), "[]", searched]


def test_a_moved_alias_is_noticed(run: Run, settings: Settings) -> None:
    """Someone pointed `challenger` elsewhere: register acts again, and makes no second version."""
    from mlflow import MlflowClient

    client = MlflowClient(settings.mlflow_uri, settings.mlflow_uri)
    client.delete_registered_model_alias("small", CHALLENGER)
    registry = open_registry(settings)
    assert registry.tag_version("small", "1", ERASED_TAG, "2026-03-02")
    assert not registry.tag_version("small", "99", ERASED_TAG, "2026-03-02")
    again = small.run_in(settings, source=run.graph.parameters["source"])
    assert statuses(again)["register"] == "done"
    assert registry.version_tag("small", "1", ERASED_TAG) is None, "made again without them"
    assert statuses(again)["train"] == "cached"
    assert again.artifacts["registered"].load()["version"] == "1"
    assert open_registry(settings).alias_version("small", CHALLENGER) == "1"


@pytest.mark.parametrize("damage", ["gone", "changed", "no manifest"])
def test_a_damaged_publication_is_noticed(run: Run, settings: Settings, damage: str) -> None:
    folder = settings.serving_folder / "small" / "1"
    if damage == "gone":
        shutil.rmtree(folder)
    elif damage == "changed":
        shutil.rmtree(folder / "variables")
    else:
        (folder / MANIFEST).unlink()
    again = small.run_in(settings, source=run.graph.parameters["source"])
    if damage == "gone":
        assert statuses(again)["push"] == "done"
    else:
        assert again.status == "failed"
        assert again.error is not None
        assert again.error.what == "This version number is taken by something else."
        assert again.error.next == f"move {folder} away, then run the same command again"
        shutil.rmtree(folder)
        again = small.run_in(settings, source=run.graph.parameters["source"])
    assert again.status == "done"
    assert why_not_as_published(folder) == ""


def test_a_champion_is_compared_with_on_the_same_rows(run: Run, settings: Settings) -> None:
    registry = open_registry(settings)
    registry.set_alias("small", CHAMPION, "1")
    again = small.run_in(settings, source=run.graph.parameters["source"])
    assert statuses(again)["load_champion"] == "done", "the alias moved"
    assert statuses(again)["train"] == "cached"
    assert statuses(again)["evaluate"] == "done"
    champion = again.artifacts["champion"]
    assert champion.content_digest() == run.artifacts["model"].content_digest()
    comparison = again.artifacts["evaluation"].load()["champion"]
    assert comparison is not None
    third = small.run_in(settings, source=run.graph.parameters["source"])
    assert set(statuses(third).values()) == {"cached"}


def test_a_refused_model_is_not_registered(run: Run, settings: Settings) -> None:
    refused = small.run_in(settings, source=run.graph.parameters["source"], min_auc=0.999)
    assert refused.status == "refused"
    assert "register" not in refused.results
    assert refused.artifacts["blessing"].load()["blessed"] is False
    overridden = RunOptions(overrides={"evaluate": "a rehearsal"}, user="ada")
    from learnloop.runner import run_pipeline

    parameters = {"source": run.graph.parameters["source"], "min_auc": 0.999}
    passed = run_pipeline(small, parameters, overridden, settings=settings)
    assert passed.status == "refused", "register has a gate of its own"
    assert passed.results["register"].reasons[0] == (
        "A model that is not blessed is not registered."
    )


def test_the_warm_up_requests_are_rows(run: Run) -> None:
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    folder = run.settings.serving_folder / "small" / "1"
    records = tf.data.TFRecordDataset(str(folder / "assets.extra/tf_serving_warmup_requests"))
    served = tf.saved_model.load(str(folder)).signatures["serving_default"]
    sizes = []
    for record in records:
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        request = log.predict_log.request
        assert request.model_spec.name == "small"
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        answer = served(**{name: tf.constant(value) for name, value in inputs.items()})
        sizes.append(len(answer["probability"]))
    assert sizes == [1, 32]


def test_publishing_appears_at_once(tmp_path: Path, run: Run) -> None:
    """A failure while the copy is completed leaves nothing that looks like a version."""
    model = run.artifacts["model"]
    assert isinstance(model, Model)

    def fail(folder: Path) -> None:
        assert not folder.name.isdigit(), "no server may see it yet"
        assert [p.name for p in folder.parent.iterdir() if p.name.isdigit()] == []
        raise OSError(28, "No space left on device")

    def publication(
        digest: str, lineage: dict[str, str], complete: Callable[[Path], None] = lambda folder: None
    ) -> Publication:
        return Publication(model.saved_model, 3, digest, lineage, complete)

    base = tmp_path / "base"
    with pytest.raises(LearnLoopError) as caught:
        publish_version(publication("d", {}, fail), base)
    assert caught.value.what == "The disk is full."
    assert list(base.iterdir()) == []
    first = publish_version(publication("d", {"run_id": "r"}), base)
    second = publish_version(publication("d", {"run_id": "s"}), base)
    assert first == second
    assert first.manifest["lineage"] == {"run_id": "r"}
    with pytest.raises(UsageError, match="This version number is taken by something else."):
        publish_version(publication("another", {}), base)
    assert why_not_as_published(base / "4").endswith("is not there.")


def test_components_need_no_runner(run: Run, tmp_path: Path, settings: Settings) -> None:
    artifacts = run.artifacts
    own = settings.model_copy(update={"serving": str(tmp_path / "models")})
    published = PublishedModel.create(tmp_path / "published")
    push.function(
        artifacts["model"],
        artifacts["registered"],
        artifacts["split.examples"],
        published,
        context=Context.for_test(tmp_path, own),
    )
    assert published.load()["path"] == str(tmp_path / "models" / "small" / "1")
    blessing = type(artifacts["blessing"]).create(tmp_path / "blessing")
    blessing.write({"blessed": False, "reasons": ["AUC is 0.5."]})
    with pytest.raises(GateRefused) as caught:
        register.function(
            artifacts["model"],
            blessing,
            artifacts["evaluation"],
            artifacts["split.examples"],
            type(artifacts["registered"]).create(tmp_path / "registered"),
            name="small",
            context=Context.for_test(tmp_path, own),
        )
    assert caught.value.reasons == (
        "A model that is not blessed is not registered.",
        "AUC is 0.5.",
    )
