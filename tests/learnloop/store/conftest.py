"""Stores to test: a folder, and a bucket behind a proxy that counts requests and can fail."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from learnloop.store import Store, open_store
from tests.fault_proxy import FaultProxy, fault_proxy


@pytest.fixture(scope="session")
def s3_proxy(s3_endpoint: str) -> Iterator[FaultProxy]:
    """A proxy before the private S3."""
    with fault_proxy(s3_endpoint) as proxy:
        yield proxy


@pytest.fixture
def proxy(s3_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> FaultProxy:
    """The proxy, through which this test's boto3 clients speak to S3; it passes everything on."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_proxy.url)
    monkeypatch.setattr(s3_proxy, "fault", lambda method, path: "")
    monkeypatch.setattr(s3_proxy, "failed", 0)
    s3_proxy.requests.clear()
    return s3_proxy


@pytest.fixture
def bucket(s3_endpoint: str) -> str:
    """A new, empty bucket."""
    name = f"bucket-{uuid.uuid4().hex}"
    boto3.client("s3", endpoint_url=s3_endpoint).create_bucket(Bucket=name)
    return name


@pytest.fixture
def s3_store(proxy: FaultProxy, bucket: str, tmp_path: Path) -> Store:
    """A store on S3."""
    return open_store(f"s3://{bucket}/team/loop", str(tmp_path / "home"))


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Either store."""
    if request.param == "s3":
        found: Store = request.getfixturevalue("s3_store")
        return found
    return open_store(str(tmp_path / "store"), str(tmp_path / "home"))
