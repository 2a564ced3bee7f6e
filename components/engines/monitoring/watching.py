"""The whole look at a model in service: volume, features, predictions, quality, the challenger."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from components.engines.evaluation.comparison import compare
from components.engines.evaluation.metrics import measure
from components.engines.evaluation.predictions import Predictions
from components.engines.monitoring.distances import Distance, measure_columns
from components.engines.monitoring.ordinary import LEAST, Judged, judge
from components.engines.monitoring.sequence import Evidence

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Limits:
    """When a change is told.

    Args:
        probability: What is rarer than this among ordinary turns is no ordinary turn.
        least: The smallest distance clear of chance that matters, in bits.
        false_alarms: False alarms a window that are put up with by the evidence over all windows.
        silence: The share of the earlier windows' mean number of predictions below which too few
            are asked for.
        auc_loss: How much lower than its evaluation the live AUC may surely be.
    """

    probability: float = 0.02
    least: float = LEAST
    false_alarms: float = 0.01
    silence: float = 0.3
    auc_loss: float = 0.02


def look_at_columns(
    references: Sequence[pa.Table],
    windows: Sequence[pa.Table],
    columns: tuple[str, ...],
    limits: Limits,
) -> tuple[list[Judged], Evidence]:
    """Hold columns against references, and judge the last window by the ones before it.

    Args:
        references: What each window is held against.
        windows: The rows of each window in the order of time; the last is judged.
        columns: Which columns.
        limits: When a change is told.

    Returns:
        The judgement of each column in the last window, and the evidence of a change over all
        windows. A window without rows, on either side, or without one of the columns is passed
        over.
    """
    evidence = Evidence(limits.false_alarms)
    measured: list[Mapping[str, Distance]] = []
    judged: list[Judged] = []
    for reference, rows in zip(references, windows, strict=True):
        judged = []
        if not columns or not (rows.num_rows and reference.num_rows):
            continue
        if not set(columns) <= {*rows.schema.names} & {*reference.schema.names}:
            continue
        now = measure_columns(reference, rows, columns)
        before = {name: [window[name] for window in measured] for name in columns}
        judged = judge(now, before, probability=limits.probability, least=limits.least)
        chances = [one.probability for one in judged if one.probability is not None]
        if chances:
            evidence = evidence.after(chances)
        measured.append(now)
    return judged, evidence


def others(windows: Sequence[pa.Table]) -> list[pa.Table]:
    """Put together, for each window, the other earlier ones: what its scores are held against.

    Args:
        windows: Rows of equal columns; the last is not among anybody's others.
    """
    import pyarrow as pa

    none = windows[-1].slice(0, 0)
    return [
        pa.concat_tables([none, *(w for at, w in enumerate(windows[:-1]) if at != place)])
        for place in range(len(windows))
    ]


def look_at_volume(windows: Sequence[pa.Table], limits: Limits) -> dict[str, Any]:
    """Tell whether predictions are still asked for, and when the newest was.

    Args:
        windows: The predictions of each window, with ``time``; the last is judged.
        limits: When a change is told.
    """
    from pyarrow import compute

    counts = [window.num_rows for window in windows]
    earlier = [count for count in counts[:-1] if count]
    newest = compute.max(windows[-1]["time"]).as_py()
    usual = float(np.mean(earlier)) if earlier else None
    return {
        "predictions": counts[-1],
        "newest": newest.isoformat() if newest else None,
        "usual": usual,
        "earlier_windows": len(earlier),
        "is_silent": usual is not None and counts[-1] < limits.silence * usual,
    }


def look_at_quality(
    joined: pa.Table, evaluated: Mapping[str, Any] | None, limits: Limits
) -> dict[str, Any]:
    """Measure the model by what has come to pass.

    Args:
        joined: Predictions with ``score``, ``outcome`` and ``subject``.
        evaluated: The metrics of the model's own evaluation: ``rows``, ``auc``, ``auc_interval``;
            None where they are not known.
        limits: When a change is told.

    Returns:
        The metrics; ``has_fallen`` when the whole interval of the AUC lies more than
        ``auc_loss`` below the evaluation's.
    """
    made = _predictions(joined)
    found = asdict(measure(made))
    evaluation = {
        f"evaluated_{name}": (evaluated or {}).get(name) for name in ("rows", "auc", "auc_interval")
    }
    expected, interval = evaluation["evaluated_auc"], found["auc_interval"]
    has_fallen = bool(expected and interval and interval[1] < expected - limits.auc_loss)
    return {**found, **evaluation, "has_fallen": has_fallen}


def look_at_challenger(
    joined: pa.Table | None, rows: pa.Table, score: Callable[[pa.Table], NDArray[np.float64]]
) -> dict[str, Any]:
    """Ask the challenger what the served model was asked, and compare.

    Args:
        joined: Predictions with features, ``score``, ``outcome`` and ``subject``; None where no
            outcomes are known.
        rows: The window's predictions with features and ``score``.
        score: The challenger.

    Returns:
        How far its scores lie from the served model's, and by paired bootstrap, where enough has
        come to pass, by how much it ranks better.
    """
    import pyarrow as pa

    own = pa.chunked_array([pa.array(score(rows))])
    distance = measure_columns(
        pa.table({"score": rows["score"]}), pa.table({"score": own}), ("score",)
    )["score"]
    found: dict[str, Any] = {
        "asked": rows.num_rows,
        "distance": distance.to_json(),
        "compared": None,
    }
    outcomes = np.empty(0) if joined is None else joined["outcome"].to_numpy()
    if joined is not None and min((outcomes == 1).sum(), (outcomes == 0).sum()) >= 2:
        served = _predictions(joined)
        challenger = Predictions(served.labels, score(joined), served.clusters)
        found["compared"] = asdict(compare(challenger, served.scores))
    return found


def _predictions(joined: pa.Table) -> Predictions:
    from pyarrow import compute

    subjects = compute.dictionary_encode(joined["subject"].combine_chunks())
    return Predictions.of(
        joined["outcome"].to_numpy(), joined["score"].to_numpy(), subjects.indices.to_numpy()
    )
