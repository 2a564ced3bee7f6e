"""The prediction log: what was asked and answered, kept beside the path of the answers.

:class:`PredictionLog` is told of every answer on the server's event loop and only takes note; a
thread lays the notes out in columns, appends them to a journal several times a second and turns
journals into Parquet parts, ``model/date=…/hour=…/….parquet``. A killed server loses what came in
since the last append, at most; the next one turns its journals into parts.
"""

from serving.prediction_log.log import LogCounts, LogSettings, PredictionLog
from serving.prediction_log.reader import find_parts, prediction_batches, read_predictions

__all__ = [
    "LogCounts",
    "LogSettings",
    "PredictionLog",
    "find_parts",
    "prediction_batches",
    "read_predictions",
]
