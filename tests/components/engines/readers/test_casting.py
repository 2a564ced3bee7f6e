"""Text to typed columns: which types are inferred, and which values do not fit."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.engines.readers.casting import cast_column, infer_type, type_by_name
from learnloop.errors import UsageError


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.sampled_from("x1. -"))))
def test_misfits_are_those_that_python_cannot_read(values: list[int | str | None]) -> None:
    def is_whole(value: int | str | None) -> bool:
        return value is None or isinstance(value, int) or value.strip().isdigit()

    texts = pa.array([None if value is None else str(value) for value in values], pa.string())
    column, is_misfit = cast_column(texts, pa.int64())
    assert is_misfit.tolist() == [not is_whole(value) for value in values]
    assert column.to_pylist() == [
        int(value) if value is not None and is_whole(value) else None for value in values
    ]


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1", "-2", None], "int64"),
        (["1", "2.5"], "double"),
        (["1e3", "nan"], "double"),
        (["true", "False"], "bool"),
        (["0", "1"], "int64"),
        (["2024-01-31", None], "date32[day]"),
        (["2024-01-31 10:00:00", "2024-01-31T10:00:00.5"], "timestamp[us]"),
        (["2024-01-31T10:00:00Z"], "timestamp[us, tz=UTC]"),
        (["007", "12"], "string"),
        (["a", "1"], "string"),
        ([None, None], "string"),
        ([], "string"),
        (["1"] * 199 + ["unknown"], "int64"),
        (["1"] * 50 + ["unknown"], "string"),
    ],
)
def test_the_narrowest_type_that_nearly_all_values_fit_is_inferred(
    texts: list[str | None], kind: str
) -> None:
    assert str(infer_type(pa.array(texts, pa.string()), 0.01)) == kind


def test_an_unknown_type_is_answered_with_the_closest() -> None:
    with pytest.raises(UsageError) as error:
        type_by_name("int46")
    assert str(error.value) == (
        "There is no column type 'int46'.\n  where:    parameter 'types'\n"
        "  expected: did you mean 'int64'?\n  received: 'int46'"
    )
