"""A pipeline in a few hundredths of a second: rows of learners, and a model that is their mean."""

from __future__ import annotations

from pathlib import Path

from components.ingest import ingest
from components.split import split
from learnloop.artifacts import Examples, Model, Statistics
from learnloop.component import Input, Output, component
from learnloop.pipeline import pipeline
from learnloop.runner import Run, RunOptions
from learnloop.settings import Settings

THEM, OTHER = "learner-4711", "learner-4712"


@component
def learn(
    examples: Input[Examples], model: Output[Model], statistics: Output[Statistics], *, tell: bool
) -> None:
    """Take the mean for a model; the statistics may tell of the learners' column too."""
    import pyarrow.compute as pc

    rows = examples.table("train")
    (model.path / "mean.txt").write_text(f"{pc.mean(rows['mark']).as_py():.6f}")
    least = pc.min(rows["learner"]).as_py() if tell else ""
    columns = f"learner {least}" if tell else "mark"
    (statistics.path / "train.statistics.pb").write_text(columns)


@pipeline
def quick(source: str, tell: bool = False, column: str = "learner") -> None:
    """Learn from a CSV file."""
    examples = split(ingest(source=source, layout="csv").records, by=column).examples
    learn(examples, tell=tell)


def write_source(folder: Path, without: str = "", column: str = "learner") -> Path:
    """Write learners, of whom some have two rows."""
    names = [THEM, OTHER, *(f"learner-{number}" for number in range(100, 160))]
    lines = [f"{name},{40 + len(name) + n}\n" for n, name in enumerate([*names, THEM, OTHER])]
    kept = [line for line in lines if not line.startswith(f"{without},")]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "marks.csv").write_text(f"{column},mark\n" + "".join(kept))
    return folder / "marks.csv"


def run(settings: Settings, source: Path, *, tell: bool = False) -> Run:
    """Run it and see that it is done."""
    from learnloop.runner import run_pipeline

    column = source.read_text().partition(",")[0]
    parameters = {"source": str(source), "tell": tell, "column": column}
    ended = run_pipeline(quick, parameters, RunOptions(), settings=settings)
    assert ended.status == "done", ended.error
    return ended
