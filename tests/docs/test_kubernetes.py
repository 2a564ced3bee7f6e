"""The guide to Kubernetes names what is there; its commands need a cluster and are not run."""

from __future__ import annotations

import re
import shlex

import typer

from learnloop.cli.main import application
from tests.kubernetes.rendered import ROOT, objects
from tests.kubernetes.test_commands import parse

GUIDE = (ROOT / "docs" / "kubernetes.md").read_text()
SHELL = "\n".join(re.findall(r"^```sh\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE))


def test_the_objects_of_its_commands_exist() -> None:
    found = {f"{o['kind'].lower()}/{o['metadata']['name']}" for o in objects("production")}
    named = set(re.findall(r"\b(?:deployment|service|job)[/ ][a-z][a-z-]+", SHELL))
    assert len(named) == 5
    assert {name.replace(" ", "/") for name in named} <= found
    for folder in re.findall(r"kubernetes/overlays/\w+", GUIDE):
        assert (ROOT / folder / "kustomization.yaml").is_file()
    for name in re.findall(r"`(?:base|overlays)/[\w./-]+`", GUIDE):
        assert (ROOT / "kubernetes" / name.strip("`")).exists(), name


def test_learnloop_takes_what_is_typed_in_the_console() -> None:
    command = typer.main.get_command(application)
    typed = re.findall(r"-- (learnloop .*?)(?: \||$)", SHELL, re.MULTILINE)
    paths = [parse(command, "learnloop", shlex.split(words)[1:]).command_path for words in typed]
    assert paths == [
        "learnloop serving rollback",
        "learnloop retrain decisions",
        "learnloop serving route",
    ]


def test_its_secrets_are_those_of_the_manifests() -> None:
    entries = {
        (one["metadata"]["name"], entry["secretKey"])
        for one in objects("production")
        if one["kind"] == "ExternalSecret"
        for entry in one["spec"]["data"]
    }
    (made,) = re.findall(r"create secret generic (\S+) \\\n +--from-literal=(\w+)", SHELL)
    assert made in entries
    keys = {key for _, key in entries if key.startswith("AIRFLOW__")}
    assert len(keys) == 4 and "Of Airflow's four" in GUIDE
