"""Every command line is one that the program takes, and every variable is one that it reads."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from learnloop.cli.main import application
from learnloop.settings import Settings
from messaging.events.connection import PREFIX, open_client
from tests.kubernetes.rendered import OVERLAYS, ROOT, SECRET, Workload, workload, workloads

PACKAGES = ("learnloop", "messaging", "feature_store", "serving", "components", "privacy")
TENSORFLOW_SERVING = {
    "port", "rest_api_port", "model_config_file", "model_config_file_poll_wait_seconds",
    "batching_parameters_file", "enable_batching", "monitoring_config_file",
}  # fmt: skip
"""Of tensorflow_serving/model_servers/main.cc at 2.16.1, whose program is not to be had here."""

AIRFLOW = """
import json, sys
from airflow.cli.cli_parser import get_parser
from airflow.configuration import conf
for words in json.load(sys.stdin):
    get_parser().parse_args(words)
known = {section: list(it["options"]) for section, it in conf.configuration_description.items()}
print(json.dumps(known))
"""


def parse(command: Any, name: str, words: list[str], parent: Any = None) -> Any:
    """Read a command line as the program does, up to the call of its function."""
    context = command.make_context(name, list(words), parent=parent)
    if not hasattr(command, "resolve_command"):
        return context
    rest = [*context._protected_args, *context.args]
    name, found, rest = command.resolve_command(context, rest)
    return parse(found, name, rest, context)


def lines(program: str) -> list[list[str]]:
    """The command lines of a program: of containers, and of probes."""
    found = []
    for overlay in OVERLAYS:
        for one in workloads(overlay):
            for container in one.containers:
                probe = container.get("livenessProbe", {}).get("exec", {}).get("command", [])
                found += [
                    words for words in (one.words(container), probe) if words[:1] == [program]
                ]
    return found


@pytest.fixture(scope="module")
def airflow_options(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Has Airflow read its command lines, in a process of its own, and gives its options."""
    home = tmp_path_factory.mktemp("airflow")
    found = [words[1:] for words in lines("airflow")]
    assert len(found) == 2 * (4 + 4 + 2)  # processes, those that wait for the database, probes
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", AIRFLOW],
        input=json.dumps(found),
        env={**os.environ, "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    options: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return options


def test_learnloop_takes_its_command_lines() -> None:
    command = typer.main.get_command(application)
    paths = {parse(command, "learnloop", words[1:]).command_path for words in lines("learnloop")}
    assert paths == {
        "learnloop serve", "learnloop listen", "learnloop metrics", "learnloop events collect",
        "learnloop features apply", "learnloop features materialize-incremental",
        "learnloop features serve",
    }  # fmt: skip


def test_a_wrong_option_is_seen() -> None:
    with pytest.raises(Exception, match="No such option.*--hosts"):
        parse(typer.main.get_command(application), "learnloop", ["listen", "--hosts=0.0.0.0"])


def test_mlflow_takes_its_command_line() -> None:
    from mlflow.cli import cli

    context = parse(cli, "mlflow", lines("mlflow")[0][1:])
    assert (context.params["host"], context.params["port"]) == ("0.0.0.0", 5000)


def test_the_other_programs_are_known(airflow_options: dict[str, list[str]]) -> None:
    programs = {
        words[0]
        for one in workloads("production")
        for c in one.containers
        if (words := one.words(c))
    }
    assert programs == {
        "learnloop", "airflow", "mlflow", "python", "sleep", "tensorflow_model_server",
    }  # fmt: skip
    for words in lines("python"):
        assert words[:2] == ["python", "-m"] and importlib.util.find_spec(words[2])
    for words in lines("tensorflow_model_server"):
        assert {re.fullmatch(r"--(\w+)=.+", word)[1] for word in words[1:]} <= TENSORFLOW_SERVING  # type: ignore[index]


def test_every_variable_is_read(airflow_options: dict[str, list[str]]) -> None:
    from mlflow import environment_variables
    from mlflow.cli import cli

    known = {f"LEARNLOOP_{name.upper()}" for name in Settings.model_fields} | literals()
    mlflow = {str(option.envvar) for option in cli.commands["server"].params}
    mlflow |= vars(environment_variables).keys()
    for one, container, name in variables():
        section, _, option = name.removeprefix("AIRFLOW__").lower().partition("__")
        if name.startswith("AIRFLOW__"):
            assert option in airflow_options[section], name
        elif name.startswith("MLFLOW_"):
            assert name in mlflow, name
        elif name.startswith(PREFIX):
            continue  # see the next test
        elif name.startswith("LEARNLOOP_"):
            assert name in known, name
        elif name == "TRACK":
            assert "$(TRACK)" in " ".join(container["args"])
        else:
            assert name in {"AIRFLOW_HOME", "AWS_DEFAULT_REGION", "PGSSLMODE", "PYTHONPATH"}, (
                one.name,
                name,
            )


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kafkas_client_takes_its_settings(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from confluent_kafka import Producer

    (one,) = (one for one in workloads(overlay) if one.name == "event-collector")
    for name, value in one.environment(one.main).items():
        if name.startswith(PREFIX):
            monkeypatch.setenv(name, value)
    assert open_client(Producer, {}) is not None


def test_paths_in_the_environment_are_those_of_the_image() -> None:
    one = workload("airflow-dag-processor")
    environment = one.environment(one.main)
    for name in ("AIRFLOW__CORE__DAGS_FOLDER", "AIRFLOW__CORE__PLUGINS_FOLDER", "PYTHONPATH"):
        for place in environment[name].split(":"):
            assert (ROOT / Path(place).relative_to("/opt/learnloop")).is_dir()
    template = Path(environment["AIRFLOW__KUBERNETES_EXECUTOR__POD_TEMPLATE_FILE"])
    mounts = {mount["mountPath"]: mount["name"] for mount in one.main["volumeMounts"]}
    assert mounts[str(template.parent)] == "pod-template"
    assert template.name in one.one("ConfigMap", "airflow-pod-template")["data"]


def variables() -> list[tuple[Workload, dict[str, Any], str]]:
    """Every variable of every container."""
    return [
        (one, container, name)
        for overlay in OVERLAYS
        for one in workloads(overlay)
        for container in one.containers
        for name in one.environment(container)
    ]


def literals() -> set[str]:
    """The names of variables that the code's own text has."""
    found = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found |= set(re.findall(r"^LEARNLOOP_[A-Z_]+$", node.value))
    return found


def test_secrets_are_only_in_secrets() -> None:
    for one, container, name in variables():
        if re.search("PASSWORD|TOKEN|KEY|SECRET|_CONN$|LEDGER|RABBITMQ|STORE_URI", name):
            assert one.environment(container)[name] == SECRET, name
