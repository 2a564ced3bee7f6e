"""The same join by pandas: ``python -m benchmarks.features.by_pandas FOLDER``.

``merge_asof`` knows one time. To respect the recorded time too, a row is brought in at the moment
at which it had both happened and been recorded, and carries the greatest rank, by time of event and
then of record, of its learner's rows so far: a running maximum. numpy sorts, as pandas' own sort
over three columns takes ten times as long.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset  # an import is no part of a join

from benchmarks.features.data import FEATURES, TTL_DAYS
from benchmarks.features.timing import measured


def join(folder: Path) -> Any:
    """Join by ``merge_asof``."""
    log = pd.read_parquet(folder / "features.parquet")
    entities = pd.read_parquet(folder / "entities.parquet")
    for column in ("happened", "recorded"):
        log[column] = log[column].dt.tz_localize(None)
    asked = pd.DataFrame(
        {
            "learner": entities["learner"],
            "asked": entities["event_timestamp"].dt.tz_localize(None),
            "place": np.arange(len(entities)),
        }
    ).sort_values("asked")
    order = np.lexsort(
        [log[name].to_numpy().view("int64") for name in ("recorded", "happened", "learner")]
    )
    rank = np.empty(len(log), np.int64)
    rank[order] = np.arange(len(log))
    known = pd.DataFrame(
        {
            "learner": log["learner"],
            "counts": np.maximum(log["happened"], log["recorded"]),
            "rank": rank,
        }
    ).sort_values("counts", kind="stable")
    known["rank"] = known.groupby("learner")["rank"].cummax()
    found = pd.merge_asof(asked, known, left_on="asked", right_on="counts", by="learner")
    found = found.sort_values("place")
    rows = np.append(order, -1)[found["rank"].fillna(len(order)).astype(np.int64)]
    happened = log["happened"].to_numpy()
    age = found["asked"].to_numpy() - happened[rows]
    rows[age > np.timedelta64(TTL_DAYS, "D")] = -1
    has_value = np.flatnonzero(rows >= 0)
    answer = log[list(FEATURES)].take(rows[has_value]).set_axis(has_value)
    answer = answer.reindex(np.arange(len(rows)))
    return pa.Table.from_pandas(pd.concat([entities, answer], axis=1), preserve_index=False)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    measured(folder / "pandas.parquet", lambda: join(folder))
