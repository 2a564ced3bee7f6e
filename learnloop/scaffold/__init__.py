"""Scaffolding: a new pipeline that runs as it is, over the author's CSV or a sample.

The files are written from the templates beside this module (``string.Template``). Nothing that
exists is overwritten.
"""

from __future__ import annotations

import csv
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from learnloop.errors import UsageError, closest
from learnloop.settings import SETTINGS_FILE
from learnloop.store.local import explain_disk_faults

TEMPLATES = Path(__file__).parent / "template"
SAMPLE_ROWS = 1_200
INSPECTED_ROWS = 1_000


@dataclass(frozen=True)
class Columns:
    """The columns of the author's table.

    Args:
        learner: Whose row it is; rows are split by it, and it never enters the model.
        label: The truth, 0 or 1.
        numbers: Numeric features.
        categories: Text features.
    """

    learner: str
    label: str
    numbers: tuple[str, ...]
    categories: tuple[str, ...]


SAMPLE = Columns("learner", "passed", ("minutes", "exercises", "mean_score"), ("course",))


def scaffold_pipeline(name: str, root: Path, source: Path | None, columns: Columns) -> list[Path]:
    """Write a pipeline's folder, its test and its DAG file.

    Args:
        name: The pipeline's name: a Python identifier in lower case.
        root: The project's root.
        source: The author's CSV; when None a sample is written beside the pipeline.
        columns: The columns of the source.

    Returns:
        The files written, in order.

    Raises:
        UsageError: The name does not fit or is taken.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UsageError(
            "A pipeline's name is a Python identifier in lower case.",
            expected="for example exam_risk",
            received=repr(name),
        )
    folder = root / "pipelines" / name
    files = {
        folder / "__init__.py": "package.txt",
        folder / "pipeline.py": "pipeline.txt",
        folder / "features.py": "features.txt",
        folder / "model.py": "model.txt",
        folder / "README.md": "readme.txt",
        root / "tests" / "pipelines" / f"test_{name}.py": "test.txt",
        root / "dags" / f"{name}.py": "dag.txt",
    }
    for path in files:
        if path.exists():
            raise UsageError(
                f"There is a pipeline '{name}' already.", where=path, next="choose another name"
            )
    values = {
        "name": name,
        "title": name.replace("_", " "),
        "learner": columns.learner,
        "label": columns.label,
        "numbers": _tuple(columns.numbers),
        "categories": _tuple(columns.categories),
        "source": str(source) if source else f"pipelines/{name}/sample.csv",
    }
    written = []
    with explain_disk_faults(folder):
        for path in (root / SETTINGS_FILE, root / "pipelines" / "__init__.py"):
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
                written.append(path)
        for path, template in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            text = (TEMPLATES / template).read_text(encoding="utf-8")
            path.write_text(Template(text).substitute(values), encoding="utf-8")
            written.append(path)
        if source is None:
            write_sample(folder / "sample.csv")
            written.append(folder / "sample.csv")
    return written


def read_columns(source: Path, learner: str, label: str) -> Columns:
    """Find out which columns of a CSV are numbers and which are categories.

    Args:
        source: A CSV file with a header.
        learner: The column that says whose row it is.
        label: The column with the truth, 0 or 1.

    Returns:
        The columns, judged by the first thousand rows.

    Raises:
        UsageError: The file or one of the columns is not there, or there is no feature.
    """
    if not source.is_file():
        raise UsageError("There is no such CSV file.", where=source)
    with source.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        rows = [row for _, row in zip(range(INSPECTED_ROWS), reader, strict=False)]
    for column in (learner, label):
        if column not in header:
            raise UsageError(
                f"The CSV has no column '{column}'.",
                where=source,
                expected=closest(column, header),
                received=repr(column),
                next="name the columns with --learner and --label",
            )
    features = [name for name in header if name not in (learner, label)]
    if not features:
        raise UsageError("The CSV has no column to learn from.", where=source)
    numbers = tuple(n for n in features if _is_numeric(rows, header.index(n)))
    return Columns(learner, label, numbers, tuple(n for n in features if n not in numbers))


def write_sample(path: Path) -> None:
    """Write a table of learners who do not exist, the same on every machine.

    Args:
        path: The CSV file.
    """
    randomness = random.Random(7)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([SAMPLE.learner, *SAMPLE.numbers, *SAMPLE.categories, SAMPLE.label])
        for learner in range(SAMPLE_ROWS):
            ability = randomness.gauss(0, 1)
            minutes = max(0.0, 60 + 25 * ability + randomness.gauss(0, 20))
            exercises = max(0, round(12 + 4 * ability + randomness.gauss(0, 3)))
            score = min(100.0, max(0.0, 62 + 14 * ability + randomness.gauss(0, 10)))
            course = randomness.choice(["algebra", "geometry", "statistics"])
            passed = int(ability + randomness.gauss(0, 0.7) > 0)
            writer.writerow(
                [f"learner-{learner}", f"{minutes:.1f}", exercises, f"{score:.1f}", course, passed]
            )


def _is_numeric(rows: Sequence[Sequence[str]], position: int) -> bool:
    values = [row[position] for row in rows if position < len(row) and row[position]]
    try:
        return bool([float(value) for value in values])
    except ValueError:
        return False


def _tuple(names: Sequence[str]) -> str:
    return "(" + "".join(f"{name!r}, " for name in names).replace("'", '"').rstrip() + ")"
