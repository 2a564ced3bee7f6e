"""Which models are wanted: every refusal of a configuration, in its whole words."""

from __future__ import annotations

from pathlib import Path

import pytest

from learnloop.errors import UsageError
from serving.server.contract import Code, ServingError
from serving.server.models.config import (
    ConfigFile,
    ModelConfig,
    ModelFolder,
    VersionPolicy,
    parse_config,
    read_config_file,
)

GOOD = 'name: "m" base_path: "/models/m" model_platform: "tensorflow"'


def read(tmp_path: Path, text: str) -> dict[str, ModelConfig]:
    file = tmp_path / "models.config"
    file.write_text(text)
    return parse_config(read_config_file(file))


@pytest.mark.parametrize(
    ("policy", "chosen"),
    [
        ("", [5]),
        ("latest {}", [5]),
        ("latest { num_versions: 2 }", [5, 3]),
        ("all {}", [5, 3, 2]),
        ("specific { versions: 2 versions: 3 versions: 9 }", [3, 2]),
    ],
)
def test_chooses_versions(tmp_path: Path, policy: str, chosen: list[int]) -> None:
    models = read(
        tmp_path, f"model_config_list {{ config {{ {GOOD} model_version_policy {{ {policy} }} }} }}"
    )
    assert models["m"].policy.choose([2, 5, 3]) == chosen


def test_reads_everything(tmp_path: Path) -> None:
    label = 'version_labels { key: "stable" value: 2 }'
    assert read(tmp_path, f"model_config_list {{ config {{ {GOOD} {label} }} }}") == {
        "m": ModelConfig("m", Path("/models/m"), VersionPolicy(latest=1), {"stable": 2})
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "custom_model_config {}",
            "custom_model_config is not supported; expected model_config_list",
        ),
        (
            f"model_config_list {{ config {{ {GOOD} }} config {{ {GOOD} }} }}",
            "Illegal to list model m multiple times in config list",
        ),
        (
            'model_config_list { config { base_path: "/m" model_platform: "tensorflow" } }',
            "Expected every model to have a name; got none",
        ),
        (
            'model_config_list { config { name: "m" base_path: "/m" } }',
            "Illegal setting neither ModelServerConfig::model_type nor "
            "ModelServerConfig::model_platform.",
        ),
        (
            'model_config_list { config { name: "m" base_path: "/m" model_platform: "onnx" } }',
            "ModelServerConfig::model_platform of model m: expected tensorflow; got onnx",
        ),
        (
            'model_config_list { config { name: "m" base_path: "s3://b/m" '
            'model_platform: "tensorflow" } }',
            "Expected model m to lie on a disk of this machine; got base_path()=s3://b/m",
        ),
        (
            'model_config_list { config { name: "m" base_path: "m" '
            'model_platform: "tensorflow" } }',
            "Expected model m to have an absolute path or URI; got base_path()=m",
        ),
        (
            f"model_config_list {{ config {{ {GOOD} model_version_policy {{ specific {{}} }} }} }}",
            "Expected model m to have specific versions; got none",
        ),
    ],
)
def test_refuses(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ServingError) as caught:
        read(tmp_path, text)
    assert (caught.value.code, caught.value.message) == (Code.INVALID_ARGUMENT, words)


def test_refuses_bytes_that_are_no_configuration() -> None:
    with pytest.raises(ServingError) as caught:
        parse_config(b"\xff")
    assert caught.value.message == "The configuration is no ModelServerConfig."


def test_refuses_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "models.config"
    file.write_text("model_config_list [")
    with pytest.raises(UsageError) as caught:
        ConfigFile(file)()
    assert str(caught.value) == (
        "The configuration of models cannot be read.\n"
        f"  where:    {file}\n"
        "  expected: the text of a ModelServerConfig, such as model_config_list { config { "
        'name: "m" base_path: "/models/m" model_platform: "tensorflow" } }\n'
        "  received: 1:19 : 'model_config_list [': Expected \"{\".\n"
        "  next:     mend the file, then run the same command again"
    )


def test_says_nothing_where_nothing_has_changed(tmp_path: Path) -> None:
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    folder = ModelFolder(tmp_path)
    assert folder() == {"m": ModelConfig("m", tmp_path / "m")}
    assert folder() is None
    (tmp_path / "n").mkdir()
    assert list(folder() or ()) == ["m", "n"]


def test_a_folder_of_models_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        ModelFolder(tmp_path / "models")
    assert str(caught.value) == (
        "There is no folder of models.\n"
        f"  where:    {tmp_path / 'models'}\n"
        "  expected: a folder with a folder per model, and in it one per version\n"
        "  received: nothing there\n"
        "  next:     learnloop serving push, or name another folder"
    )
