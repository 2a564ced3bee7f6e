from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from learnloop.artifacts import Examples
from learnloop.errors import UsageError
from tests.pipelines.knowledge_tracing.conftest import (
    PARTITIONS,
    Sequences,
    as_records,
    ingested,
    make_examples,
    random_sequences,
)


def cut(folder: Path, partitions: dict[str, Sequences], **parameters: int) -> Examples:
    return make_examples(as_records(folder / "records", partitions), folder, **parameters)


def test_windows_of_one_sequence_are_never_in_two_splits(tmp_path: Path) -> None:
    long = random_sequences(80, seed=5, longest=60)
    examples = cut(tmp_path, {"train": long, "test": long[:20]}, longest=10, carried=3)
    names = [set(examples.table(split)["learner"].to_pylist()) for split in examples.names]
    assert examples.names == ("train", "validation", "test")
    assert sum(map(len, names)) == len(set.union(*names)) == 100
    assert sum(examples.counts.values()) > 300


def test_only_what_is_learned_from_tells_which_answers_are_stored_twice(tmp_path: Path) -> None:
    twice = [(["a", "b"], [1, 1])] * 60
    apart = [(["c", "d"], [1, 1])] * 60
    examples = cut(tmp_path, {"train1": twice, "valid1": twice, "test": apart + twice})
    repeated = examples.table("test")["repeated"].to_pylist()
    assert repeated == [[0, 0]] * 60 + [[0, 1]] * 60


def test_sequences_of_length_1_are_counted(tmp_path: Path) -> None:
    partitions = {**PARTITIONS, "valid1": [(["a"], [1]), (["a", "b"], [1, 0]), (["b"], [0])]}
    examples = cut(tmp_path, partitions)
    assert examples.counts["validation"] == 1
    assert examples.metadata["sequences_of_length_1"] == 2


def test_another_test_file_changes_no_other_split(tmp_path: Path) -> None:
    one = cut(tmp_path / "one", PARTITIONS)
    other = cut(tmp_path / "other", {**PARTITIONS, "test": random_sequences(9, seed=9)})
    assert one.table("train") == other.table("train")
    assert one.table("validation") == other.table("validation")
    assert one.table("test") != other.table("test")


def test_context_as_long_as_the_window_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        cut(tmp_path, PARTITIONS, longest=50, carried=50)
    assert str(refused.value) == (
        "Windows must be longer than the context that they carry.\n"
        "  where:    windows\n"
        "  expected: 0 < carried < longest\n"
        "  received: carried=50, longest=50"
    )


def test_a_split_without_a_prediction_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        cut(tmp_path, {**PARTITIONS, "valid1": [(["a"], [1])]})
    assert str(refused.value) == (
        "The split 'validation' is empty.\n"
        "  where:    partition 'valid1'\n"
        "  expected: sequences of 2 responses and more\n"
        "  received: none\n"
        "  next:     take a source with more sequences"
    )


@pytest.mark.parametrize(
    ("folder", "learned", "validated", "tested"),
    [
        ("assist2009_updated", 176_684 - 70, 46_904, 100_189),
        ("assist2015_dkvmn", 384_373 - 270, 96_855, 193_856),
    ],
)
def test_every_prediction_of_the_protocol_is_made_once(
    real_data: Path, tmp_path: Path, folder: str, learned: int, validated: int, tested: int
) -> None:
    """Interactions less the first of each sequence; training has those, but for length 1."""
    examples = make_examples(ingested(real_data / "kt" / folder, tmp_path), tmp_path)
    labels = {
        split: examples.table(split, ["correct"]).column(0).combine_chunks().flatten().to_numpy()
        for split in examples.names
    }
    assert {split: int(np.sum(known >= 0)) for split, known in labels.items()} == {
        "train": learned,
        "validation": validated,
        "test": tested,
    }
