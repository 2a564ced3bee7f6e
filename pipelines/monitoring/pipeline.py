"""The pipeline: the prediction log in, a report and perhaps a request to retrain out."""

from __future__ import annotations

from components.monitor import monitor
from components.request_retraining import request_retraining
from components.served import load_served
from learnloop.pipeline import pipeline


@pipeline
def monitoring(
    model: str,
    since: str = "",
    until: str = "",
    earlier: int = 8,
    terms: tuple[str, ...] = (),
    columns: tuple[str, ...] = (),
    outcomes: str = "",
    retrain_with: dict[str, str | int | float] | None = None,
) -> None:
    """Look at a model in service over a window of time, and ask for retraining where it is due.

    Args:
        model: The pipeline whose champion is served; the model has its name.
        since: The window's first moment. ISO 8601.
        until: The window's end, which no longer belongs to it.
        earlier: The most earlier windows to judge by.
        terms: The starts of terms; then the earlier windows are the same days of earlier terms.
        columns: The features to watch; all that were logged when empty.
        outcomes: A folder of what came to pass: Parquet with ``subject``, ``known_at``,
            ``outcome``.
        retrain_with: Parameters of the retraining that shall differ from its DAG's. Without
            Airflow the ones that have no default are needed.
    """
    served = load_served(name=model)
    seen = monitor(
        served.reference,
        served.evaluation,
        served.challenger,
        model=model,
        since=since,
        until=until,
        earlier=earlier,
        terms=terms,
        columns=columns,
        outcomes=outcomes,
    )
    request_retraining(seen.report, pipeline=model, parameters=retrain_with)
