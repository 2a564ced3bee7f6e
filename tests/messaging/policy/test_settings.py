"""``policies.toml``: read, and refused with the place of what does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from learnloop.errors import UsageError
from messaging.policy import Policy, load_policies
from messaging.policy.settings import read_policies


def test_without_a_file_there_is_the_built_in_policy(tmp_path: Path) -> None:
    assert load_policies(tmp_path).of("learner_outcome") == Policy()


def test_a_pipeline_changes_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "policies.toml").write_text(
        "[default]\nminimum_new_rows = 800\nruns_a_day = 3\n"
        '[knowledge_tracing]\nruns_a_day = 1\nquiet_hours = ["08:00-16:00"]\n'
    )
    policies = load_policies(tmp_path)
    assert policies.of("learner_outcome") == Policy(minimum_new_rows=800, runs_a_day=3)
    assert policies.of("knowledge_tracing") == Policy(
        minimum_new_rows=800, runs_a_day=1, quiet_hours=("08:00-16:00",)
    )


WRONG = [
    (
        "[default",
        "The file of policies is not TOML.",
        "",
        "Expected ']' at the end of a table declaration (at end of document)",
    ),
    ("cool = 3", "'cool' is no policy.", "", "cool = 3"),
    (
        "[p]\ncool_down = 3",
        "A policy does not fit: Unexpected keyword argument.",
        ", p.cool_down",
        "3",
    ),
    (
        '[default]\nquiet_hours = ["8-16"]',
        "A policy does not fit: String should match pattern "
        r"'^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$'.",
        ", default.quiet_hours.0",
        "'8-16'",
    ),
    (
        '[p]\ntime_zone = "Mars/Olympus"',
        "A policy does not fit: Value error, there is no time zone 'Mars/Olympus'.",
        ", p.time_zone",
        "'Mars/Olympus'",
    ),
    (
        "[p]\nruns_a_day = -1",
        "A policy does not fit: Input should be greater than or equal to 0.",
        ", p.runs_a_day",
        "-1",
    ),
]


@pytest.mark.parametrize(("text", "what", "place", "received"), WRONG)
def test_a_policy_that_does_not_fit(
    tmp_path: Path, text: str, what: str, place: str, received: str
) -> None:
    path = tmp_path / "policies.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_policies(tmp_path)
    assert (caught.value.what, caught.value.where) == (what, f"{path}{place}")
    assert caught.value.received == received


def test_a_file_that_is_named_has_to_be_there(tmp_path: Path) -> None:
    (tmp_path / "calm.toml").write_text("[default]\ncool_down_hours = 48\n")
    assert read_policies(tmp_path / "calm.toml").of("learner_outcome") == Policy(cool_down_hours=48)
    with pytest.raises(UsageError) as caught:
        read_policies(tmp_path / "clam.toml")
    assert str(caught.value) == (
        "The file of policies cannot be read.\n"
        f"  where:    {tmp_path / 'clam.toml'}\n"
        "  received: No such file or directory"
    )
