"""What is provisioned carries the product: applied on moto, used by LearnLoop itself, destroyed."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from feature_store.online.server import TOKENS_VARIABLE as FEATURES_TOKENS
from feature_store.pseudonyms import load_keyring
from learnloop.settings import Settings
from learnloop.store import open_store
from messaging.broker import broker_url, parameters_of
from messaging.events.connection import open_client
from messaging.events.master_keys import load_master_keys
from serving.places import open_place
from serving.server.security import Tokens
from serving.state import ModelRollout
from tests.serving.small_models import publication
from tests.terraform.conftest import ROOT, Terraform

pytestmark = pytest.mark.xdist_group("terraform")
# The provider waits for a lifecycle rule for a minute, on AWS and here alike; moto denies whatever
# a policy denies under a condition. The tests of the plan look at both.
WITHOUT = """
resource "aws_s3_bucket_lifecycle_configuration" "this" {
  for_each = {}
}
resource "aws_s3_bucket_policy" "this" {
  for_each = {}
}
"""
KUBERNETES = ROOT / "kubernetes"


@pytest.fixture(scope="module")
def applied(terraform: Terraform) -> Iterator[dict[str, Any]]:
    """The outputs of what was applied; destroyed at the end, with what it holds."""
    root = terraform.tree / "carried"
    shutil.copytree(Path(__file__).parent / "carried", root)
    shutil.copytree(ROOT / "terraform" / "modules", root / "modules")
    (root / "modules" / "storage" / "without_override.tf").write_text(WITHOUT)
    terraform(root, "init", "-no-color")
    terraform(root, "apply", "-no-color", "-auto-approve")
    outputs = json.loads(terraform(root, "output", "-json"))
    yield {name: output["value"] for name, output in outputs.items()}
    printed = terraform(root, "destroy", "-no-color", "-auto-approve")
    assert "Destroy complete! Resources: " in printed


@pytest.fixture
def on_aws(terraform: Terraform, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in terraform.environment.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)


@pytest.fixture
def secrets(applied: dict[str, Any], on_aws: None) -> dict[str, dict[str, str]]:
    """The values of all secrets, by name."""
    client = boto3.client("secretsmanager")
    names = [one["Name"] for one in client.list_secrets()["SecretList"]]
    return {
        name: json.loads(client.get_secret_value(SecretId=name)["SecretString"]) for name in names
    }


@pytest.fixture
def environment(
    applied: dict[str, Any],
    secrets: dict[str, dict[str, str]],
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, str]:
    """What a pod finds in its environment, set in this process too."""
    lines = (applied["environment"] + applied["kafka_environment"]).splitlines()
    found = dict(line.split("=", 1) for line in lines)
    for name, fields in secrets.items():
        if name.startswith("learnloop/"):
            found |= fields
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    return found


def versions(bucket: str) -> list[dict[str, str]]:
    answer = boto3.client("s3").list_object_versions(Bucket=bucket)
    found = [*answer.get("Versions", ()), *answer.get("DeleteMarkers", ())]
    return [{name: one[name] for name in ("Key", "VersionId")} for one in found]


def test_artifacts_are_published_read_and_erased_with_every_version(
    applied: dict[str, Any], environment: dict[str, str], tmp_path: Path
) -> None:
    bucket = applied["buckets"]["artifacts"]
    location = Settings().store_location
    assert location == f"s3://{bucket}/store"
    store = open_store(location, str(tmp_path / "home"))
    execution = "marks/ingest/execution-1"
    staged = store.stage(execution)
    (staged / "out").mkdir()
    (staged / "out" / "rows").write_bytes(b"learner 28417")
    digest = store.publish(execution, staged).digest()
    store.verify(execution, digest)
    elsewhere = open_store(location, str(tmp_path / "elsewhere"))
    assert (elsewhere.fetch(store.uri(execution, "out")) / "rows").read_bytes() == b"learner 28417"
    store.delete(execution)
    assert len(versions(bucket)) == 4  # deleted, and each with its version to be restored from
    store.purge(execution)
    assert versions(bucket) == []


def test_objects_are_encrypted_without_being_asked(
    applied: dict[str, Any], environment: dict[str, str]
) -> None:
    client = boto3.client("s3")
    for bucket in applied["buckets"].values():
        client.put_object(Bucket=bucket, Key="one", Body=b"")
        head = client.head_object(Bucket=bucket, Key="one")
        assert head["ServerSideEncryption"] == "aws:kms"
        client.delete_object(Bucket=bucket, Key="one", VersionId=head["VersionId"])


def test_models_are_published_to_the_bucket_and_removed(
    applied: dict[str, Any], environment: dict[str, str], tmp_path: Path
) -> None:
    bucket = applied["buckets"]["models"]
    settings = Settings(serving=f"s3://{bucket}", serving_mount="/models")
    place = open_place(settings)
    published = place.publish("outcome", publication(tmp_path, 1))
    assert published.location == f"s3://{bucket}/outcome/1"
    place.change(lambda rollout: rollout.with_model("outcome", ModelRollout(stable=1).tell(0.0)))
    assert place.is_current()
    config = boto3.client("s3").get_object(Bucket=bucket, Key="models.config")["Body"].read()
    assert b'base_path: "/models/outcome"' in config
    place.remove("outcome", 1)
    assert place.find("outcome", 1) is None
    # Destroying would remove them, but for a fault of moto's with the marks of deletion.
    client = boto3.client("s3")
    client.delete_objects(Bucket=bucket, Delete={"Objects": versions(bucket)})


def test_the_code_takes_every_secret_as_it_was_made(environment: dict[str, str]) -> None:
    assert load_keyring().current.name == "first"
    assert len(load_master_keys()) == 1
    assert Tokens.from_environment()
    assert len(environment[FEATURES_TOKENS]) == 64
    parameters = parameters_of(broker_url())
    assert (parameters.host, parameters.port, parameters.virtual_host) == (
        "broker.example",
        5671,
        "/",
    )
    assert len(base64.urlsafe_b64decode(environment["AIRFLOW__CORE__FERNET_KEY"])) == 32
    ledger = Settings().ledger_url
    assert ledger.startswith("postgresql+psycopg2://ledger:")
    assert ledger.endswith("@postgresql.example:5432/ledger?sslmode=require")
    from confluent_kafka import Producer

    open_client(Producer, {})  # refuses settings that it does not know


def test_no_secret_is_another_and_kafkas_is_the_brokers(secrets: dict[str, dict[str, str]]) -> None:
    kafka = secrets["AmazonMSK_learnloop"]
    events = secrets["learnloop/events"]
    assert kafka["username"] == events["LEARNLOOP_KAFKA_SASL_USERNAME"]
    assert kafka["password"] == events["LEARNLOOP_KAFKA_SASL_PASSWORD"]
    assert len(kafka["password"]) == 64
    airflow = secrets["learnloop/airflow"]
    assert len(set(airflow.values())) == len(airflow)


def test_no_random_secret_is_in_the_state(
    terraform: Terraform, secrets: dict[str, dict[str, str]]
) -> None:
    state = (terraform.tree / "carried" / "terraform.tfstate").read_text()
    for name in ("AmazonMSK_learnloop", "learnloop/events", "learnloop/airflow", "learnloop/keys"):
        for field, value in secrets[name].items():
            if value != "learnloop":
                assert value not in state, f"{name}: {field}"


def test_another_plan_changes_nothing(terraform: Terraform, applied: dict[str, Any]) -> None:
    printed = terraform("carried", "plan", "-no-color", "-detailed-exitcode")
    assert "No changes." in printed


def test_kubernetes_finds_every_secret_that_it_asks_for(secrets: dict[str, dict[str, str]]) -> None:
    documents = yaml.safe_load_all((KUBERNETES / "base" / "secrets.yaml").read_text())
    wanted = {
        (one["secretKey"], one["remoteRef"]["key"], one["remoteRef"]["property"])
        for document in documents
        for one in document["spec"]["data"]
    }
    made = {
        (field, name, field)
        for name, fields in secrets.items()
        if name.startswith("learnloop/")
        for field in fields
    }
    assert wanted == made


def test_an_overlays_files_have_the_shape_that_kubernetes_has(applied: dict[str, Any]) -> None:
    overlay = KUBERNETES / "overlays" / "production"
    for output, file in (("environment", "learnloop.env"), ("kafka_environment", "kafka.env")):
        theirs = (overlay / file).read_text()
        assert re.findall("^(.+)=", applied[output], re.M) == sorted(
            re.findall("^(.+)=", theirs, re.M)
        )
    mine = {one["metadata"]["name"]: one for one in yaml.safe_load_all(applied["patches"])}
    there = yaml.safe_load_all((overlay / "cluster.yaml").read_text())
    assert mine == {one["metadata"]["name"]: one for one in there}
    objects = [
        (one["kind"], one["metadata"]["name"]) for one in yaml.safe_load_all(applied["objects"])
    ]
    assert objects == [("StorageClass", "efs"), ("ClusterSecretStore", "learnloop")]


def test_no_other_namespace_reads_the_secrets(applied: dict[str, Any]) -> None:
    _, store = yaml.safe_load_all(applied["objects"])
    assert store["spec"]["conditions"] == [{"namespaces": ["learnloop"]}]
