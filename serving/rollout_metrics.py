"""What is rolled out, for Prometheus: versions, moves and champions (``learnloop metrics``).

The server's own figures, by request, are :mod:`serving.server.metrics`.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import Metric

from learnloop.ledger import open_ledger
from learnloop.ledger.journal import read_journal
from learnloop.metrics.families import gauge
from learnloop.settings import Settings
from serving.moves import SERVING
from serving.places import open_place
from serving.registry import CHAMPION


def describe_rollout(settings: Settings) -> Iterable[Metric]:
    """Tell who gets which version of each model, when that was last moved, and who is champion.

    Args:
        settings: Names the place of published models and the ledger.

    Raises:
        LearnLoopError: One of them does not answer.
    """
    return (*_tell_versions(settings), *_tell_moves(settings))


def _tell_versions(settings: Settings) -> Iterable[Metric]:
    versions = gauge("serving_version", "The version behind a label.", "model", "label")
    weights = gauge("serving_canary_weight", "The share of callers on trial.", "model")
    for name, model in open_place(settings).read().models.items():
        versions.add_metric([name, "stable"], model.stable)
        if model.canary is not None:
            versions.add_metric([name, "canary"], model.canary)
        weights.add_metric([name], model.weight)
    return (versions, weights)


def _tell_moves(settings: Settings) -> Iterable[Metric]:
    if not settings.has_ledger:
        return ()
    moved = gauge(
        "serving_last_move_timestamp_seconds",
        "When versions were last moved so, in seconds since 1970.",
        "model",
        "move",
    )
    champions = gauge("champion_version", "The registry's champion.", "model")
    since = gauge(
        "champion_since_timestamp_seconds",
        "When it became that, in seconds since 1970.",
        "model",
    )
    ledger = open_ledger(settings.ledger_url)
    moves = {(e.subject, e.document["move"]): e.at for e in read_journal(ledger, SERVING)}
    for (name, move), at in moves.items():
        moved.add_metric([name, move], at.timestamp())
    for name, entry in {e.subject: e for e in read_journal(ledger, CHAMPION)}.items():
        champions.add_metric([name], float(entry.document["to"]))
        since.add_metric([name], entry.at.timestamp())
    return (moved, champions, since)
