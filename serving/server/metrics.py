"""What the server counts, under TensorFlow Serving's names, as Prometheus reads it.

The page is written by hand because TensorFlow Serving's names begin with a colon, which
prometheus-client refuses, and because counting a request must cost well under a microsecond.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from serving.server.contract import Code, Servable

PAGE_PATH = "/monitoring/prometheus/metrics"
_LATENCY_BOUNDS = tuple(10 * 1.8**power for power in range(32))
_EXAMPLE_BOUNDS = tuple(2.0**power for power in range(14))
Key = TypeVar("Key")
_STATUS_NAMES = {0: "OK", **{code.value: code.name for code in Code}}


class Histogram:
    """Counts values in buckets.

    Args:
        bounds: The upper bounds; one more bucket has no bound.
    """

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float, times: int = 1) -> None:
        """Count a value, once or more often."""
        # TensorFlow's buckets hold what is below their bound, Prometheus's what is not above it;
        # TensorFlow Serving prints the former as the latter, and so does this.
        self._counts[bisect.bisect_right(self._bounds, value)] += times
        self._sum += value * times

    def merge(self, other: Histogram) -> None:
        """Add what another one of the same buckets has counted."""
        self._counts = [own + more for own, more in zip(self._counts, other._counts, strict=True)]
        self._sum += other._sum

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self._counts)

    def lines(self, name: str, labels: str) -> Iterable[str]:
        """Write the lines of Prometheus's text format."""
        count = 0
        for bound, in_bucket in zip((*self._bounds, math.inf), self._counts, strict=True):
            count += in_bucket
            limit = "+Inf" if bound == math.inf else f"{bound:.6g}"
            yield f'{name}_bucket{{{labels},le="{limit}"}} {count}'
        yield f"{name}_sum{{{labels}}} {self._sum:.6g}"
        yield f"{name}_count{{{labels}}} {count}"


class Metrics:
    """Everything that is counted in one server."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str, str], Histogram] = {}
        self._refusals: dict[tuple[str, int], int] = {}
        self._runs: dict[tuple[str, int, str], Histogram] = {}
        self._failed_runs: dict[tuple[str, int, int], int] = {}
        self._examples: dict[str, Histogram] = {}
        self._example_totals: dict[str, int] = {}
        self.observer_failures = 0
        self.logged: Callable[[], Mapping[str, int]] = dict
        self.connections: Callable[[], int] = lambda: 0

    def answered(self, model: str, api: str, entrypoint: str, seconds: Iterable[float]) -> None:
        """Count requests that were answered.

        Args:
            model: The model's name.
            api: What was asked (``Predict`` by gRPC, ``predict`` by REST).
            entrypoint: ``GRPC`` or ``REST``.
            seconds: Of each, from the whole request's arrival to the answer.
        """
        key = (model, api, entrypoint)
        histogram = self._answers.get(key)
        if histogram is None:
            histogram = self._answers[key] = Histogram(_LATENCY_BOUNDS)
        for one in seconds:
            histogram.add(one * 1e6)

    def refused(self, model: str, code: int) -> None:
        """Count a request that was refused; the model is "" where there is none of that name."""
        key = (model, code)
        self._refusals[key] = self._refusals.get(key, 0) + 1

    def ran(self, servable: Servable, api: str, seconds: float, requests: int = 1) -> None:
        """Count a version's run for each of its requests, their wait in the queue included."""
        key = (servable.model, servable.version, api)
        histogram = self._runs.get(key)
        if histogram is None:
            histogram = self._runs[key] = Histogram(_LATENCY_BOUNDS)
        histogram.add(seconds * 1e6, requests)

    def failed(self, servable: Servable, code: int) -> None:
        """Count a run of a version that gave no answer."""
        key = (servable.model, servable.version, code)
        self._failed_runs[key] = self._failed_runs.get(key, 0) + 1

    def gave_examples(self, model: str, count: int) -> None:
        """Count the examples of a Classify, Regress or MultiInference."""
        histogram = self._examples.setdefault(model, Histogram(_EXAMPLE_BOUNDS))
        histogram.add(count)
        self._example_totals[model] = self._example_totals.get(model, 0) + count

    def page(self) -> str:
        """Write the page that Prometheus scrapes."""
        requests = dict(self._refusals)
        for (model, _, _), histogram in self._answers.items():
            requests[model, 0] = requests.get((model, 0), 0) + histogram.count
        version_runs = dict(self._failed_runs)
        for (model, version, _), histogram in self._runs.items():
            key = (model, version, 0)
            version_runs[key] = version_runs.get(key, 0) + histogram.count
        lines = [
            *_counters(
                ":tensorflow:serving:request_count",
                {
                    _labels(model_name=model, status=_STATUS_NAMES.get(code, "UNKNOWN")): count
                    for (model, code), count in requests.items()
                },
            ),
            *_histograms(
                ":tensorflow:serving:request_latency",
                {
                    _labels(model_name=model, API=api, entrypoint=entrypoint): histogram
                    for (model, api, entrypoint), histogram in self._answers.items()
                },
            ),
            *_histograms(
                ":tensorflow:serving:runtime_latency",
                {
                    _labels(model_name=model, API=api, runtime="TF1"): histogram
                    for (model, api), histogram in _merged(
                        ((model, api), histogram)
                        for (model, _, api), histogram in self._runs.items()
                    ).items()
                },
            ),
            *_histograms(
                ":tensorflow:serving:request_example_counts",
                {_labels(model=model): histogram for model, histogram in self._examples.items()},
            ),
            *_counters(
                ":tensorflow:serving:request_example_count_total",
                {_labels(model=model): count for model, count in self._example_totals.items()},
            ),
            *_counters(
                "learnloop_serving_version_runs_total",
                {
                    _labels(
                        model_name=model,
                        version=str(version),
                        status=_STATUS_NAMES.get(code, "UNKNOWN"),
                    ): count
                    for (model, version, code), count in version_runs.items()
                },
            ),
            *_histograms(
                "learnloop_serving_version_latency",
                {
                    _labels(model_name=model, version=str(version)): histogram
                    for (model, version), histogram in _merged(
                        ((model, version), histogram)
                        for (model, version, _), histogram in self._runs.items()
                    ).items()
                },
            ),
            *_counters("learnloop_serving_observer_failures_total", {"": self.observer_failures}),
            *(
                line
                for name, count in self.logged().items()
                for line in _counters(f"learnloop_prediction_log_{name}_total", {"": count})
            ),
            "# TYPE learnloop_serving_rest_connections gauge",
            f"learnloop_serving_rest_connections{{}} {self.connections()}",
        ]
        return "\n".join(lines) + "\n"


def _merged(histograms: Iterable[tuple[Key, Histogram]]) -> dict[Key, Histogram]:
    """Put histograms of one key together."""
    merged: dict[Key, Histogram] = {}
    for key, histogram in histograms:
        merged.setdefault(key, Histogram(_LATENCY_BOUNDS)).merge(histogram)
    return merged


def _counters(name: str, values: Mapping[str, int]) -> Iterable[str]:
    if values:
        yield f"# TYPE {name} counter"
    for labels, value in values.items():
        yield f"{name}{{{labels}}} {value}"


def _histograms(name: str, histograms: Mapping[str, Histogram]) -> Iterable[str]:
    if histograms:
        yield f"# TYPE {name} histogram"
    for labels, histogram in histograms.items():
        yield from histogram.lines(name, labels)


def _labels(**labels: str) -> str:
    return ",".join(
        '{}="{}"'.format(name, value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n"))
        for name, value in labels.items()
    )
