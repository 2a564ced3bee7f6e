"""Schemas: read the curated one, or draft one from statistics for a person to curate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.engines.validation import tfdv
from learnloop.errors import UsageError, closest

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0.schema_pb2 import Schema
    from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatisticsList

TRAINING, SERVING = "TRAINING", "SERVING"
"""The environments of a schema: data with the truth, and data as it is when the model is asked."""


def read_schema(text: str, where: object) -> Schema:
    """Parse a schema in protobuf's text format.

    Args:
        text: The file's content.
        where: The file, for the error.

    Returns:
        The schema.

    Raises:
        UsageError: The text is no schema, or names a feature twice.
    """
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    schema = schema_pb2.Schema()
    try:
        text_format.Parse(text, schema)
    except text_format.ParseError as fault:
        raise UsageError(
            "A schema does not parse.",
            where=where,
            expected="a tensorflow.metadata.v0.Schema in text format",
            received=fault,
            next="correct the line named, or draft a schema with the component infer_schema",
        ) from None
    names = [feature.name for feature in schema.feature]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(
            "A schema names a feature twice.",
            where=where,
            expected="one entry for each feature",
            received=", ".join(twice),
        )
    return schema


def infer_schema(
    statistics: DatasetFeatureStatisticsList, label: str = "", most_categories: int = 100
) -> Schema:
    """Draft a schema: types, presence, shapes, and the values of text columns with few of them.

    Args:
        statistics: Statistics of data that is believed to be right.
        label: The column with the truth, which is not there when the model is asked.
        most_categories: A text column with more distinct values gets no list of them.

    Returns:
        The draft, with the environments :data:`TRAINING` and :data:`SERVING`.

    Raises:
        UsageError: There is no such label.
    """
    draft: Schema = tfdv.load().infer_schema(statistics, max_string_domain_size=most_categories)
    draft.default_environment.extend([TRAINING, SERVING])
    for feature in draft.feature:
        if [dimension.size for dimension in feature.shape.dim] == [1]:
            del feature.shape.dim[:]  # one value a row is a number, not a list of one
    if label:
        features = {feature.name: feature for feature in draft.feature}
        if label not in features:
            raise UsageError(
                "The label is no column of the data.",
                where="schema",
                expected=closest(label, features),
                received=repr(label),
            )
        features[label].not_in_environment.append(SERVING)
    return draft
