from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from learnloop.errors import UsageError
from pipelines.knowledge_tracing.sequences import Part, find_parts, is_for_validation, read_part
from tests.pipelines.knowledge_tracing.conftest import as_records


def test_the_files_of_the_fold_are_the_splits() -> None:
    partitions = {"train", "train1", "valid1", "train2", "valid2", "test"}
    assert find_parts(partitions, fold=2) == {
        "train": Part("train2"),
        "validation": Part("valid2"),
        "test": Part("test"),
    }


def test_without_such_files_the_training_sequences_are_dealt() -> None:
    assert find_parts({"train", "test", "train1"}, fold=1) == {
        "train": Part("train", False),
        "validation": Part("train", True),
        "test": Part("test"),
    }


@pytest.mark.parametrize(
    ("partitions", "received"), [({"train", "valid1"}, "train, valid1"), (set(), "no sequences")]
)
def test_what_cannot_be_split_is_refused(partitions: set[str], received: str) -> None:
    with pytest.raises(UsageError) as refused:
        find_parts(partitions, fold=3)
    assert refused.value.what == "The sequences cannot be split."
    assert refused.value.where == "windows"
    assert refused.value.expected == "the partitions test, and train or train3 with valid3"
    assert refused.value.received == received
    assert (
        refused.value.next == "point the source at a folder that holds *_train.csv and *_test.csv"
    )


def test_a_fifth_of_the_sequences_is_for_validation() -> None:
    held_out = is_for_validation(np.arange(10_000))
    assert 0.19 < held_out.mean() < 0.21
    assert np.array_equal(held_out[:100], is_for_validation(np.arange(100)))


def test_dealt_parts_share_no_sequence_and_lose_none(tmp_path: Path) -> None:
    rows = [(["a"], [1])] * 50
    records = as_records(tmp_path / "records", {"train": rows, "test": rows})
    parts = find_parts({"train", "test"}, fold=1)
    found = {
        split: [n for b in read_part(records, part) for n in b.column("sequence").to_pylist()]
        for split, part in parts.items()
    }
    assert not set(found["train"]) & set(found["validation"])
    assert sorted(found["train"] + found["validation"]) == list(range(50))
    assert found["test"] == list(range(50))
