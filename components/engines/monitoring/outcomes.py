"""How a model does in service, once what it predicted has come to pass.

Outcomes come late. A prediction is judged by the first outcome of its subject that became known
after it was made, in the window in which that became known; what is not known yet is no error.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from components.engines.monitoring.windows import Window
from learnloop.errors import UsageError, closest

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("subject", "known_at", "outcome")


def read_outcomes(folder: Path) -> pa.Table:
    """Read what has come to pass.

    Args:
        folder: Parquet parts with ``subject`` (the pseudonym that was sent with the question),
            ``known_at`` (a moment) and ``outcome`` (0 or 1).

    Raises:
        UsageError: The folder is not there, or lacks a column.
    """
    import pyarrow.dataset as dataset

    if not folder.is_dir():
        raise UsageError(
            "There is no folder of outcomes.",
            where=folder,
            expected="Parquet parts with " + ", ".join(COLUMNS),
        )
    found = dataset.dataset(folder, format="parquet")
    for name in COLUMNS:
        if name not in found.schema.names:
            raise UsageError(
                f"The outcomes have no column '{name}'.",
                where=folder,
                expected=closest(name, found.schema.names),
                received=", ".join(found.schema.names),
            )
    return found.to_table(columns=list(COLUMNS))


def join_outcomes(predictions: pa.Table, outcomes: pa.Table, window: Window) -> pa.Table:
    """Join predictions with the outcomes that became known in a window.

    Args:
        predictions: With ``subject`` and ``time``, and any other columns.
        outcomes: See :func:`read_outcomes`.
        window: When an outcome must have become known.

    Returns:
        The predictions whose outcome it is, in the order of time, with ``outcome`` and
        ``known_at``; one that nobody is named with has none.
    """
    import pandas as pd
    import pyarrow as pa

    asked = pd.DataFrame({name: predictions[name].to_pandas() for name in ("subject", "time")})
    asked["place"] = range(len(asked))
    known = outcomes.select(list(COLUMNS)).to_pandas()
    found = pd.merge_asof(
        asked.dropna().sort_values(["time", "subject"]),
        known.dropna().sort_values("known_at"),
        left_on="time",
        right_on="known_at",
        by="subject",
        direction="forward",
        allow_exact_matches=False,
    )
    found = found[(found["known_at"] >= window.since) & (found["known_at"] < window.until)]
    joined = predictions.take(pa.array(found["place"].to_numpy()))
    joined = joined.append_column("outcome", pa.array(found["outcome"].to_numpy(float)))
    return joined.append_column("known_at", pa.array(found["known_at"], outcomes["known_at"].type))


def watched_columns(
    reference: Sequence[str], logged: Sequence[str], wanted: Sequence[str]
) -> tuple[str, ...]:
    """Choose the columns that both the training data and the log have.

    Args:
        reference: Columns of the training data.
        logged: Features in the log.
        wanted: Those asked for; all that both have when empty.

    Raises:
        UsageError: One that is asked for is missing from either.
    """
    both = [name for name in reference if name in set(logged)]
    for name in wanted:
        if name not in both:
            raise UsageError(
                f"The column '{name}' cannot be watched.",
                expected=closest(name, both),
                received="a column that is not both in the training data and in the log",
            )
    return tuple(wanted or both)
