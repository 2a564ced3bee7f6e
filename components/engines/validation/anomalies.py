"""What the schema says against what the data holds: TFDV's anomalies, as checks with figures.

TFDV finds the anomalies; its short texts leave out what was expected, so both sides are written
from the schema and the statistics themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from components.engines.validation import tfdv
from components.engines.validation.checks import Check, count, figure, listing
from learnloop.errors import UsageError, closest

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0.anomalies_pb2 import AnomalyInfo
    from tensorflow_metadata.proto.v0.schema_pb2 import Feature, Schema
    from tensorflow_metadata.proto.v0.statistics_pb2 import (
        CommonStatistics,
        DatasetFeatureStatisticsList,
        FeatureNameStatistics,
    )

_STRUCTURAL = ("SCHEMA_MISSING_COLUMN", "SCHEMA_NEW_COLUMN", "UNEXPECTED_DATA_TYPE")
_TYPES = {"BYTES": "text", "STRING": "text", "INT": "integers", "FLOAT": "floats"}


@dataclass(frozen=True)
class _Subject:
    """One column of one split: what the schema says of it, and what is there."""

    schema: Schema
    feature: Feature | None
    found: FeatureNameStatistics | None
    rows: int
    detail: str


def check_schema(
    statistics: DatasetFeatureStatisticsList,
    schema: Schema,
    *,
    split: str,
    environment: str,
    schema_name: str,
) -> list[Check]:
    """Judge one split by the schema.

    Args:
        statistics: The split's statistics.
        schema: What is expected.
        split: The split's name.
        environment: One of the schema's environments; ignored by a schema without any.
        schema_name: Where the schema is curated, to say what to edit.

    Returns:
        A check for every anomaly, and a passed one for every column without.

    Raises:
        UsageError: The schema has environments, and this is none of them.
    """
    from tensorflow_metadata.proto.v0 import anomalies_pb2

    environments = list(schema.default_environment)
    if environments and environment not in environments:
        raise UsageError(
            "The schema has no such environment.",
            where=schema_name,
            expected=closest(environment, environments),
            received=repr(environment),
        )
    anomalies = tfdv.load().validate_statistics(
        statistics, schema, environment=environment if environments else None
    )
    dataset = statistics.datasets[0]
    features = {feature.name: feature for feature in schema.feature}
    found = {_name(feature): feature for feature in dataset.features}

    def judged() -> Iterator[Check]:
        for info in (anomalies.dataset_anomaly_info, *anomalies.anomaly_info.values()):
            column = ".".join(info.path.step)
            for reason in _causes(info):
                name = anomalies_pb2.AnomalyInfo.Type.Name(reason.type)
                subject = _Subject(
                    schema,
                    features.get(column),
                    found.get(column),
                    int(dataset.num_examples),
                    (reason.description or reason.short_description).strip().removesuffix("."),
                )
                what, expected, received = _SENTENCES.get(name, _OTHER)
                yield Check(
                    source="tfdv",
                    split=split,
                    column=column,
                    passed=False,
                    what=what or reason.short_description,
                    expected=expected(subject),
                    received=received(subject),
                    next=_next(name, column, schema_name),
                    severity="error" if info.severity == info.ERROR else "warning",
                    figures={"anomaly": name},
                )

    distinct = {(check.column, check.what): check for check in judged()}
    checks = sorted(distinct.values(), key=lambda check: check.column)
    failed = {check.column for check in checks}
    return checks + [
        Check("tfdv", split, column, passed=True, what="The column is as the schema says.")
        for column in found
        if column not in failed
    ]


def by_a_draft(checks: Iterable[Check]) -> list[Check]:
    """Let a schema that nobody curated refuse only what no reader of the data could handle.

    Args:
        checks: What :func:`check_schema` found by a schema drafted from other rows.

    Returns:
        The same checks; only missing or new columns and other types are still errors.
    """
    return [
        check if check.figures.get("anomaly") in _STRUCTURAL else replace(check, severity="warning")
        for check in checks
    ]


def _causes(info: AnomalyInfo) -> list[AnomalyInfo.Reason]:
    """Leave out reasons that only repeat another: a column with gaps has no fixed shape either."""
    reasons = list(info.reason)
    causes = [reason for reason in reasons if reason.type != info.INVALID_FEATURE_SHAPE]
    return causes or reasons


def _next(name: str, column: str, schema_name: str) -> str:
    if name == "SCHEMA_NEW_COLUMN":
        return f"add '{column}' to {schema_name}, or leave the column out, and run again"
    subject = f"'{column}'" if column else "the data"
    return f"correct {subject} at its source, or edit {schema_name} if it is meant, and run again"


def _name(found: FeatureNameStatistics) -> str:
    return ".".join(found.path.step) or found.name


def _common(subject: _Subject) -> CommonStatistics | None:
    found = subject.found
    if found is None:
        return None
    kind = found.WhichOneof("stats")
    return getattr(found, kind).common_stats if kind else None


def _nothing(subject: _Subject) -> str:
    return ""


def _expected_type(subject: _Subject) -> str:
    from tensorflow_metadata.proto.v0 import schema_pb2

    if subject.feature is None:
        return ""
    return _TYPES.get(schema_pb2.FeatureType.Name(subject.feature.type), "a column")


def _received_type(subject: _Subject) -> str:
    from tensorflow_metadata.proto.v0.statistics_pb2 import FeatureNameStatistics

    if subject.found is None:
        return "no such column"
    return _TYPES.get(FeatureNameStatistics.Type.Name(subject.found.type), "other values")


def _expected_column(subject: _Subject) -> str:
    return f"a column of {_expected_type(subject)}"


def _known_columns(subject: _Subject) -> str:
    return f"the {count(len(subject.schema.feature), 'column')} of the schema"


def _new_column(subject: _Subject) -> str:
    return f"a column of {_received_type(subject)}"


def _expected_values(subject: _Subject) -> str:
    feature = subject.feature
    if feature is None:
        return ""
    values = list(feature.string_domain.value)
    for domain in subject.schema.string_domain:
        if domain.name == feature.domain:
            values = list(domain.value)
    return f"one of {listing(values)}" if values else subject.detail


def _received_values(subject: _Subject) -> str:
    _, _, values = subject.detail.rpartition("missing from the schema: ")
    return values.strip().removesuffix(".")


def _expected_range(subject: _Subject) -> str:
    feature = subject.feature
    kind = feature.WhichOneof("domain_info") if feature else None
    if feature is None or kind not in ("int_domain", "float_domain"):
        return "0 or 1" if kind == "bool_domain" else ""
    domain = getattr(feature, kind)
    least = figure(domain.min) if domain.HasField("min") else "any"
    most = figure(domain.max) if domain.HasField("max") else "any"
    return f"values from {least} to {most}"


def _received_range(subject: _Subject) -> str:
    if subject.found is None or subject.found.WhichOneof("stats") != "num_stats":
        return subject.detail
    numbers = subject.found.num_stats
    return f"values from {figure(numbers.min)} to {figure(numbers.max)}"


def _expected_presence(subject: _Subject) -> str:
    if subject.feature is None or not subject.feature.HasField("presence"):
        return "a value in every row"
    presence = subject.feature.presence
    if presence.min_fraction:
        share = f"{100 * presence.min_fraction:.4g} %"
        return f"a value in {'every row' if share == '100 %' else f'at least {share} of the rows'}"
    return f"a value in at least {count(presence.min_count, 'row')}"


def _received_presence(subject: _Subject) -> str:
    common = _common(subject)
    if common is None or not subject.rows:
        return "no value"
    share = 100 * common.num_non_missing / subject.rows
    return f"a value in {common.num_non_missing:,} of {count(subject.rows, 'row')} ({share:.4g} %)"


def _expected_lengths(subject: _Subject) -> str:
    if subject.feature is None:
        return ""
    if subject.feature.HasField("shape"):
        sizes = " x ".join(str(dim.size) for dim in subject.feature.shape.dim)
        return f"exactly {sizes or '1'} in every row"
    lengths = subject.feature.value_count
    most = f"{lengths.max:,}" if lengths.HasField("max") else "any number"
    return f"{lengths.min:,} to {most} values in a row"


def _received_lengths(subject: _Subject) -> str:
    common = _common(subject)
    if common is None:
        return "no value"
    lengths = f"{common.min_num_values:,} to {common.max_num_values:,} values in a row"
    missing = f", none in {count(common.num_missing, 'row')}" if common.num_missing else ""
    return lengths + missing


def _expected_rows(subject: _Subject) -> str:
    limits = subject.schema.dataset_constraints
    if subject.rows < limits.min_examples_count:
        return f"at least {count(limits.min_examples_count, 'row')}"
    return f"at most {count(limits.max_examples_count, 'row')}"


def _received_rows(subject: _Subject) -> str:
    return count(subject.rows, "row")


def _finite(subject: _Subject) -> str:
    return "finite numbers"


def _received_nan(subject: _Subject) -> str:
    histograms = subject.found.num_stats.histograms if subject.found else ()
    return f"NaN {count(max(int(h.num_nan) for h in histograms), 'time')}" if histograms else "NaN"


def _expected_distinct(subject: _Subject) -> str:
    if subject.feature is None:
        return ""
    limits = subject.feature.unique_constraints
    most = f"{limits.max:,}" if limits.HasField("max") else "any number"
    return f"{limits.min:,} to {most} distinct values"


def _received_distinct(subject: _Subject) -> str:
    return f"{subject.found.string_stats.unique:,}" if subject.found else "none"


def _utf8(subject: _Subject) -> str:
    return "UTF-8"


def _received_bytes(subject: _Subject) -> str:
    invalid = subject.found.string_stats.invalid_utf8_count if subject.found else 0
    return f"other bytes in {count(invalid, 'value')}"


def _detail(subject: _Subject) -> str:
    return subject.detail


_Sentence = tuple[str, Callable[[_Subject], str], Callable[[_Subject], str]]
_OTHER: _Sentence = ("", _nothing, _detail)
_RANGE: _Sentence = ("Values lie outside their range.", _expected_range, _received_range)
_VALUES: _Sentence = ("Values are not in the domain.", _expected_values, _received_values)
_TYPE: _Sentence = ("The type is not the expected one.", _expected_type, _received_type)
_PRESENCE: _Sentence = ("Too many values are missing.", _expected_presence, _received_presence)
_LENGTHS: _Sentence = (
    "Rows have another number of values than expected.",
    _expected_lengths,
    _received_lengths,
)
_ROWS: _Sentence = ("The number of rows is not the expected one.", _expected_rows, _received_rows)
_DISTINCT: _Sentence = (
    "The number of distinct values is not the expected one.",
    _expected_distinct,
    _received_distinct,
)
_SENTENCES: dict[str, _Sentence] = {
    "SCHEMA_MISSING_COLUMN": ("The column is missing.", _expected_column, _received_type),
    "SCHEMA_NEW_COLUMN": ("The column is not in the schema.", _known_columns, _new_column),
    "UNEXPECTED_DATA_TYPE": _TYPE,
    "ENUM_TYPE_BYTES_NOT_STRING": _TYPE,
    "ENUM_TYPE_UNEXPECTED_STRING_VALUES": _VALUES,
    "INT_TYPE_BIG_INT": _RANGE,
    "INT_TYPE_SMALL_INT": _RANGE,
    "FLOAT_TYPE_BIG_FLOAT": _RANGE,
    "FLOAT_TYPE_SMALL_FLOAT": _RANGE,
    "FLOAT_TYPE_HAS_NAN": ("Values are no numbers.", _finite, _received_nan),
    "FLOAT_TYPE_HAS_INF": ("Values are infinite.", _finite, _received_range),
    "BOOL_TYPE_BIG_INT": _RANGE,
    "BOOL_TYPE_SMALL_INT": _RANGE,
    "FEATURE_TYPE_LOW_FRACTION_PRESENT": _PRESENCE,
    "FEATURE_TYPE_LOW_NUMBER_PRESENT": _PRESENCE,
    "FEATURE_TYPE_NOT_PRESENT": _PRESENCE,
    "FEATURE_TYPE_LOW_NUMBER_VALUES": _LENGTHS,
    "FEATURE_TYPE_HIGH_NUMBER_VALUES": _LENGTHS,
    "INVALID_FEATURE_SHAPE": _LENGTHS,
    "FEATURE_TYPE_LOW_UNIQUE": _DISTINCT,
    "FEATURE_TYPE_HIGH_UNIQUE": _DISTINCT,
    "ENUM_TYPE_INVALID_UTF8": ("Text is not valid.", _utf8, _received_bytes),
    "DATASET_LOW_NUM_EXAMPLES": _ROWS,
    "DATASET_HIGH_NUM_EXAMPLES": _ROWS,
}
