"""Every module and environment: formatted, valid, and careful about what it is told."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.terraform.conftest import ROOT, Terraform

pytestmark = pytest.mark.xdist_group("terraform")
GOOD: dict[str, Any] = {
    "name": "learnloop-test",
    "protected": True,
    "kubernetes_version": "1.34",
    "administrators": ["arn:aws:iam::111122223333:role/devops"],
    "node_types": ["m6i.large"],
    "nodes": {"least": 2, "most": 4},
    "database_class": "db.m7g.large",
    "database_gib": 20,
    "broker_type": "mq.m5.large",
    "events_type": "kafka.m7g.large",
    "events_gib": 20,
    "cache_type": "cache.m7g.large",
}
BAD: list[tuple[str, Any, str]] = [
    (
        "name",
        "Learn_Loop",
        "name is 'Learn_Loop': expected 3 to 30 small letters, digits and hyphens, a letter first,"
        " as learnloop-production.",
    ),
    (
        "cidr",
        "172.16.0.0/16",
        "cidr is '172.16.0.0/16': expected a /16 network of 10.0.0.0/8, as 10.40.0.0/16.",
    ),
    (
        "zones",
        2,
        "zones is 2: expected 2 or 3, in a protected environment 3; Kafka takes no more.",
    ),
    (
        "zones",
        4,
        "zones is 4: expected 2 or 3, in a protected environment 3; Kafka takes no more.",
    ),
    (
        "kubernetes_version",
        "1.34.2",
        "kubernetes_version is '1.34.2': expected major and minor, as 1.34; aws eks"
        " describe-cluster-versions lists them.",
    ),
    (
        "api_networks",
        ["0.0.0.0/0"],
        "api_networks is [0.0.0.0/0]: expected networks of your own of /16 or smaller, as"
        " 192.0.2.0/24; whole internets are refused.",
    ),
    (
        "administrators",
        [],
        "administrators is []: expected at least one ARN, as arn:aws:iam::123456789012:role/devops;"
        " without one nobody can reach the cluster.",
    ),
    (
        "backup_days",
        0,
        "backup_days is 0: expected 1 to 35; a backup keeps erased people, so promise nobody less.",
    ),
    ("undo_days", 91, "undo_days is 91: expected 1 to 90."),
    ("log_days", 8, "log_days is 8: expected 7, 14, 30, 60, 90, 180 or 365."),
    (
        "nodes",
        {"least": 5, "most": 4},
        "nodes is 5 to 4: expected at least 1, and no more at least than at most.",
    ),
]
BAD_OF_AN_ENVIRONMENT: list[tuple[str, Any, str]] = [
    ("region", "Ireland", "region is 'Ireland': expected one of AWS, as eu-west-1."),
    (
        "account",
        "1234",
        "account is '1234': expected the twelve digits that aws sts get-caller-identity prints.",
    ),
]


def test_the_format_is_terraforms_own(terraform: Terraform) -> None:
    assert terraform(".", "fmt", "-check", "-recursive", "-diff", "-no-color") == ""


def test_no_module_is_left_out_of_an_environment() -> None:
    """So that every module is validated and planned with the environments (test_plan.py)."""
    modules = ROOT / "terraform" / "modules"
    sources = "".join(path.read_text() for path in modules.glob("platform/*.tf"))
    named = set(re.findall(r'"\.\./([a-z]+)"', sources))
    assert named == {path.name for path in modules.iterdir()} - {"platform"}


def test_every_role_may_do_what_its_code_calls_and_nothing_else(terraform: Terraform) -> None:
    terraform("modules/accounts", "init", "-no-color", "-backend=false")
    assert "1 passed, 0 failed" in terraform("modules/accounts", "test", "-no-color")


def refusal(terraform: Terraform, folder: Path, values: dict[str, Any]) -> str:
    """Plan nothing but variables; give the sentence that Terraform refuses them with."""
    (folder / "terraform.tfvars.json").write_text(json.dumps(values))
    printed = terraform(folder, "plan", "-json", "-input=false", ok=False)
    events = [json.loads(line) for line in printed.splitlines()]
    errors = [event["diagnostic"]["detail"] for event in events if "diagnostic" in event]
    assert len(errors) == 1, errors
    return re.sub(r"\n\nThis was checked by the validation rule at .*", "", errors[0])


@pytest.mark.parametrize(
    ("name", "value", "message"), BAD, ids=[f"{name}={value}" for name, value, _ in BAD]
)
def test_a_bad_variable_is_refused(
    terraform: Terraform, tmp_path: Path, name: str, value: Any, message: str
) -> None:
    shutil.copy(ROOT / "terraform/modules/platform/variables.tf", tmp_path)
    assert refusal(terraform, tmp_path, {**GOOD, name: value}) == message


@pytest.mark.parametrize("environment", ["staging", "production"])
@pytest.mark.parametrize(("name", "value", "message"), BAD_OF_AN_ENVIRONMENT)
def test_a_bad_variable_of_an_environment_is_refused(
    terraform: Terraform, tmp_path: Path, environment: str, name: str, value: Any, message: str
) -> None:
    shutil.copy(ROOT / "terraform/environments" / environment / "variables.tf", tmp_path)
    good = {
        "region": "eu-west-1",
        "account": "111122223333",
        "administrators": GOOD["administrators"],
    }
    assert refusal(terraform, tmp_path, {**good, name: value}) == message


def test_good_variables_are_taken(terraform: Terraform, tmp_path: Path) -> None:
    shutil.copy(ROOT / "terraform/modules/platform/variables.tf", tmp_path)
    (tmp_path / "terraform.tfvars.json").write_text(json.dumps(GOOD))
    assert "No changes" in terraform(tmp_path, "plan", "-no-color", "-input=false")
