"""What was known about an enrolment on a day of the course, from the raw OULAD tables.

Every figure is cut at the day twice: an event counts if it happened by then (clicks, submissions,
registrations) and a mark if it was *known* by then, ``marking_days`` after the submission. Who is
on the roll is decided as the platform would decide it on that day. The end of the course
(``final_result``) gives the label and nothing else; ``date_unregistration`` tells only who has left
by the day. While a course still runs there is no end, and no label.

A *standing* is the share of the presentation's roll that has no more of something. It compares
learners with their own cohort, so that a module that changes its assessments or its site does not
change what a figure means. It needs no one's future: the cohort is the roll on that day.

The SQL runs in DuckDB over the Parquet files of the raw tables, in about a second for ten million
clicks. All sums are of whole numbers or decimals, hence exact and the same in any order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

LABEL = "fails_or_withdraws"
LEARNER = "learner"
KEYS = ("code_module", "code_presentation", LEARNER)
"""What names an enrolment."""

VIEW = "enrolment_day"
"""The feature view that these features are kept and asked for in."""

AS_OF = "as_of"
"""Its time: the end of the day."""

FEATURES = (
    "mean_score",
    "last_score",
    "submitted_share",
    "days_early",
    "previous_attempts",
    "studied_credits",
    "education",
    "clicks",
    "active_days",
    "days_since_active",
    "mean_score_standing",
    "last_score_standing",
    "days_early_standing",
    "clicks_standing",
    "active_days_standing",
    "recent_clicks_standing",
    "recent_active_days_standing",
    "sites_standing",
)
"""The model's raw inputs, all float32 and never null. The first ten are the reference's."""

WATCHED = FEATURES[:10]
"""The inputs to watch for drift. A standing is a rank within the cohort, of the same distribution
whatever the learners do but for its ties: what it shows is the week's timetable."""

SLICES = (
    "gender",
    "age_band",
    "imd_band",
    "disability",
    "region",
    "code_module",
    "code_presentation",
)
"""Columns to judge the model by; never inputs. A missing band is "unknown"."""

PROTECTED = ("gender", "age_band", "imd_band", "disability")
"""Those of the slices whose groups must be served equally."""

TABLES = (
    "assessments",
    "studentInfo",
    "studentRegistration",
    "studentAssessment",
    "studentVle",
)

_EDUCATION = (
    "No Formal quals",
    "Lower Than A Level",
    "A Level or Equivalent",
    "HE Qualification",
    "Post Graduate Qualification",
)

_ROLL = """
    SELECT info.*,
           CASE WHEN NOT (final_result = 'Withdrawn' AND date_unregistration IS NULL)
                THEN final_result IN ('Fail', 'Withdrawn') END AS fails_or_withdraws
    FROM studentInfo AS info
    JOIN studentRegistration USING (code_module, code_presentation, id_student)
    WHERE date_registration <= $day
      AND (date_unregistration IS NULL OR date_unregistration > $day)
      AND list_contains($presentations, code_presentation)
"""
"""Who is on the roll that day. A withdrawal without a date cannot be placed in time: such a learner
is in the cohort, as they were on the platform's roll, and has no label."""

_MARKS = """
    SELECT code_module, code_presentation, id_student,
           avg(score) AS mean_score,
           arg_max(score, (date_submitted, id_assessment)) AS last_score,
           count(*) AS submitted,
           avg(days_early) AS days_early
    FROM (
        SELECT * EXCLUDE (score), date - date_submitted AS days_early,
               CASE WHEN date_submitted + $marking_days <= $day
                    THEN CAST(score AS DECIMAL(9, 3)) END AS score
        FROM studentAssessment
        JOIN assessments USING (id_assessment)
        WHERE is_banked = 0 AND assessment_type <> 'Exam' AND date_submitted <= $day
    )
    GROUP BY ALL
"""
"""Banked marks were earned in an earlier year, so they are left out."""

_DUE = """
    SELECT code_module, code_presentation, count(*) AS due
    FROM assessments
    WHERE assessment_type <> 'Exam' AND date <= $day
    GROUP BY ALL
"""

_ACTIVITY = """
    SELECT code_module, code_presentation, id_student,
           sum(clicks) AS clicks,
           count(*) AS active_days,
           max(date) AS last_active_day,
           sum(clicks) FILTER (date > $day - $recent_days) AS recent_clicks,
           count(*) FILTER (date > $day - $recent_days) AS recent_active_days
    FROM (
        SELECT code_module, code_presentation, id_student, date, sum(sum_click) AS clicks
        FROM studentVle
        WHERE date <= $day AND list_contains($presentations, code_presentation)
        GROUP BY ALL
    )
    GROUP BY ALL
"""

_SITES = """
    SELECT code_module, code_presentation, id_student, count(*) AS sites
    FROM (
        SELECT DISTINCT code_module, code_presentation, id_student, id_site
        FROM studentVle
        WHERE date <= $day AND list_contains($presentations, code_presentation)
    )
    GROUP BY ALL
"""

_FIGURES = """
    SELECT roll.*,
           coalesce(mean_score, 0) AS mean_score,
           coalesce(last_score, 0) AS last_score,
           least(coalesce(submitted, 0) / greatest(coalesce(due, 0), 1), 2) AS submitted_share,
           coalesce(least(greatest(days_early, -30), 60), -30) AS days_early,
           num_of_prev_attempts AS previous_attempts,
           list_position($education, highest_education) - 1 AS education,
           coalesce(clicks, 0) AS clicks,
           coalesce(active_days, 0) AS active_days,
           coalesce(sites, 0) AS sites,
           coalesce($day - last_active_day, $day + 25) AS days_since_active,
           coalesce(recent_clicks, 0) AS recent_clicks,
           coalesce(recent_active_days, 0) AS recent_active_days
    FROM roll
    LEFT JOIN due USING (code_module, code_presentation)
    LEFT JOIN marks USING (code_module, code_presentation, id_student)
    LEFT JOIN activity USING (code_module, code_presentation, id_student)
    LEFT JOIN sites USING (code_module, code_presentation, id_student)
"""


def enrolment_features(
    tables: Mapping[str, Path], presentations: Sequence[str], day: int, marking_days: int = 0
) -> pa.Table:
    """Compute the features, label and slices of every enrolment that is learned from or judged by.

    Args:
        tables: Parquet files by raw table, at least those of :data:`TABLES`.
        presentations: The presentations wanted, for example ``2013J``.
        day: The day of the course, counted from its first day.
        marking_days: Days from a submission until its mark is known.

    Returns:
        The rows of :func:`roll_features` that have a label.
    """
    rows = roll_features(tables, presentations, day, marking_days)
    return rows.filter(rows[LABEL].is_valid())


def roll_features(
    tables: Mapping[str, Path],
    presentations: Sequence[str],
    day: int,
    marking_days: int = 0,
    recent_days: int = 28,
) -> pa.Table:
    """Compute the features, label and slices of every enrolment that is on the roll on a day.

    Args:
        tables: Parquet files by raw table, at least those of :data:`TABLES`.
        presentations: The presentations wanted, for example ``2013J``.
        day: The day of the course, counted from its first day.
        marking_days: Days from a submission until its mark is known.
        recent_days: The length of the recent past, in days.

    Returns:
        A row for each enrolment, ordered by presentation, module and learner: ``learner`` (int64),
        the :data:`FEATURES` (float32), the :data:`LABEL` (int64, 1 for Fail or Withdrawn, null
        where that is not known) and the :data:`SLICES` (strings).
    """
    import tempfile

    import duckdb
    import pyarrow.parquet as parquet

    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        for name in TABLES:
            connection.read_parquet(str(tables[name])).create_view(name)
        file = Path(folder) / "features.parquet"
        connection.execute(
            _query(str(file)),
            {
                "day": day,
                "marking_days": marking_days,
                "recent_days": recent_days,
                "presentations": list(presentations),
                "education": list(_EDUCATION),
            },
        )
        return parquet.read_table(file).replace_schema_metadata()


def _query(file: str) -> str:
    """Put the parts together."""
    standings = [name for name in FEATURES if name.endswith("_standing")]
    columns = [
        f"CAST(id_student AS BIGINT) AS {LEARNER}",
        *(f"CAST({name} AS FLOAT) AS {name}" for name in FEATURES),
        f"CAST({LABEL} AS BIGINT) AS {LABEL}",
        *(f"coalesce({name}, 'unknown') AS {name}" for name in SLICES),
    ]
    ranks = [
        f"cume_dist() OVER (PARTITION BY code_module, code_presentation ORDER BY {figure})"
        f" AS {figure}_standing"
        for figure in (name.removesuffix("_standing") for name in standings)
    ]
    return f"""
        COPY (
            WITH roll AS ({_ROLL}), marks AS ({_MARKS}), due AS ({_DUE}),
                 activity AS ({_ACTIVITY}), sites AS ({_SITES}), figures AS ({_FIGURES}),
                 compared AS (SELECT *, {", ".join(ranks)} FROM figures)
            SELECT {", ".join(columns)}
            FROM compared
            ORDER BY code_presentation, code_module, id_student
        ) TO '{file}'
    """  # noqa: S608 (every part is a constant of this module; the file's folder is our own)
