"""Where the comparison's figures come from: servers' metrics pages, and the prediction log.

Errors and latencies are read off Prometheus pages. The embedded server counts them by version
(``learnloop_serving_version_…``). TensorFlow Serving counts by model only, so there canary and
stable need a server each, as in a cluster where each is a Deployment, and each has its page.
Scores come from the prediction log, by version; a subject counts once, because a learner who asks
again and again is one opinion, not many.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from learnloop.errors import LearnLoopError
from serving.canary.comparison import Sample
from serving.client.endpoint import TOKEN_VARIABLE, Endpoint, Security

ANSWER_SECONDS = 5.0
LOG_LAG = timedelta(seconds=120)
"""What was answered so long ago is in the prediction log's parts."""

_LINE = re.compile(r"^(:?[\w:]+)\{(.*)\} ([^ ]+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_RUNS, _RUN_TIMES = "learnloop_serving_version_runs_total", "learnloop_serving_version_latency"
_REQUESTS = ":tensorflow:serving:request_count"
_REQUEST_TIMES = ":tensorflow:serving:request_latency"


@dataclass(frozen=True)
class Counts:
    """What pages had counted at one moment, since their servers began.

    Args:
        answered: Requests that were answered.
        failed: Requests that were not.
        latencies: Answers by the upper bound of their bucket, in microseconds.
    """

    answered: int = 0
    failed: int = 0
    latencies: Mapping[float, int] = field(default_factory=dict)

    def add(self, other: Counts) -> Counts:
        """Add another page's."""
        bounds = {*self.latencies, *other.latencies}
        return Counts(
            self.answered + other.answered,
            self.failed + other.failed,
            {one: self.latencies.get(one, 0) + other.latencies.get(one, 0) for one in bounds},
        )

    def since(self, before: Counts) -> Sample:
        """What was counted since an earlier moment; nothing, if a server began anew meanwhile."""
        latencies = {
            bound: count - before.latencies.get(bound, 0) for bound, count in self.latencies.items()
        }
        differences = (
            self.answered - before.answered,
            self.failed - before.failed,
            *latencies.values(),
        )
        if min(differences) < 0:
            return Sample()
        return Sample(differences[0], differences[1], latencies)


def read_counts(page: str, model: str, version: int) -> Counts:
    """Read what a page counted for a version.

    Args:
        page: Prometheus's text format.
        model: The model's name.
        version: The version, by which a page that counts by version is read; one that does not is
            the page of a server with this version alone.
    """
    found = {"model_name": model, "version": str(version)}
    lines = [
        (name, dict(_LABEL.findall(labels)), float(value))
        for name, labels, value in _LINE.findall(page)
    ]
    runs, times = _RUNS, _RUN_TIMES
    if not any(name == _RUNS for name, _, _ in lines):
        found.pop("version")
        runs, times = _REQUESTS, _REQUEST_TIMES
    answered = failed = 0
    cumulative: dict[float, int] = {}
    for name, labels, value in lines:
        if not found.items() <= labels.items():
            continue
        if name == runs and labels["status"] == "OK":
            answered += int(value)
        elif name == runs:
            failed += int(value)
        elif name == f"{times}_bucket":
            bound = math.inf if labels["le"] == "+Inf" else float(labels["le"])
            cumulative[bound] = cumulative.get(bound, 0) + int(value)
    latencies, below = {}, 0
    for bound in sorted(cumulative):
        latencies[bound], below = cumulative[bound] - below, cumulative[bound]
    return Counts(answered, failed, latencies)


@dataclass(frozen=True)
class Figures:
    """Reads both versions' samples, one interval after the other.

    Args:
        model: The model's name.
        stable: The stable version.
        canary: The canary.
        stable_pages: URLs of the metrics pages of servers with the stable version.
        canary_pages: Those of servers with the canary; the same ones for the embedded server.
        log: The prediction log's folder; None if there is none.
        security: TLS files for the pages; a bearer token is read from ``LEARNLOOP_SERVING_TOKEN``.
        last: What the pages had counted before: stable's, canary's.
        log_from: The moment from which the log is still to be read.
        seen: The subjects whose first score was read.
    """

    model: str
    stable: int
    canary: int
    stable_pages: Sequence[str] = ()
    canary_pages: Sequence[str] = ()
    log: Path | None = None
    security: Security = field(default_factory=Security)
    last: tuple[Counts, Counts] | None = None
    log_from: datetime = field(default_factory=lambda: datetime.now(UTC))
    seen: frozenset[str] = frozenset()

    def read(self, now: datetime | None = None) -> tuple[Sample, Sample, Figures]:
        """Read what came since the last time.

        Args:
            now: The moment; this one when None.

        Returns:
            The stable version's sample, the canary's, and the reader for the next time.

        Raises:
            LearnLoopError: A page cannot be read.
        """
        counts = (
            self._read_pages(self.stable_pages, self.stable),
            self._read_pages(self.canary_pages, self.canary),
        )
        last = self.last or counts
        samples = [one.since(before) for one, before in zip(counts, last, strict=True)]
        until = (now or datetime.now(UTC)) - LOG_LAG
        scores, seen = self._read_scores(until)
        stable, canary = (
            Sample(one.answered, one.failed, one.latencies, scores[version])
            for one, version in zip(samples, (self.stable, self.canary), strict=True)
        )
        later = dataclasses.replace(
            self, last=counts, log_from=max(until, self.log_from), seen=seen
        )
        return stable, canary, later

    def _read_scores(self, until: datetime) -> tuple[dict[int, tuple[float, ...]], frozenset[str]]:
        scores: dict[int, list[float]] = {self.stable: [], self.canary: []}
        seen = set(self.seen)
        if self.log is not None and self.log.is_dir() and until > self.log_from:
            from serving.prediction_log.reader import read_predictions

            columns = ("version", "subject", "score")
            table = read_predictions(self.log, self.model, self.log_from, until, columns)
            rows = (table.column(name).to_pylist() for name in columns)
            for version, subject, score in zip(*rows, strict=True):
                if version not in scores or score is None or subject in seen:
                    continue
                scores[version].append(score)
                if subject is not None:
                    seen.add(subject)
        return {version: tuple(values) for version, values in scores.items()}, frozenset(seen)

    def _read_pages(self, urls: Sequence[str], version: int) -> Counts:
        counts = Counts()
        for url in urls:
            counts = counts.add(read_counts(read_page(url, self.security), self.model, version))
        return counts


def read_page(url: str, security: Security = Security()) -> str:
    """Read a server's metrics.

    Args:
        url: The page.
        security: TLS files; a bearer token is read from ``LEARNLOOP_SERVING_TOKEN``.

    Raises:
        UsageError: A file of TLS cannot be used, or the token would travel in the clear.
        LearnLoopError: The page cannot be read.
    """
    headers = Endpoint.parse(url).authorization() if TOKEN_VARIABLE in os.environ else {}
    context = security.ssl_context() if url.startswith("https:") else None
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS, context=context) as answer:
            page: str = answer.read().decode()
    except (OSError, ValueError) as fault:
        raise LearnLoopError(
            "A server's metrics cannot be read.",
            where=url,
            expected="a page in Prometheus's text format",
            received=fault,
            next="check that the server runs, its monitoring.config, and who may ask it",
        ) from None
    return page
