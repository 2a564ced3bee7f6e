"""Terraform on a copy of the configuration, with the provider from this machine and AWS by moto."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import servers

ROOT = Path(__file__).parents[2]
ACCOUNT = "123456789012"  # moto's
PROVIDER = "registry.terraform.io/hashicorp/aws"
# Where Terraform itself looks, and where machines without the internet may keep providers.
MIRRORS = (
    Path("~/.terraform.d/plugins").expanduser(),
    Path("/usr/local/share/terraform/plugins"),
    Path("/usr/share/terraform/plugins"),
    *sorted(Path("/opt").glob("*")),
)


@dataclass(frozen=True)
class Terraform:
    """Terraform's command in a copy of ``terraform/``.

    Args:
        tree: The copy.
        environment: Of its processes.
    """

    tree: Path
    environment: dict[str, str]

    def __call__(self, folder: str | Path, *words: str, ok: bool = True) -> str:
        """Run a command in a folder of the copy and give what it printed."""
        done = subprocess.run(
            ["terraform", *words],
            cwd=self.tree / folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
            check=False,
        )
        assert (done.returncode == 0) is ok, f"terraform {' '.join(words)}\n{done.stdout[-6000:]}"
        return done.stdout

    def plan(self, environment: str) -> dict[str, dict[str, Any]]:
        """Plan an environment on an empty account: the values of its resources, by address."""
        folder = f"environments/{environment}"
        backend = 'terraform {\n  backend "local" {}\n}\n'  # the state stays in this folder
        (self.tree / folder / "backend_override.tf").write_text(backend)
        self(folder, "init", "-no-color", "-lockfile=readonly")
        variables = {
            "region": "eu-west-1",
            "account": ACCOUNT,
            "administrators": [f"arn:aws:iam::{ACCOUNT}:role/devops"],
        }
        (self.tree / folder / "terraform.tfvars.json").write_text(json.dumps(variables))
        # A plan validates first. What Terraform warns of is an error of tomorrow's.
        printed = self(folder, "plan", "-no-color", "-input=false", "-out=plan")
        assert "Warning" not in printed, printed
        document = json.loads(self(folder, "show", "-json", "plan"))
        changes = document["resource_changes"]
        return {
            change["address"].removeprefix("module.learnloop."): change["change"]["after"]
            for change in changes
            if change["mode"] == "managed"
        }


def missing(what: str, advice: str) -> None:
    """Skip for want of something; in CI, fail."""
    assert not os.environ.get("CI"), f"CI needs {what}: {advice}"
    pytest.skip(f"{what} is not here: {advice}")


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An AWS of this test's own (moto); its URL."""
    with servers.moto_server(tmp_path_factory.mktemp("aws")) as url:
        yield url


@pytest.fixture(scope="session")
def terraform(tmp_path_factory: pytest.TempPathFactory, aws: str) -> Terraform:
    """Terraform, whose provider speaks to moto."""
    if shutil.which("terraform") is None:
        missing("Terraform 1.11 or newer", "install it from developer.hashicorp.com/terraform")
    named = os.environ.get("TF_PLUGIN_MIRROR")
    places = [Path(named).expanduser(), *MIRRORS] if named else MIRRORS
    mirrors = [folder for folder in places if (folder / PROVIDER).is_dir()]
    if not mirrors:
        missing(
            "Terraform's AWS provider",
            "terraform -chdir=terraform/environments/staging providers mirror"
            " ~/.terraform.d/plugins",
        )
    folder = tmp_path_factory.mktemp("terraform")
    configuration = folder / "terraformrc"
    configuration.write_text(
        f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirrors[0]}"\n  }}\n}}\n'
    )
    shutil.copytree(
        ROOT / "terraform",
        folder / "tree",
        ignore=shutil.ignore_patterns(".terraform", "*tfstate*"),
    )
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("TF_", "AWS_"))}
    environment = {
        **kept,
        "TF_CLI_CONFIG_FILE": str(configuration),
        "TF_IN_AUTOMATION": "1",
        "CHECKPOINT_DISABLE": "1",
        "AWS_ENDPOINT_URL": aws,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }
    return Terraform(folder / "tree", environment)
