"""TensorFlow Data Validation statistics of any number of rows, in memory, without Beam.

TFDV's own generators are combiners: batches are added one by one, so memory is bounded by one batch
and a few sketches per column. The figures are those of TFDV on Beam; but where a column has more
distinct values than a sketch holds, its ranking ends in values that the sketch cannot tell apart,
and which of them it names depends on memory addresses. :func:`canonical` leaves those out, so that
equal rows give equal statistics, and a column of identifiers lists none of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from components.engines.validation import tfdv
from components.engines.validation.features import as_features

if TYPE_CHECKING:
    import pyarrow as pa
    from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatisticsList

BATCH_ROWS = 65_536
"""Rows in a batch: quantiles are approximate and depend on it, so it never varies."""

# TFDV's 10 are too coarse to compare by: two equal samples of 5,000 then lie up to 0.1 apart by
# Jensen-Shannon divergence, a third of that with 30.
_QUANTILES = 30
# TFDV's own defaults for statistics in memory.
_TOP_VALUES = 20
_RANKED_VALUES = 1_000
_FREQUENCY_BUCKETS = 1_024
_DISTINCT_BUCKETS = 16_384


def compute_statistics(
    batches: Iterable[pa.RecordBatch], leave_out: Collection[str] = ()
) -> DatasetFeatureStatisticsList:
    """Describe rows: presence, number of values, moments, histograms, top values, distinct values.

    Args:
        batches: At least one batch of plain columns (see :func:`~.features.as_features`); a batch
            may hold no row. :data:`BATCH_ROWS` rows each make results comparable.
        leave_out: Names of columns that are no features, such as identifiers.

    Returns:
        TFDV's statistics of one dataset, in canonical form.

    Raises:
        UsageError: A column has a type that has no statistics.
    """
    tfdv.load()
    from tensorflow_data_validation.statistics.generators import (
        basic_stats_generator,
        top_k_uniques_sketch_stats_generator,
    )
    from tfx_bsl.statistics import merge_util

    generators = (
        basic_stats_generator.BasicStatsGenerator(num_quantiles_histogram_buckets=_QUANTILES),
        top_k_uniques_sketch_stats_generator.TopKUniquesSketchStatsGenerator(
            num_top_values=_TOP_VALUES,
            num_rank_histogram_buckets=_RANKED_VALUES,
            num_misragries_buckets=_FREQUENCY_BUCKETS,
            num_kmv_buckets=_DISTINCT_BUCKETS,
            # TFDV walks every 100th batch in Python for its telemetry, drawn by chance.
            length_counter_sampling_rate=0.0,
        ),
    )
    accumulators = [generator.create_accumulator() for generator in generators]
    for batch in batches:
        features = as_features(batch, leave_out)
        accumulators = [
            generator.add_input(accumulator, features)
            for generator, accumulator in zip(generators, accumulators, strict=True)
        ]
    outputs = [
        generator.extract_output(generator.compact(accumulator))
        for generator, accumulator in zip(generators, accumulators, strict=True)
    ]
    return canonical(merge_util.merge_dataset_feature_statistics(outputs))


def canonical(statistics: DatasetFeatureStatisticsList) -> DatasetFeatureStatisticsList:
    """Leave out what the rows do not determine: the end of a ranking that was cut.

    A sketch of k counters is wrong by up to n / k in n values (Misra and Gries, Finding repeated
    elements, 1982). Only values counted at least twice that often stay, and of the last count
    listed, which more values may share, none.

    Args:
        statistics: What TFDV computed.

    Returns:
        A copy; complete rankings are as they were.
    """
    result = type(statistics)()
    result.CopyFrom(statistics)
    for dataset in result.datasets:
        for feature in dataset.features:
            text = feature.string_stats
            ranked = text.rank_histogram.buckets
            if not ranked or len(ranked) >= text.unique:
                continue
            error = text.common_stats.tot_num_values / _FREQUENCY_BUCKETS
            doubtful = max(2 * error, ranked[-1].sample_count)
            kept = [bucket for bucket in ranked if bucket.sample_count > doubtful]
            del ranked[len(kept) :]
            top = [value for value in text.top_values if value.frequency > doubtful]
            del text.top_values[len(top) :]
    return result


def digest_statistics(statistics: DatasetFeatureStatisticsList) -> str:
    """Digest statistics canonically: equal for equal rows, in any process.

    Args:
        statistics: What TFDV computed.

    Returns:
        A SHA-256 in hexadecimal.
    """
    content: bytes = canonical(statistics).SerializeToString(deterministic=True)
    return hashlib.sha256(content).hexdigest()
