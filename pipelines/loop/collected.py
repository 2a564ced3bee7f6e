"""What the collected events are good for: outcomes for the monitor, sequences for the training."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.client import pseudonym

if TYPE_CHECKING:
    import pyarrow as pa

JUDGED_EVERY = 4
"""One learner in so many is kept to judge the model by."""


def read_attempts(events: Path, columns: list[str], since: datetime | None = None) -> pa.Table:
    """Read collected attempts, in the order in which they were told.

    Args:
        events: The collector's folder.
        columns: Which columns, ``sequence`` among them.
        since: Only those from this moment on.
    """
    import pyarrow as pa
    import pyarrow.dataset as dataset

    folder = events / "attempt"
    if not folder.is_dir():
        return pa.table({name: [] for name in columns})
    found = dataset.dataset(folder, partitioning="hive")
    wanted = None if since is None else dataset.field("at") >= since
    return found.to_table(columns=columns, filter=wanted).sort_by("sequence")


def write_outcomes(events: Path, folder: Path) -> None:
    """Write how attempts went, as a monitor reads it: by pseudonym.

    Args:
        events: The collector's folder.
        folder: Takes the outcomes; what it held is replaced.
    """
    import pyarrow as pa
    import pyarrow.compute as compute
    import pyarrow.parquet as parquet

    rows = read_attempts(events, ["sequence", "learner", "at", "correct"])
    names = {learner: pseudonym(learner) for learner in rows["learner"].unique().to_pylist()}
    outcomes = {
        "subject": pa.array([names[learner] for learner in rows["learner"].to_pylist()]),
        "known_at": rows["at"],
        "outcome": compute.cast(rows["correct"], pa.int8()),
    }
    folder.mkdir(exist_ok=True)
    parquet.write_table(pa.table(outcomes), folder / "outcomes.parquet")


def write_sequences(events: Path, folder: Path, since: datetime) -> int:
    """Write attempts as the three-line files that ``knowledge_tracing`` learns from.

    Args:
        events: The collector's folder.
        folder: Takes ``collected_train.csv`` and ``collected_test.csv``, no learner in both.
        since: Only attempts from this moment on.

    Returns:
        How many attempts.
    """
    rows = read_attempts(events, ["sequence", "learner", "skill", "correct"], since)
    learners: dict[str, list[dict[str, Any]]] = {}
    for row in rows.to_pylist():
        learners.setdefault(row["learner"], []).append(row)
    texts = {"train": "", "test": ""}
    for place, attempts in enumerate(learners.values()):
        skills = ",".join(one["skill"] for one in attempts)
        answers = ",".join(str(int(one["correct"])) for one in attempts)
        part = "train" if place % JUDGED_EVERY else "test"
        texts[part] += f"{len(attempts)}\n{skills}\n{answers}\n"
    folder.mkdir()
    for part, text in texts.items():
        (folder / f"collected_{part}.csv").write_text(text)
    return len(rows)
