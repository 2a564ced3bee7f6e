"""The component that turns raw OULAD tables into examples: presentations make the splits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.split import by_learner
from learnloop.artifacts import Examples, Records
from learnloop.component import Input, Output, Resources, component
from learnloop.errors import UsageError, closest
from pipelines.learner_outcome.features import LEARNER, TABLES, enrolment_features
from pipelines.learner_outcome.presentations import choose_by_time

if TYPE_CHECKING:
    import pyarrow as pa

VALIDATION_SEED = 60


@component(resources=Resources(cpus=2.0))
def enrolment_examples(
    records: Input[Records],
    examples: Output[Examples],
    *,
    day: int = 60,
    marking_days: int = 0,
    train_presentations: tuple[str, ...] = ("2013B", "2013J", "2014B"),
    test_presentations: tuple[str, ...] = ("2014J",),
    since: str = "",
    until: str = "",
    validation: float = 0.15,
) -> None:
    """Make one example of each enrolment on the roll on a day, split by presentation.

    The test presentations come later than those trained on, as in service. A share of the training
    learners, by a keyed hash of the learner, is the validation split: all their enrolments.

    Args:
        records: The raw OULAD tables.
        examples: ``train``, ``validation`` and ``test``.
        day: The day of the course on which the question is asked.
        marking_days: Days from a submission until its mark is known; 0 takes marks as known at
            once, 14 is how long marking really takes.
        train_presentations: The presentations to learn from.
        test_presentations: The presentations to judge by, none of them trained on.
        since: With ``until``, a span of time that chooses the presentations in place of the two
            lists: the model is judged by those whose outcomes became known in the span, and
            learns from those known before it (:mod:`.presentations`). ISO 8601.
        until: The span's end, which no longer belongs to it.
        validation: The share of training learners for validation.

    Raises:
        UsageError: A presentation is unknown or in both, the span is none or holds no presentation,
            or a split would be empty.
    """
    if since or until:
        train_presentations, test_presentations = choose_by_time(records, since, until)
    _check_presentations(records, train_presentations, test_presentations)
    tables = {name: records.file(name) for name in TABLES}
    wanted = (*train_presentations, *test_presentations)
    rows = enrolment_features(tables, wanted, day, marking_days)
    for name, part in split_by_presentation(rows, test_presentations, validation).items():
        if not part.num_rows:
            raise UsageError(
                f"The split '{name}' is empty.",
                where=f"day {day}",
                expected="enrolments on the roll on this day",
                received="none",
            )
        examples.write(name, part)
    examples.describe(
        day=day,
        marking_days=marking_days,
        train_presentations=list(train_presentations),
        test_presentations=list(test_presentations),
    )


def split_by_presentation(
    rows: pa.Table, test_presentations: tuple[str, ...], validation: float
) -> dict[str, pa.Table]:
    """Split enrolments: later presentations to test, a share of the other learners to validation.

    Args:
        rows: Enrolments with ``code_presentation`` and ``learner``.
        test_presentations: The presentations to judge by.
        validation: The share of training learners for validation.

    Returns:
        The rows of ``train``, ``validation`` and ``test``, in their order.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    is_test = pc.is_in(rows["code_presentation"], pa.array(test_presentations))
    training = rows.filter(pc.invert(is_test))
    places = pa.array(by_learner(training[LEARNER], validation, 0.0, VALIDATION_SEED))
    return {
        "train": training.filter(pc.equal(places, 0)),
        "validation": training.filter(pc.equal(places, 1)),
        "test": rows.filter(is_test),
    }


def _check_presentations(
    records: Records, train_presentations: tuple[str, ...], test_presentations: tuple[str, ...]
) -> None:
    known = set(records.table("courses", ["code_presentation"])["code_presentation"].to_pylist())
    for name in (*train_presentations, *test_presentations):
        if name not in known:
            raise UsageError(
                f"There is no presentation '{name}'.",
                where="table 'courses'",
                expected=closest(name, known),
                received=repr(name),
            )
    both = sorted(set(train_presentations) & set(test_presentations))
    if both:
        raise UsageError(
            "A presentation cannot be trained on and judge the model.",
            where="parameters 'train_presentations' and 'test_presentations'",
            expected="no presentation in both",
            received=", ".join(both),
        )
