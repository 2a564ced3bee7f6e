"""Every generated file is read by the real protocol buffer messages."""

from __future__ import annotations

from google.protobuf import text_format

from serving.configs import BATCHING_TEXT, MODELS, MONITORING_TEXT, TRACKS, models_configs
from serving.state import ModelRollout, Rollout, Told
from tests.serving.configuration_messages import batching_parameters, monitoring_config


def parse(text: str):  # type: ignore[no-untyped-def]
    from tensorflow_serving.config import model_server_config_pb2

    return text_format.Parse(text, model_server_config_pb2.ModelServerConfig())


def test_servers_are_told_versions_and_labels() -> None:
    rollout = Rollout(
        {
            "lstm": ModelRollout(stable=7).tell(0.0),
            "dense": ModelRollout(
                stable=5, canary=6, told=Told((4, 5, 6), {"stable": 5, "canary": 6})
            ),
        }
    )
    config = parse(models_configs(rollout, "/models/")[MODELS]).model_config_list.config
    assert [(one.name, one.base_path, one.model_platform) for one in config] == [
        ("dense", "/models/dense", "tensorflow"),
        ("lstm", "/models/lstm", "tensorflow"),
    ]
    assert list(config[0].model_version_policy.specific.versions) == [4, 5, 6]
    assert dict(config[0].version_labels) == {"stable": 5, "canary": 6}
    assert list(config[1].model_version_policy.specific.versions) == [7]
    assert dict(config[1].version_labels) == {"stable": 7, "canary": 7}


def test_a_track_has_the_version_of_its_label_alone() -> None:
    told = Told((4, 5, 6), {"stable": 5, "canary": 6})
    rollout = Rollout({"dense": ModelRollout(stable=5, canary=6, told=told)})
    texts = models_configs(rollout, "/models")
    for label, version in told.labels.items():
        (config,) = parse(texts[TRACKS[label]]).model_config_list.config
        assert (config.name, config.base_path) == ("dense", "/models/dense")
        assert list(config.model_version_policy.specific.versions) == [version]
        assert dict(config.version_labels) == {}


def test_a_path_may_hold_whatever_paths_hold() -> None:
    rollout = Rollout({"m": ModelRollout(stable=1).tell(0.0)})
    base = 's3://bucket/a "b" \\ c'
    (config,) = parse(models_configs(rollout, base)[MODELS]).model_config_list.config
    assert config.base_path == f"{base}/m"


def test_no_model_is_an_empty_list() -> None:
    config = parse(models_configs(Rollout(), "/models")[MODELS])
    assert config.WhichOneof("config") == "model_config_list"
    assert len(config.model_config_list.config) == 0


def test_batching_waits_for_nobody() -> None:
    parsed = text_format.Parse(BATCHING_TEXT, batching_parameters())
    assert parsed.max_batch_size.value == 128
    assert parsed.batch_timeout_micros.value == 0
    assert parsed.max_enqueued_batches.value == 64
    assert parsed.num_batch_threads.value == 2


def test_prometheus_finds_the_metrics() -> None:
    parsed = text_format.Parse(MONITORING_TEXT, monitoring_config())
    assert parsed.prometheus_config.enable is True
    assert parsed.prometheus_config.path == "/monitoring/prometheus/metrics"
