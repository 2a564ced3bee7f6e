"""The guide to provisioning names what is there: it needs a cloud, so none of it is typed here."""

from __future__ import annotations

import re

from tests.terraform.conftest import ROOT

GUIDE = (ROOT / "docs" / "provisioning.md").read_text()
ENVIRONMENTS = ROOT / "terraform" / "environments"


def test_every_output_that_is_handed_over_exists() -> None:
    named = set(re.findall(r"terraform output -(?:raw|json) (\w+)", GUIDE))
    assert named == {"environment", "kafka_environment", "patches", "objects", "deployment"}
    for environment in ("staging", "production"):
        text = (ENVIRONMENTS / environment / "outputs.tf").read_text()
        assert set(re.findall(r'output "(\w+)"', text)) == named


def test_fields_that_are_asked_for_are_in_the_output() -> None:
    text = (ROOT / "terraform" / "modules" / "platform" / "outputs.tf").read_text()
    fields = set(re.findall(r"^    (\w+) +=", text, re.MULTILINE))
    assert set(re.findall(r"jq -r \.(\w+)", GUIDE)) | {"models"} <= fields


def test_every_file_that_is_written_or_read_exists() -> None:
    production = ENVIRONMENTS / "production"
    paths = set(re.findall(r"(?:> |cat )((?:\.\./)+[\w./-]+)", GUIDE))
    assert len(paths) == 4
    for path in paths:
        assert (production / path).is_file(), path


def test_every_module_is_in_the_picture() -> None:
    picture = GUIDE.split("```")[1]
    modules = {path.name for path in (ROOT / "terraform" / "modules").iterdir()}
    assert {name for name in modules if not re.search(rf"\b{name}\b", picture)} == set()


def test_the_example_of_variables_sets_all_that_there_are() -> None:
    example = GUIDE.split("```hcl\n")[1].split("```")[0]
    declared = (ENVIRONMENTS / "production" / "variables.tf").read_text()
    assert set(re.findall(r"^(\w+) ", example, re.MULTILINE)) == set(
        re.findall(r'variable "(\w+)"', declared)
    )


def test_sizes_are_as_told() -> None:
    """What the table says of both, in the words of their files."""
    for environment, nodes, gib, kafka, days in (
        ("staging", "{ least = 2, most = 4 }", 20, 20, 1),
        ("production", "{ least = 3, most = 12 }", 100, 500, 14),
    ):
        text = (ENVIRONMENTS / environment / "main.tf").read_text()
        values = dict(re.findall(r"^  (\w+) += (.+)$", text, re.MULTILINE))
        assert values["nodes"] == nodes
        assert values["database_gib"] == str(gib)
        assert values["events_gib"] == str(kafka)
        assert values["backup_days"] == values["undo_days"] == str(days)
