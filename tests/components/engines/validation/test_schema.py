from __future__ import annotations

from typing import Any

import pytest

from components.engines.validation.schema import infer_schema, read_schema
from learnloop.errors import UsageError


def test_a_draft_says_types_presence_and_values(describe: Any) -> None:
    statistics = describe(
        score=[1.5, None, 3.0], clicks=[1, 2, 3], gender=["F", "M", "F"], failed=[0, 1, 1]
    )
    draft = infer_schema(statistics, label="failed")
    assert str(draft) == str(
        read_schema(
            """
            feature { name: "score" type: FLOAT presence { min_count: 1 }
              value_count { min: 1 max: 1 } }
            feature { name: "clicks" type: INT presence { min_fraction: 1.0 min_count: 1 }
              shape { } }
            feature { name: "gender" type: BYTES domain: "gender"
              presence { min_fraction: 1.0 min_count: 1 } shape { } }
            feature { name: "failed" type: INT bool_domain { } not_in_environment: "SERVING"
              presence { min_fraction: 1.0 min_count: 1 } shape { } }
            string_domain { name: "gender" value: "F" value: "M" }
            default_environment: "TRAINING"
            default_environment: "SERVING"
            """,
            "here",
        )
    )


def test_text_with_many_values_gets_no_list(describe: Any) -> None:
    draft = infer_schema(describe(word=["a", "b", "c"]), most_categories=2)
    assert not draft.string_domain


def test_an_unknown_label_is_refused(describe: Any) -> None:
    with pytest.raises(UsageError) as refusal:
        infer_schema(describe(clicks=[1], failed=[0]), label="faild")
    assert str(refusal.value) == (
        "The label is no column of the data.\n"
        "  where:    schema\n"
        "  expected: did you mean 'failed'?\n"
        "  received: 'faild'"
    )


def test_a_schema_that_does_not_parse_is_refused_with_its_line() -> None:
    with pytest.raises(UsageError) as refusal:
        read_schema('feature { name: "score"\n  kind: FLOAT }', "outcome/schema.pbtxt")
    assert str(refusal.value) == (
        "A schema does not parse.\n"
        "  where:    outcome/schema.pbtxt\n"
        "  expected: a tensorflow.metadata.v0.Schema in text format\n"
        '  received: 2:3 : Message type "tensorflow.metadata.v0.Feature" has no field named '
        '"kind".\n'
        "  next:     correct the line named, or draft a schema with the component infer_schema"
    )


def test_a_schema_names_each_feature_once() -> None:
    with pytest.raises(UsageError) as refusal:
        read_schema('feature { name: "score" } feature { name: "score" }', "s.pbtxt")
    assert str(refusal.value) == (
        "A schema names a feature twice.\n"
        "  where:    s.pbtxt\n"
        "  expected: one entry for each feature\n"
        "  received: score"
    )
