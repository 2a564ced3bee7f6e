"""Drift and skew: how far two samples of a column lie apart, by TFDV's comparators.

Text is compared by the largest difference of a value's share (L-infinity), numbers by the
Jensen-Shannon divergence of quantile histograms. Equal-width ones, TFDV's default, follow the
largest value: two equal samples of a variable with a long tail lie 0.6 apart by them. Both measures
run from 0, equal, to 1, nothing in common. Where a share t of the values moves to where none was,
the first is t and the second close to t / 2, so one threshold, that share, serves both.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Literal

from components.engines.validation import tfdv
from components.engines.validation.checks import Check, figure

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0.schema_pb2 import Feature, FeatureComparator, Schema
    from tensorflow_metadata.proto.v0.statistics_pb2 import (
        DatasetFeatureStatisticsList,
        FeatureNameStatistics,
    )

_MEASURES = {
    "L_INFTY": "L-infinity distance",
    "JENSEN_SHANNON_DIVERGENCE": "Jensen-Shannon divergence",
}
_FORMULAS = {
    "L_INFTY": "max |p(v) - q(v)| over the values v",
    "JENSEN_SHANNON_DIVERGENCE": "H((p + q) / 2) - (H(p) + H(q)) / 2 in bits, over quantile bins",
}
_FOUND = {
    "drift": "The column has drifted away from earlier data.",
    "skew": "The splits do not hold the same kind of data.",
}
_MOST_DIFFERENT = re.compile(r"maximum difference is: (.*)")


def compare(
    kind: Literal["drift", "skew"],
    statistics: DatasetFeatureStatisticsList,
    other: DatasetFeatureStatisticsList,
    schema: Schema,
    *,
    threshold: float | None,
    split: str,
    against: str,
) -> list[Check]:
    """Compare every column of two samples.

    The threshold of a comparator in the schema (``drift_comparator``, ``skew_comparator``) holds as
    it stands. The other columns get the general one plus what chance alone may cause in samples of
    these sizes.

    Args:
        kind: Which of the schema's comparators to take.
        statistics: The sample judged.
        other: The sample it is held against.
        schema: The features to compare, and their comparators.
        threshold: The share of values that may have moved, 0 to 1; None compares only what the
            schema names.
        split: The judged sample's name.
        against: The other sample's name.

    Returns:
        A check for every column compared, passed or not, with ``distance``, ``threshold``,
        ``measure``, ``formula`` and ``against`` among its figures.
    """
    from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2

    plan = schema_pb2.Schema()
    mine, theirs = _by_name(statistics), _by_name(other)
    for feature in schema.feature:
        pair = mine.get(feature.name), theirs.get(feature.name)
        comparator = _comparator(kind, feature, pair, threshold, _chance(statistics, other))
        if comparator is not None:
            planned = plan.feature.add(name=feature.name, type=feature.type)
            planned.drift_comparator.CopyFrom(comparator)
    anomalies = tfdv.load().validate_statistics(statistics, plan, previous_statistics=other)
    high = {
        ".".join(info.path.step): " ".join(reason.description for reason in info.reason)
        for info in anomalies.anomaly_info.values()
    }
    checks = []
    for info in anomalies.drift_skew_info:
        column = ".".join(info.path.step)
        for measured in info.drift_measurements:
            name = anomalies_pb2.DriftSkewInfo.Measurement.Type.Name(measured.type)
            passed = measured.value <= measured.threshold
            checks.append(
                Check(
                    source=kind,
                    split=split,
                    column=column,
                    passed=passed,
                    what="The column is distributed as before." if passed else _FOUND[kind],
                    expected=f"{_MEASURES[name]} from {against} of at most "
                    f"{figure(measured.threshold)}",
                    received=figure(measured.value) + _most_different(high.get(column, "")),
                    next="" if passed else _next(kind, column, against),
                    figures={
                        "measure": _MEASURES[name],
                        "formula": _FORMULAS[name],
                        "distance": measured.value,
                        "threshold": measured.threshold,
                        "against": against,
                    },
                )
            )
    return checks


def _by_name(statistics: DatasetFeatureStatisticsList) -> dict[str, FeatureNameStatistics]:
    return {feature.path.step[0]: feature for feature in statistics.datasets[0].features}


def _chance(*samples: DatasetFeatureStatisticsList) -> float:
    """Sum the reciprocals of the sample sizes, which the noise of a comparison grows with."""
    return sum(1 / max(int(sample.datasets[0].num_examples), 1) for sample in samples)


def _comparator(
    kind: str,
    feature: Feature,
    pair: tuple[FeatureNameStatistics | None, FeatureNameStatistics | None],
    threshold: float | None,
    chance: float,
) -> FeatureComparator | None:
    """Find how to compare a column; None where it cannot or need not be."""
    from tensorflow_metadata.proto.v0 import schema_pb2

    mine, theirs = pair
    if mine is None or theirs is None or mine.WhichOneof("stats") != theirs.WhichOneof("stats"):
        return None
    comparator = schema_pb2.FeatureComparator()
    if feature.HasField(f"{kind}_comparator"):
        comparator.CopyFrom(getattr(feature, f"{kind}_comparator"))
        if comparator.HasField("jensen_shannon_divergence"):
            _by_quantiles(comparator)
        return comparator
    if threshold is None:
        return None
    if mine.WhichOneof("stats") == "string_stats":
        if not mine.string_stats.rank_histogram.buckets:
            return None
        # A share's difference has a standard deviation of at most sqrt(chance) / 2: four of them.
        comparator.infinity_norm.threshold = min(1.0, threshold + 2 * math.sqrt(chance))
        return comparator
    if not mine.num_stats.histograms or not theirs.num_stats.histograms:
        return None
    # Equal samples, of nine kinds of variable, lie up to 0.03 + 9 * chance apart.
    comparator.jensen_shannon_divergence.threshold = min(1.0, threshold / 2 + 10 * chance)
    _by_quantiles(comparator)
    return comparator


def _by_quantiles(comparator: FeatureComparator) -> None:
    """Compare by quantile histograms where the schema does not say which."""
    from tensorflow_metadata.proto.v0 import schema_pb2

    source = comparator.jensen_shannon_divergence.source
    if source.type == schema_pb2.HistogramSelection.DEFAULT:
        source.type = schema_pb2.HistogramSelection.QUANTILES


def _most_different(description: str) -> str:
    found = _MOST_DIFFERENT.search(description)
    return f", most of all in '{found.group(1).strip()}'" if found else ""


def _next(kind: str, column: str, against: str) -> str:
    if kind == "drift":
        return f"find out why '{column}' changed; retrain on newer data if the change is real"
    return f"check how the splits were made and how '{column}' is computed for {against}"
