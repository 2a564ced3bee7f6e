"""What would be made on an empty account: encrypted, closed, and in production hard to lose."""

from __future__ import annotations

import ipaddress
import json
import re
from typing import Any

import pytest

from tests.terraform.conftest import ACCOUNT, Terraform

pytestmark = pytest.mark.xdist_group("terraform")
Plan = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def production(terraform: Terraform) -> Plan:
    return terraform.plan("production")


@pytest.fixture(scope="module")
def staging(terraform: Terraform) -> Plan:
    return terraform.plan("staging")


@pytest.fixture(params=["production", "staging"])
def plan(request: pytest.FixtureRequest) -> Plan:
    found: Plan = request.getfixturevalue(request.param)
    return found


def of_type(plan: Plan, kind: str) -> Plan:
    named = re.compile(rf"(.*\.)?{kind}\.\w+(\[[^]]*\])?")
    found = {address: values for address, values in plan.items() if named.fullmatch(address)}
    assert found, f"nothing of type {kind} is planned"
    return found


def only(plan: Plan, kind: str) -> dict[str, Any]:
    (values,) = of_type(plan, kind).values()
    return values


def test_nothing_is_public(plan: Plan) -> None:
    for values in of_type(plan, "aws_s3_bucket_public_access_block").values():
        assert {
            values[name] for name in values if name.startswith(("block", "ignore", "restrict"))
        } == {True}
    assert len(of_type(plan, "aws_s3_bucket_public_access_block")) == len(
        of_type(plan, "aws_s3_bucket")
    )
    assert only(plan, "aws_db_instance")["publicly_accessible"] is False
    assert only(plan, "aws_mq_broker")["publicly_accessible"] is False
    group = only(plan, "aws_msk_cluster")["broker_node_group_info"][0]
    assert group["connectivity_info"][0]["public_access"] == [{"type": "DISABLED"}]
    access = only(plan, "aws_eks_cluster")["vpc_config"][0]
    assert (access["endpoint_private_access"], access["endpoint_public_access"]) == (True, False)
    assert not any(
        subnet.get("map_public_ip_on_launch") for subnet in of_type(plan, "aws_subnet").values()
    )


def test_load_balancers_find_private_subnets_alone(plan: Plan) -> None:
    """Both of AWS's controllers pass over the tag of another cluster, and take what has none."""
    for address, subnet in of_type(plan, "aws_subnet").items():
        tags = {
            name: value for name, value in subnet["tags"].items() if name.startswith("kubernetes")
        }
        if ".public[" in address:
            assert tags == {"kubernetes.io/cluster/none": "shared"}, address
        else:
            assert tags == {"kubernetes.io/role/internal-elb": "1"}, address


def test_images_have_a_repository_each(plan: Plan) -> None:
    name = only(plan, "aws_ecr_repository")["name"]
    assert name in ("learnloop-production/learnloop", "learnloop-staging/learnloop")


def test_services_let_in_the_cluster_on_their_port_and_nobody_else(plan: Plan) -> None:
    rules = of_type(plan, "aws_vpc_security_group_ingress_rule")
    assert {address.split('"')[1]: rule["from_port"] for address, rule in rules.items()} == {
        "broker": 5671,
        "cache": 6379,
        "database": 5432,
        "events": 9096,
        "files": 2049,
    }
    for rule in rules.values():
        assert rule["from_port"] == rule["to_port"]
        assert (rule["cidr_ipv4"], rule["cidr_ipv6"], rule["prefix_list_id"]) == (None, None, None)
    closed = only(plan, "aws_default_security_group")
    assert not closed.get("ingress") and not closed.get("egress")


def test_everything_that_is_stored_is_encrypted(plan: Plan) -> None:
    assert only(plan, "aws_kms_key")["enable_key_rotation"] is True
    for values in of_type(plan, "aws_s3_bucket_server_side_encryption_configuration").values():
        (rule,) = values["rule"]
        assert rule["apply_server_side_encryption_by_default"][0]["sse_algorithm"] == "aws:kms"
    assert only(plan, "aws_db_instance")["storage_encrypted"] is True
    assert only(plan, "aws_efs_file_system")["encrypted"] is True
    assert only(plan, "aws_elasticache_replication_group")["at_rest_encryption_enabled"] == "true"
    assert only(plan, "aws_mq_broker")["encryption_options"] == []  # refused for RabbitMQ
    assert only(plan, "aws_eks_cluster")["encryption_config"][0]["resources"] == ["secrets"]
    (disk,) = only(plan, "aws_launch_template")["block_device_mappings"]
    assert disk["ebs"][0]["encrypted"] == "true"
    for values in of_type(plan, "aws_ecr_repository").values():
        assert values["encryption_configuration"][0]["encryption_type"] == "KMS"


def test_everything_that_is_sent_is_encrypted(plan: Plan) -> None:
    for values in of_type(plan, "aws_s3_bucket_policy").values():
        (statement,) = json.loads(values["policy"])["Statement"]
        bucket = statement["Resource"][0]
        assert statement == {
            "Sid": "OnlyByTls",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [bucket, f"{bucket}/*"],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
        assert bucket.endswith(f"-{ACCOUNT}")
    kafka = only(plan, "aws_msk_cluster")
    assert kafka["encryption_info"][0]["encryption_in_transit"] == [
        {"client_broker": "TLS", "in_cluster": True}
    ]
    assert kafka["client_authentication"][0]["unauthenticated"] is False
    assert only(plan, "aws_elasticache_replication_group")["transit_encryption_enabled"] is True
    parameters = only(plan, "aws_db_parameter_group")["parameter"]
    assert "rds.force_ssl=1" in [f"{one['name']}={one['value']}" for one in parameters]


def test_secrets_are_in_no_plan(plan: Plan) -> None:
    for values in of_type(plan, "aws_secretsmanager_secret_version").values():
        assert values.get("secret_string") is None
        assert values.get("secret_string_wo") is None
        assert values["secret_string_wo_version"] == 1
    database = only(plan, "aws_db_instance")
    assert database["manage_master_user_password"] is True
    assert database.get("password") is None
    names = {values["name"] for values in of_type(plan, "aws_secretsmanager_secret").values()}
    assert "AmazonMSK_learnloop" in names  # Kafka on AWS takes no other


def test_an_erasure_can_remove_versions_and_slips_can_be_undone(plan: Plan) -> None:
    for address, values in of_type(plan, "aws_s3_bucket").items():
        assert not values.get("object_lock_enabled"), address
    for values in of_type(plan, "aws_s3_bucket_versioning").values():
        assert values["versioning_configuration"][0]["status"] == "Enabled"
    for values in of_type(plan, "aws_s3_bucket_lifecycle_configuration").values():
        (rule,) = values["rule"]
        assert rule["status"] == "Enabled"
        assert rule["noncurrent_version_expiration"][0]["noncurrent_days"] in (1, 14)
        assert rule["abort_incomplete_multipart_upload"] == [{"days_after_initiation": 7}]


def test_pods_have_no_rights_of_their_node(plan: Plan) -> None:
    options = only(plan, "aws_launch_template")["metadata_options"][0]
    assert (options["http_tokens"], options["http_put_response_hop_limit"]) == ("required", 1)
    attached = of_type(plan, "aws_iam_role_policy_attachment")
    assert {
        values["policy_arn"].rpartition("/")[2]
        for address, values in attached.items()
        if ".node[" in address
    } == {"AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly"}
    addons = of_type(plan, "aws_eks_addon")
    network = next(values for address, values in addons.items() if "vpc-cni" in address)
    assert json.loads(network["configuration_values"]) == {"enableNetworkPolicy": "true"}


def test_redis_never_throws_rows_away_and_keeps_no_snapshot(plan: Plan) -> None:
    (parameter,) = only(plan, "aws_elasticache_parameter_group")["parameter"]
    assert parameter == {"name": "maxmemory-policy", "value": "noeviction"}
    assert only(plan, "aws_elasticache_replication_group")["snapshot_retention_limit"] == 0


def test_subnets_do_not_overlap(plan: Plan) -> None:
    networks = [
        ipaddress.ip_network(one["cidr_block"]) for one in of_type(plan, "aws_subnet").values()
    ]
    assert not any(a.overlaps(b) for i, a in enumerate(networks) for b in networks[:i])


def losses(plan: Plan) -> dict[str, Any]:
    """What stands between an environment and the loss of a zone, or of all by one command."""
    database = only(plan, "aws_db_instance")
    cache = only(plan, "aws_elasticache_replication_group")
    kafka = only(plan, "aws_msk_cluster")
    secrets = of_type(plan, "aws_secretsmanager_secret").values()
    return {
        "buckets go with what they hold": {
            b["force_destroy"] for b in of_type(plan, "aws_s3_bucket").values()
        },
        "images go": {one["force_delete"] for one in of_type(plan, "aws_ecr_repository").values()},
        "backups go": only(plan, "aws_backup_vault")["force_destroy"],
        "secrets can be restored": {one["recovery_window_in_days"] for one in secrets},
        "database refuses deletion": database["deletion_protection"],
        "database leaves no snapshot": database["skip_final_snapshot"],
        "database has a standby": database["multi_az"],
        "database's backups": database["backup_retention_period"],
        "files' backups": only(plan, "aws_backup_plan")["rule"][0]["lifecycle"][0]["delete_after"],
        "brokers": only(plan, "aws_mq_broker")["deployment_mode"],
        "Kafka's brokers": kafka["number_of_broker_nodes"],
        "caches": (cache["num_cache_clusters"], cache["automatic_failover_enabled"]),
        "NAT gateways": len(of_type(plan, "aws_nat_gateway")),
    }


def test_production_outlives_a_zone_and_refuses_deletion(production: Plan) -> None:
    assert losses(production) == {
        "buckets go with what they hold": {False},
        "images go": {False},
        "backups go": False,
        "secrets can be restored": {30},
        "database refuses deletion": True,
        "database leaves no snapshot": False,
        "database has a standby": True,
        "database's backups": 14,
        "files' backups": 14,
        "brokers": "CLUSTER_MULTI_AZ",
        "Kafka's brokers": 3,
        "caches": (2, True),
        "NAT gateways": 3,
    }


def test_staging_is_small_and_can_be_destroyed(staging: Plan) -> None:
    assert losses(staging) == {
        "buckets go with what they hold": {True},
        "images go": {True},
        "backups go": True,
        "secrets can be restored": {0},
        "database refuses deletion": False,
        "database leaves no snapshot": True,
        "database has a standby": False,
        "database's backups": 1,
        "files' backups": 1,
        "brokers": "SINGLE_INSTANCE",
        "Kafka's brokers": 2,
        "caches": (1, False),
        "NAT gateways": 1,
    }


def test_everything_is_tagged(production: Plan, staging: Plan) -> None:
    for name, plan in (("production", production), ("staging", staging)):
        for address, values in plan.items():
            if values.get("tags_all"):
                assert values["tags_all"].items() >= {
                    ("application", "learnloop"),
                    ("environment", name),
                    ("managed-by", "terraform"),
                }, address
