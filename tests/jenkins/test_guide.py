"""Every command of ``docs/delivery.md`` that needs no controller, typed as it stands."""

from __future__ import annotations

import json
import re
import shlex

import pytest

from tests.jenkins.conftest import METRICS, Site
from tests.jenkins.jenkins import JENKINS, ROOT

pytestmark = pytest.mark.xdist_group("delivery")

GUIDE = (ROOT / "docs" / "delivery.md").read_text()


def test_promoting_by_hand(site: Site) -> None:
    site.publish("demo", 0.0, 0.05)
    (block,) = re.findall(r"^```console\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
    block = block.replace("http://127.0.0.1:8501" + METRICS, site.server.rest_url + METRICS)
    block = block.replace("grpc://127.0.0.1:8500", site.server.grpc_url).replace("3600", "0")
    told = []
    for line in block.splitlines():
        done = site.agent.type(shlex.split(line))
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        told.append(done.stdout)
    assert told[:2] == ["2\n", "demo: version 1 in service, version 2 on trial with weight 0.1\n"]
    assert told[3] == "demo: version 2 in service\n"
    assert json.loads(told[4])["outputs"] == {"y": [3.5]}
    assert told[5].splitlines()[-1].endswith("a new term, approved by grace")
    assert told[6] == "demo: version 1 in service\n"


def test_the_guide_names_what_there_is() -> None:
    for path in re.findall(r"`(jenkins/[\w./]+)", GUIDE):
        assert (ROOT / path).exists() or path == "jenkins/rows/MODEL.json", path
    promote = (JENKINS / "promote.Jenkinsfile").read_text()
    parameters = re.findall(r"(?:string|choice)\(name: '(\w+)'.*?'(\w[\w.]*)'", promote)
    assert re.findall(r"^\| `([A-Z]+)` \| `(\S+)` \|", GUIDE, re.MULTILINE) == parameters
    stages = re.findall(r"^ {8}stage\('(.*)'\)", promote, re.MULTILINE)
    assert re.findall(r"^\| ([A-Z][a-z ]+) \|", GUIDE, re.MULTILINE) == stages
