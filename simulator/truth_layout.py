"""What a model can be held against: parameters, latent states and probabilities behind the data.

Written beside the data and never to be trained on.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa

from simulator import practice
from simulator.cohort import Cohort, World
from simulator.courses import COURSES, MODULES
from simulator.curriculum import ITEMS_PER_SKILL
from simulator.files import Column, ParquetFile, named
from simulator.population import FIRST_ID
from simulator.settings import PRESENTATIONS

LEARNER_SCHEMA = pa.schema(
    [
        ("id_student", pa.int32()),
        ("ability", pa.float32()),
        ("engagement", pa.float32()),
        ("speed", pa.float32()),
        ("is_marked_down", pa.bool_()),
    ]
)
ENROLMENT_SCHEMA = pa.schema(
    [
        ("code_module", pa.string()),
        ("code_presentation", pa.string()),
        ("id_student", pa.int32()),
        ("withdrawal_probability", pa.float32()),
        ("failure_probability", pa.float32()),
    ]
)
ATTEMPT_SCHEMA = pa.schema(
    [
        ("attempt_id", pa.int64()),
        ("knew", pa.bool_()),
        ("knows", pa.bool_()),
        ("probability", pa.float32()),
    ]
)


class TruthLayout:
    """Writes the truth of cohorts into ``truth/``.

    Args:
        folder: Where the files go; it exists.
        world: The simulation.
        stack: Closes the files.
    """

    def __init__(self, folder: Path, world: World, stack: ExitStack) -> None:
        def parts(name: str, schema: pa.Schema) -> ParquetFile:
            return stack.enter_context(ParquetFile(folder / name, schema))

        self.learners = parts("learners", LEARNER_SCHEMA)
        self.enrolments = parts("enrolments", ENROLMENT_SCHEMA)
        self.attempts = parts("attempts", ATTEMPT_SCHEMA)
        _write_parameters(folder, world)

    def write(self, cohort: Cohort) -> None:
        """Append the truth of a cohort."""
        learners, enrolments, studies = cohort.learners, cohort.enrolments, cohort.studies
        self.learners.write(
            _table(
                LEARNER_SCHEMA,
                FIRST_ID + learners.number,
                learners.ability,
                learners.engagement,
                learners.speed,
                learners.is_marked_down,
            )
        )
        self.enrolments.write(
            _table(
                ENROLMENT_SCHEMA,
                named(enrolments.module, MODULES),
                named(enrolments.presentation, PRESENTATIONS),
                FIRST_ID + learners.number[enrolments.learner],
                studies.withdrawal_probability,
                studies.failure_probability,
            )
        )
        attempts = cohort.attempts
        self.attempts.write(
            _table(
                ATTEMPT_SCHEMA,
                attempts.number,
                attempts.knew,
                attempts.knows,
                attempts.probability,
            )
        )


def _table(schema: pa.Schema, *columns: Column) -> pa.Table:
    """Return columns as a table of the schema's types."""
    arrays = [
        column if isinstance(column, pa.Array) else pa.array(column).cast(field.type, safe=False)
        for column, field in zip(columns, schema, strict=True)
    ]
    return pa.table(arrays, schema=schema)


def _write_parameters(folder: Path, world: World) -> None:
    """Write the settings and the parameters that do not grow with the learners."""
    curriculum, assessments = world.curriculum, world.courses.assessments
    parameters = {
        "settings": asdict(world.settings),
        "stay_on_skill": practice.STAY_ON_SKILL,
        "review": practice.REVIEW,
        "new_session": practice.NEW_SESSION,
        "prerequisite_missing": practice.PREREQUISITE_MISSING,
        "marked_wrong": practice.MARKED_WRONG,
        "skills": [
            {
                "skill": skill + 1,
                "difficulty": curriculum.difficulty[skill],
                "prerequisite": int(curriculum.prerequisite[skill]) + 1 or None,
                "learn": curriculum.learn[skill],
                "guess": curriculum.guess[skill],
                "slip": curriculum.slip[skill],
                "stability_days": curriculum.stability[skill],
            }
            for skill in range(curriculum.skills)
        ],
        "items": [
            {
                "item": skill * ITEMS_PER_SKILL + item + 1,
                "skill": skill + 1,
                "difficulty": curriculum.item_difficulty[skill, item],
                "discrimination": curriculum.item_discrimination[skill, item],
            }
            for skill in range(curriculum.skills)
            for item in range(ITEMS_PER_SKILL)
        ],
        "assessments": [
            {
                "id_assessment": int(assessments.number[row]),
                "code_module": COURSES[assessments.course[row]][0],
                "code_presentation": COURSES[assessments.course[row]][1],
                "difficulty": assessments.difficulty[row],
            }
            for row in range(len(assessments.number))
        ],
    }
    (folder / "parameters.json").write_text(json.dumps(parameters, indent=1) + "\n")
