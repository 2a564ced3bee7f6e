"""Retention: what is older than its period goes, but of people who are held.

The periods are the table ``[retention]`` of ``learnloop.toml``. An event counts from when it
happened, a prediction from when it was answered, a pushed row from when it happened, a run from
when it began. What a younger run has reused is as young as that run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from feature_store.erased import learner_columns
from feature_store.people import ListedPeople, words_of
from feature_store.push import pushed_parts
from feature_store.pushed import live_parts
from feature_store.sources import PushSource
from learnloop.garbage import collect_garbage
from learnloop.ledger import open_ledger
from learnloop.settings import Settings, project_root
from messaging.events.erasing import expire_events
from messaging.events.parts import QUARANTINE
from privacy.artifacts import open_artifacts
from privacy.features import open_features
from privacy.holds import held_people, holds
from privacy.reading import (
    as_text,
    count_older,
    count_older_messages,
    count_true,
    distinct_values,
    list_parts,
    read_groups,
)
from privacy.tables import which
from serving.prediction_log.erasing import expire_predictions

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Retained:
    """What became of a source.

    Args:
        what: The source.
        period: How old it may grow; "" for as old as it likes.
        removed: Rows, or of artifacts runs, that were removed or would be.
    """

    what: str
    period: str
    removed: int


def enforce_retention(settings: Settings, *, dry_run: bool = False) -> list[Retained]:
    """Remove what has grown older than its period, but of people who are held.

    Args:
        settings: Names the periods, and where things are.
        dry_run: Whether to change nothing.

    Returns:
        What was, or would be, removed, source by source.

    Raises:
        UsageError: A key is missing without which somebody who is held cannot be known again.
        LearnLoopError: A place does not answer, or is in use: do it again.
    """
    people = held_people(settings)
    ways: dict[str, Callable[[datetime], int]] = {
        "events": partial(_expire_events, settings, people, dry_run),
        "predictions": partial(_expire_predictions, settings, dry_run),
        "features": partial(_expire_features, settings, people, dry_run),
        "artifacts": partial(_expire_artifacts, settings, dry_run),
    }
    now = datetime.now(UTC)
    done = []
    for what, expire in ways.items():
        period: str = getattr(settings.retention, what)
        before = now - timedelta(days=int(period.rstrip("d"))) if period else None
        done.append(Retained(what, period, expire(before) if before else 0))
    return done


def _expire_events(
    settings: Settings, people: ListedPeople | None, dry_run: bool, before: datetime
) -> int:
    folder = settings.events_folder
    refused = sorted((folder / QUARANTINE).rglob("*.parquet"))
    held = set()
    if people:
        named = {one for file in list_parts(folder) for one in distinct_values(file, "learner")}
        texts = [as_text(one) for file in refused for one in distinct_values(file, "value")]
        held = set(filter(people.has, named.union(*map(words_of, texts))))
    if not dry_run:
        return expire_events(folder, before, held)
    old = [
        count_older(file, before, time="at", owner="learner", held=held)
        for file in list_parts(folder)
    ]
    return sum(old) + sum(count_older_messages(file, before, people) for file in refused)


def _expire_predictions(settings: Settings, dry_run: bool, before: datetime) -> int:
    folder = settings.predictions_folder
    held = {one.pseudonym for one in holds(open_ledger(settings.ledger_url))}
    if not dry_run:
        return expire_predictions(folder, before, held)
    return sum(
        count_older(file, before, time="time", owner="subject", held=held)
        for file in list_parts(folder)
    )


def _expire_features(
    settings: Settings, people: ListedPeople | None, dry_run: bool, before: datetime
) -> int:
    removed = 0
    for source in open_features(settings).definitions.sources.values():
        if not isinstance(source, PushSource):
            continue
        time = source.batch_source.timestamp_field
        choose = partial(
            _is_old, time=time, before=before, people=people, columns=learner_columns(settings)
        )
        if dry_run:
            files = [path for _, path in live_parts(project_root() / source.batch_source.path)]
            groups = (table for file in files for table in read_groups(file))
            removed += sum(count_true(choose(table)) for table in groups)
        else:
            removed += pushed_parts(source).remove(time, choose)
    return removed


def _expire_artifacts(settings: Settings, dry_run: bool, before: datetime) -> int:
    days = (datetime.now(UTC) - before) / timedelta(days=1)
    return collect_garbage(settings, keep_days=days, keep_runs=0, dry_run=dry_run).runs


def runs_of_held_people(settings: Settings) -> set[str]:
    """Find the runs that no garbage collection may take.

    Args:
        settings: Where things are.

    Returns:
        Ids of runs that made tables in which somebody who is held is named, or nobody can read.
    """
    people = held_people(settings)
    if people is None:
        return set()
    places = open_artifacts(settings, open_ledger(settings.ledger_url))
    return {one.run_id for one in places.published() if places.count_rows(one, people.has) != 0}


def _is_old(
    table: pa.Table,
    time: str,
    before: datetime,
    people: ListedPeople | None,
    columns: frozenset[str],
) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    is_old = pc.less(table[time], pa.scalar(before, table.schema.field(time).type))
    if people is None:
        return is_old
    held = [which(batch, columns, people.has) for batch in table.to_batches()]
    return pc.and_(is_old, pc.invert(pa.chunked_array(held, pa.bool_())))
