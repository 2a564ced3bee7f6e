"""A span of time chooses presentations by the day on which their outcomes are known."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from components.engines.readers.oulad import table_schema
from learnloop.artifacts import Records
from learnloop.errors import UsageError
from pipelines.learner_outcome.presentations import choose_by_time, outcomes_known
from tests.pipelines.learner_outcome.conftest import make_examples

LENGTHS: dict[tuple[str, str], int | None] = {
    ("AAA", "2013J"): 268,
    ("BBB", "2013J"): 261,
    ("BBB", "2013B"): 240,
    ("DDD", "2014B"): 234,
    ("CCC", "2014B"): 241,
    ("CCC", "2014J"): 269,
}


def courses(folder: Path, lengths: dict[tuple[str, str], int | None]) -> Records:
    records = Records.create(folder / "records")
    rows = [
        {
            "code_module": module,
            "code_presentation": presentation,
            "module_presentation_length": length,
        }
        for (module, presentation), length in lengths.items()
    ]
    records.write("courses", pa.Table.from_pylist(rows, table_schema("courses")))
    return records


def test_outcomes_are_known_when_the_longest_module_has_ended(tmp_path: Path) -> None:
    assert list(outcomes_known(courses(tmp_path, LENGTHS)).items()) == [
        ("2013B", date(2013, 9, 29)),
        ("2013J", date(2014, 6, 26)),
        ("2014B", date(2014, 9, 30)),
        ("2014J", date(2015, 6, 27)),
    ]


@pytest.mark.parametrize(
    ("since", "until", "train", "judged"),
    [
        ("2013-10-01", "2014-07-01", "2013B", "2013J"),
        ("2014-07-01T04:00:00+00:00", "2014-10-01T04:00:00+00:00", "2013B 2013J", "2014B"),
        ("2014-10-01", "2015-07-01", "2013B 2013J 2014B", "2014J"),
        ("2014-01-01", "2015-01-01", "2013B", "2013J 2014B"),
        # The day itself: known from its first moment on, and not before.
        ("2014-06-26", "2014-06-27", "2013B", "2013J"),
        ("2014-06-26T00:00:01", "2014-09-30T00:00:01", "2013B 2013J", "2014B"),
    ],
)
def test_the_model_learns_from_what_was_known_before(
    tmp_path: Path, since: str, until: str, train: str, judged: str
) -> None:
    chosen = choose_by_time(courses(tmp_path, LENGTHS), since, until)
    assert chosen == (tuple(train.split()), tuple(judged.split()))


ALL_KNOWN = "2013B (2013-09-29), 2013J (2014-06-26), 2014B (2014-09-30), 2014J (2015-06-27)"
MISTAKES = {
    "ends before it begins": (
        ("2014-10-01", "2014-07-01"),
        "The span ends before it begins.\n  where:    parameters 'since' and 'until'\n"
        "  expected: until after 2014-10-01\n  received: 2014-07-01",
    ),
    "no date": (
        ("1 October", "2014-07-01"),
        "A date is not written as ISO 8601 writes it.\n  where:    parameter 'since'\n"
        "  expected: 2014-10-01, or 2014-10-01T04:00:00+00:00\n  received: '1 October'",
    ),
    "half a span": (
        ("2014-07-01", ""),
        "A date is not written as ISO 8601 writes it.\n  where:    parameter 'until'\n"
        "  expected: 2014-10-01, or 2014-10-01T04:00:00+00:00\n  received: ''",
    ),
    "nothing before": (
        ("2013-09-29", "2014-07-01"),
        "There is no presentation to learn from.\n  where:    parameters 'since' and 'until'\n"
        f"  expected: outcomes known before 2013-09-29\n  received: {ALL_KNOWN}\n"
        "  next:     take another span, or bring the source up to date",
    ),
    "nothing within": (
        ("2015-07-01", "2015-10-01"),
        "There is no presentation to judge the model by.\n"
        "  where:    parameters 'since' and 'until'\n"
        "  expected: outcomes that became known from 2015-07-01 to 2015-10-01\n"
        f"  received: {ALL_KNOWN}\n  next:     take another span, or bring the source up to date",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_a_span_is_explained(name: str, tmp_path: Path) -> None:
    (since, until), message = MISTAKES[name]
    with pytest.raises(UsageError) as caught:
        make_examples(courses(tmp_path, LENGTHS), tmp_path, since=since, until=until)
    assert str(caught.value) == message


def test_a_course_without_an_end_is_explained(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        outcomes_known(courses(tmp_path, {("AAA", "2013J"): None}))
    assert str(caught.value) == (
        "A module of presentation '2013J' has no length: its end is not known.\n"
        "  where:    table 'courses', column 'module_presentation_length'\n"
        "  expected: a number of days\n  received: none"
    )


def test_a_code_of_another_kind_is_explained(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        outcomes_known(courses(tmp_path, {("AAA", "2014K"): 240}))
    assert str(caught.value) == (
        "A presentation's code does not tell when it starts.\n"
        "  where:    table 'courses', column 'code_presentation'\n"
        "  expected: a year, then B (February) or J (October), as in 2014J\n"
        "  received: '2014K'\n"
        "  next:     leave since and until empty, and name the presentations"
    )


def test_the_default_protocol_is_the_span_of_its_last_term(
    real_records: Records, tmp_path: Path
) -> None:
    """July to June of 2014J: the same rows as by name, and the counts of the data's README."""
    span = {"since": "2014-10-01", "until": "2015-07-01"}
    by_span = make_examples(real_records, tmp_path / "span", **span)
    by_name = make_examples(real_records, tmp_path / "name")
    assert by_span.content_digest() == by_name.content_digest()
    counts = by_span.counts
    assert counts["train"] + counts["validation"] == 17_525
    assert counts["test"] == 8_728
