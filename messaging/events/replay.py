"""A folder of learner data told again as live events, in the order in which they happened.

Any folder in the layouts of the simulator or of OULAD can be streamed. Every event of a folder has
a place in one total order, which is its sequence: a stream that was cut off and started again
tells the same events under the same sequences, and the collector drops what it has.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from learnloop.errors import LearnLoopError, UsageError

if TYPE_CHECKING:
    from messaging.events.producer import EventProducer

BATCH = 5_000
_EVENT = {
    "kind": "VARCHAR", "moment": "TIMESTAMP", "learner": "VARCHAR", "skill": "VARCHAR",
    "item": "VARCHAR", "correct": "BOOLEAN", "course": "VARCHAR", "presentation": "VARCHAR",
    "assessment": "VARCHAR", "score": "DOUBLE", "site": "VARCHAR", "clicks": "BIGINT",
    "action": "VARCHAR",
}  # fmt: skip

# OULAD names a presentation by year and month, B for February and J for October, and counts days
# from its start (https://analyse.kmi.open.ac.uk/open_dataset).
_START = """
    make_timestamp(CAST(left(code_presentation, 4) AS BIGINT),
                   CASE right(code_presentation, 1) WHEN 'B' THEN 2 ELSE 10 END, 1, 0, 0, 0.0)
"""
_ATTEMPTS = """
    SELECT 'attempt' AS kind, CAST(event_time AT TIME ZONE 'UTC' AS TIMESTAMP) AS moment,
           CAST(learner AS VARCHAR) AS learner, CAST(skill AS VARCHAR) AS skill,
           CAST(item AS VARCHAR) AS item, correct <> 0 AS correct
    FROM read_parquet($attempts)
"""
_REGISTRATIONS = f"""
    SELECT 'enrolment' AS kind, {_START} + to_days(CAST(day AS INTEGER)) AS moment,
           id_student AS learner, code_module AS course, code_presentation AS presentation, action
    FROM (SELECT *, TRY_CAST(date_registration AS INTEGER) AS day, 'enrolled' AS action
          FROM read_csv($registrations, all_varchar = true)
          UNION ALL
          SELECT *, TRY_CAST(date_unregistration AS INTEGER), 'withdrawn'
          FROM read_csv($registrations, all_varchar = true))
    WHERE day IS NOT NULL
"""  # noqa: S608  # nothing in these statements comes from outside
_SUBMISSIONS = f"""
    SELECT 'assessment' AS kind,
           {_START} + to_days(TRY_CAST(date_submitted AS INTEGER)) AS moment,
           id_student AS learner, code_module AS course, code_presentation AS presentation,
           id_assessment AS assessment, TRY_CAST(score AS DOUBLE) AS score
    FROM read_csv($submissions, all_varchar = true) AS submissions
    JOIN read_csv($assessments, all_varchar = true) AS assessments USING (id_assessment)
    WHERE is_banked = '0' AND TRY_CAST(score AS DOUBLE) BETWEEN 0 AND 100
"""  # noqa: S608
_CLICKS = f"""
    SELECT 'click' AS kind, {_START} + to_days(CAST(date AS INTEGER)) AS moment,
           CAST(id_student AS VARCHAR) AS learner, code_module AS course,
           code_presentation AS presentation, CAST(id_site AS VARCHAR) AS site,
           CAST(sum_click AS BIGINT) AS clicks
    FROM read_parquet($clicks)
    WHERE sum_click > 0
"""  # noqa: S608


def read_events(folder: Path, source: str) -> Iterator[list[dict[str, Any]]]:
    """Read a folder as events.

    Args:
        folder: With ``attempts/*.parquet``, with ``oulad/`` or OULAD's own tables, or both.
        source: The events' source.

    Yields:
        Up to :data:`BATCH` events, sequences rising from 1, in the order of time.

    Raises:
        UsageError: The folder has no such data.
    """
    import duckdb

    queries, files = _queries(folder)
    if not queries:
        raise UsageError(
            "There is nothing here that could be told as events.",
            where=folder,
            expected="attempts/*.parquet, or OULAD's tables in it or in oulad/",
            next=f"learnloop simulate {folder}",
        )
    empty = ", ".join(f"CAST(NULL AS {kind}) AS {name}" for name, kind in _EVENT.items())
    union = " UNION ALL BY NAME ".join([f"(SELECT {empty} WHERE false)", *queries])
    names = ", ".join(_EVENT)
    try:
        with duckdb.connect() as connection:
            answer = connection.execute(
                f"SELECT {names} FROM ({union}) WHERE moment IS NOT NULL ORDER BY moment, {names}",  # noqa: S608
                files,
            )
            sequence = 0
            while rows := answer.fetchmany(BATCH):
                events = [
                    _event(source, sequence + place, row) for place, row in enumerate(rows, 1)
                ]
                sequence += len(rows)
                yield events
    except duckdb.Error as fault:
        raise UsageError(
            "The folder's tables cannot be read as events.",
            where=folder,
            expected="the columns of the simulator's or of OULAD's tables",
            received=str(fault).partition("\n")[0],
        ) from None


def stream_folder(
    folder: Path,
    producer: EventProducer,
    *,
    source: str,
    position: Path,
    rate: float = 0.0,
    is_live: bool = False,
    progress: Callable[[int], None] = lambda sent: None,
) -> int:
    """Tell a folder's events to Kafka; after a cut, from the last acknowledged one on.

    Args:
        folder: See :func:`read_events`.
        producer: Takes the events.
        source: The events' source.
        position: A small file that keeps the last acknowledged sequence.
        rate: Events a second; as fast as Kafka takes them when 0.
        is_live: Whether an event happens when it is sent, not when the data says.
        progress: Called with the number of events acknowledged.

    Returns:
        How many events were sent.

    Raises:
        LearnLoopError: Kafka did not take them; the position is that of the last it took.
    """
    done = _read_position(position)
    sent = 0
    began = time.monotonic()
    for events in read_events(folder, source):
        waiting = [event for event in events if event["sequence"] > done]
        for first in range(0, len(waiting), size := max(1, int(rate / 4) or BATCH)):
            chosen = waiting[first : first + size]
            if is_live:
                now = datetime.now(UTC).isoformat(timespec="microseconds")
                chosen = [{**event, "at": now} for event in chosen]
            producer.send(chosen)
            producer.flush()
            sent += len(chosen)
            _write_position(position, chosen[-1]["sequence"])
            progress(sent)
            if rate:
                time.sleep(max(0.0, began + sent / rate - time.monotonic()))
    return sent


def _queries(folder: Path) -> tuple[list[str], dict[str, str]]:
    oulad = folder / "oulad" if (folder / "oulad").is_dir() else folder
    tables = {
        _ATTEMPTS: {"attempts": folder / "attempts" / "*.parquet"},
        _REGISTRATIONS: {"registrations": oulad / "studentRegistration.csv"},
        _SUBMISSIONS: {
            "submissions": oulad / "studentAssessment.csv",
            "assessments": oulad / "assessments.csv",
        },
        _CLICKS: {"clicks": oulad / "studentVle" / "*.parquet"},
    }
    there = {
        query: files
        for query, files in tables.items()
        if all(any(path.parent.glob(path.name)) for path in files.values())
    }
    return list(there), {
        name: str(path) for files in there.values() for name, path in files.items()
    }


def _event(source: str, sequence: int, row: tuple[Any, ...]) -> dict[str, Any]:
    event = {name: value for name, value in zip(_EVENT, row, strict=True) if value is not None}
    moment = event.pop("moment").isoformat(timespec="microseconds") + "Z"
    return {"version": 1, "source": source, "sequence": sequence, "at": moment, **event}


def _read_position(position: Path) -> int:
    try:
        return int(json.loads(position.read_bytes())["sequence"])
    except FileNotFoundError:
        return 0
    except (ValueError, KeyError, TypeError):
        raise LearnLoopError(
            "The position of the stream cannot be read.",
            where=position,
            expected='{"sequence": NUMBER}',
            next=f"remove {position}: all is sent again, and what has arrived is told apart",
        ) from None


def _write_position(position: Path, sequence: int) -> None:
    position.parent.mkdir(parents=True, exist_ok=True)
    new = position.with_suffix(".new")
    new.write_text(json.dumps({"sequence": sequence}))
    new.replace(position)
