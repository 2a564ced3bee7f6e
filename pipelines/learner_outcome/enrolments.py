"""From raw OULAD tables to enrolments: whom to learn from, and what was known of everybody.

Presentations make the splits. What was known goes to the feature views (:mod:`.feature_views`), and
comes from there into the examples.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

from components.split import by_learner
from feature_store.fields import EVENT_TIMESTAMP
from learnloop.artifacts import Examples, Records
from learnloop.component import Context, Input, Output, Resources, component
from learnloop.errors import UsageError, closest
from pipelines.learner_outcome.features import (
    AS_OF,
    FEATURES,
    KEYS,
    LABEL,
    LEARNER,
    SLICES,
    TABLES,
    VIEW,
    roll_features,
)
from pipelines.learner_outcome.presentations import (
    choose_by_time,
    days_ended,
    outcomes_known,
    start_of,
)

if TYPE_CHECKING:
    import pyarrow as pa

VALIDATION_SEED = 60
OTHER_SLICES = tuple(name for name in SLICES if name not in KEYS)


@component(resources=Resources(cpus=2.0))
def enrolments(
    records: Input[Records],
    entities: Output[Examples],
    features: Output[Records],
    *,
    day: int = 60,
    marking_days: int = 0,
    train_presentations: tuple[str, ...] = ("2013B", "2013J", "2014B"),
    test_presentations: tuple[str, ...] = ("2014J",),
    since: str = "",
    until: str = "",
    validation: float = 0.15,
) -> None:
    """Tell which enrolments on the roll on a day to learn from, and what was known of each.

    The test presentations come later than those trained on, as in service. A share of the training
    learners, by a keyed hash of the learner, is the validation split: all their enrolments.

    Args:
        records: The raw OULAD tables.
        entities: ``train``, ``validation`` and ``test``: enrolment, moment, label and slices.
        features: The rows of the feature view ``enrolment_day`` of everybody on the roll.
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
    wanted = (*train_presentations, *test_presentations)
    rows = roll_on_day(records, wanted, day, marking_days)
    features.write(VIEW, rows.select([*KEYS, AS_OF, *FEATURES]))
    judged = rows.filter(rows[LABEL].is_valid()).select([*KEYS, AS_OF, LABEL, *OTHER_SLICES])
    judged = judged.rename_columns([*KEYS, EVENT_TIMESTAMP, LABEL, *OTHER_SLICES])
    for name, part in split_by_presentation(judged, test_presentations, validation).items():
        if not part.num_rows:
            raise UsageError(
                f"The split '{name}' is empty.",
                where=f"day {day}",
                expected="enrolments on the roll on this day",
                received="none",
            )
        entities.write(name, part)
    entities.describe(
        day=day,
        marking_days=marking_days,
        train_presentations=list(train_presentations),
        test_presentations=list(test_presentations),
    )


@component(resources=Resources(cpus=2.0))
def enrolments_of_days(
    records: Input[Records],
    features: Output[Records],
    *,
    until: str,
    since: str = "",
    marking_days: int = 0,
    context: Context,
) -> None:
    """Compute what was known of every enrolment at the end of each day, whatever became of it.

    Args:
        records: The raw OULAD tables.
        features: The rows of the feature view ``enrolment_day``, for the presentations that ran.
        until: The last moment at which a day may end, in ISO 8601.
        since: The moment after which it must end; the last day alone when empty.
        marking_days: Days from a submission until its mark is known.
        context: Progress.

    Raises:
        UsageError: The span is none, or a presentation does not tell when it starts and ends.
    """
    import pyarrow as pa

    courses = outcomes_known(records)
    days = [
        (name, day)
        for end in days_ended(since, until)
        for name, last in courses.items()
        if (day := (end - start_of(name)).days - 1) >= 0 and end <= last
    ]
    if not days:
        context.report("no presentation runs then")
    schema = pa.schema(
        [
            *((name, pa.int64() if name == LEARNER else pa.string()) for name in KEYS),
            (AS_OF, pa.timestamp("us", "UTC")),
            *((name, pa.float32()) for name in FEATURES),
        ]
    )

    def batches() -> Iterator[pa.RecordBatch]:
        for done, (name, day) in enumerate(days):
            context.report(f"day {day} of {name}", done=done, total=len(days))
            rows = roll_on_day(records, (name,), day, marking_days)
            yield from rows.select(schema.names).cast(schema).to_batches()

    features.write(VIEW, batches(), schema)


def roll_on_day(
    records: Records, presentations: tuple[str, ...], day: int, marking_days: int
) -> pa.Table:
    """Compute what is known at the end of a day of the course.

    Args:
        records: The raw OULAD tables.
        presentations: The presentations wanted.
        day: The day of the course.
        marking_days: Days from a submission until its mark is known.

    Returns:
        The rows of :func:`roll_features` and, as ``as_of``, the moment at which the day ends.

    Raises:
        UsageError: A presentation's code does not tell when it starts.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = roll_features(
        {name: records.file(name) for name in TABLES}, presentations, day, marking_days
    )
    ends = [
        datetime.combine(start_of(name) + timedelta(days=day + 1), time(), UTC)
        for name in presentations
    ]
    place = pc.index_in(rows["code_presentation"], pa.array(presentations, pa.string()))
    return rows.append_column(AS_OF, pa.array(ends, pa.timestamp("us", "UTC")).take(place))


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
