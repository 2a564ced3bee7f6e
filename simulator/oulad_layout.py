"""The simulated learners as OULAD's files, named and typed as the real ones.

Six CSV files with every field quoted, and ``studentVle/MODULE_PRESENTATION.parquet`` in place of
the largest. Rows stand in the order of learners, not of courses, because they are streamed.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa

from simulator import population
from simulator.cohort import Cohort, World
from simulator.corruption import Corruptor, Weaknesses
from simulator.courses import ACTIVITIES, COURSES, MODULES, SITES_PER_COURSE
from simulator.draws import Integers
from simulator.faults import FaultLog
from simulator.files import CsvFile, ParquetFile, named
from simulator.population import FIRST_ID
from simulator.settings import PRESENTATIONS, SimulationSettings
from simulator.studies import RESULTS

ASSESSMENT_KINDS = ("TMA", "CMA", "Exam")

LEAKING_COLUMN = "completion_code"
"""The column that ``leak`` adds to ``studentInfo.csv``."""

INFO_COLUMNS = (
    "code_module",
    "code_presentation",
    "id_student",
    "gender",
    "region",
    "highest_education",
    "imd_band",
    "age_band",
    "num_of_prev_attempts",
    "studied_credits",
    "disability",
    "final_result",
)
REGISTRATION_COLUMNS = (
    "code_module",
    "code_presentation",
    "id_student",
    "date_registration",
    "date_unregistration",
)
SUBMISSION_COLUMNS = ("id_assessment", "id_student", "date_submitted", "is_banked", "score")
CLICK_SCHEMA = pa.schema(
    [
        ("code_module", pa.string()),
        ("code_presentation", pa.string()),
        ("id_student", pa.int32()),
        ("id_site", pa.int32()),
        ("date", pa.int16()),
        ("sum_click", pa.int32()),
    ]
)
WEAKNESSES = {
    "studentInfo": Weaknesses("studied_credits", None, "region"),
    "studentRegistration": Weaknesses("id_student", "date_registration", "code_module"),
    "studentAssessment": Weaknesses("score", "date_submitted", "id_assessment"),
}


class OuladLayout:
    """Writes cohorts into OULAD's files.

    Args:
        folder: Where the files go; it is made.
        world: The simulation.
        faults: Records the malformed lines.
        stack: Closes the files.
    """

    def __init__(self, folder: Path, world: World, faults: FaultLog, stack: ExitStack) -> None:
        folder.mkdir()
        settings = world.settings

        def opened(table: str, columns: tuple[str, ...]) -> CsvFile:
            corruptor = _corruptor(settings, table, faults)
            return stack.enter_context(CsvFile(folder / f"{table}.csv", columns, corruptor))

        leaking = (LEAKING_COLUMN,) if settings.leak else ()
        self._world = world
        self.info = opened("studentInfo", INFO_COLUMNS + leaking)
        self.registration = opened("studentRegistration", REGISTRATION_COLUMNS)
        self.submissions = opened("studentAssessment", SUBMISSION_COLUMNS)
        self.clicks = [
            stack.enter_context(ParquetFile(_vle_path(folder, course), CLICK_SCHEMA, None))
            for course in range(len(COURSES))
        ]
        _write_courses(folder, world)

    def write(self, cohort: Cohort) -> None:
        """Append what the learners of a cohort did."""
        learners, enrolments, studies = cohort.learners, cohort.enrolments, cohort.studies
        learner = enrolments.learner
        student = FIRST_ID + learners.number[learner]
        key = (named(enrolments.module, MODULES),
               named(enrolments.presentation, PRESENTATIONS), student)  # fmt: skip
        leaking = (studies.completion_code,) if self._world.settings.leak else ()
        self.info.write(
            *key,
            named(learners.gender[learner], population.GENDERS),
            named(learners.region[learner], population.REGIONS),
            named(learners.education[learner], population.EDUCATIONS),
            named(learners.deprivation[learner], population.DEPRIVATIONS),
            named(learners.age[learner], population.AGES),
            enrolments.previous_attempts,
            enrolments.credits,
            named(learners.disability[learner], ("N", "Y")),
            named(studies.result, RESULTS),
            *leaking,
        )
        self.registration.write(*key, studies.registered, studies.withdrawn_on)
        submissions = studies.submissions
        self.submissions.write(
            self._world.courses.assessments.number[submissions.assessment],
            student[submissions.enrolment],
            submissions.submitted,
            submissions.banked,
            submissions.score,
        )
        self._write_clicks(cohort, student)

    def _write_clicks(self, cohort: Cohort, student: Integers) -> None:
        clicks = cohort.clicks
        bounds: Integers = np.searchsorted(clicks.course, np.arange(len(COURSES) + 1))
        for course, (module, presentation) in enumerate(COURSES):
            rows = slice(int(bounds[course]), int(bounds[course + 1]))
            count = rows.stop - rows.start
            columns = [
                pa.array([module]).take(pa.array(np.zeros(count, np.int8))),
                pa.array([presentation]).take(pa.array(np.zeros(count, np.int8))),
                pa.array(student[clicks.enrolment[rows]].astype(np.int32)),
                pa.array(
                    self._world.courses.site_number(clicks.course[rows], clicks.site[rows])
                    .astype(np.int32)
                ),
                pa.array(clicks.day[rows].astype(np.int16)),
                pa.array(clicks.clicks[rows].astype(np.int32)),
            ]  # fmt: skip
            self.clicks[course].write(pa.table(columns, schema=CLICK_SCHEMA))


def _corruptor(settings: SimulationSettings, table: str, faults: FaultLog) -> Corruptor | None:
    if not settings.corruption:
        return None
    name = f"oulad/{table}.csv"
    return Corruptor(name, WEAKNESSES[table], settings.seed, settings.corruption, faults.note)


def _vle_path(folder: Path, course: int) -> Path:
    module, presentation = COURSES[course]
    return folder / "studentVle" / f"{module}_{presentation}.parquet"


def _write_courses(folder: Path, world: World) -> None:
    """Write the three files that do not grow with the learners."""
    every = np.arange(len(COURSES))
    modules, presentations = every // len(PRESENTATIONS), every % len(PRESENTATIONS)
    columns: tuple[str, ...] = ("code_module", "code_presentation", "module_presentation_length")
    with CsvFile(folder / "courses.csv", columns) as courses:
        courses.write(
            named(modules, MODULES), named(presentations, PRESENTATIONS), world.courses.length
        )
    table = world.courses.assessments
    columns = ("code_module", "code_presentation", "id_assessment", "assessment_type",
               "date", "weight")  # fmt: skip
    with CsvFile(folder / "assessments.csv", columns) as assessments:
        assessments.write(
            named(modules[table.course], MODULES),
            named(presentations[table.course], PRESENTATIONS),
            table.number,
            named(table.kind, ASSESSMENT_KINDS),
            table.due,
            table.weight,
        )
    course = np.repeat(every, SITES_PER_COURSE)
    site = np.tile(np.arange(SITES_PER_COURSE), len(COURSES))
    week = world.courses.site_week.ravel().astype(float)
    week[week < 0] = np.nan
    columns = ("id_site", "code_module", "code_presentation", "activity_type",
               "week_from", "week_to")  # fmt: skip
    with CsvFile(folder / "vle.csv", columns) as sites:
        sites.write(
            world.courses.site_number(course, site),
            named(modules[course], MODULES),
            named(presentations[course], PRESENTATIONS),
            named(world.courses.site_activity.ravel(), ACTIVITIES),
            week,
            week,
        )
