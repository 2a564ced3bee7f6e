"""Artifacts: written once, read typed, digested by content."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from learnloop.artifacts import (
    DESCRIPTION,
    Blessing,
    Evaluation,
    Examples,
    Model,
    Records,
    Schema,
    Statistics,
)
from learnloop.errors import CorruptArtifact, LearnLoopError, UsageError

TABLE = pa.table({"score": [1.0, None, 3.0], "skill": ["a", "b", None]})


def test_examples_come_back_as_they_were_written(tmp_path: Path) -> None:
    examples = Examples.create(tmp_path / "examples")
    assert examples.write("train", TABLE) == 3
    assert examples.write("test", iter(TABLE.slice(1).to_batches())) == 2
    read = Examples.open(tmp_path / "examples")
    assert read.names == ("train", "test")
    assert read.counts == {"train": 3, "test": 2}
    assert read.table("train").equals(TABLE)
    assert read.table("test", ["skill"]).to_pydict() == {"skill": ["b", None]}
    assert [batch.num_rows for batch in read.batches("train", rows=2)] == [2, 1]
    assert read.schema("train") == TABLE.schema


def test_the_digest_is_of_rows_not_of_files(tmp_path: Path) -> None:
    whole = Examples.create(tmp_path / "whole")
    whole.write("train", TABLE)
    pieces = Examples.create(tmp_path / "pieces")
    pieces.write("train", TABLE.to_batches(1))
    other = Examples.create(tmp_path / "other")
    other.write("train", TABLE.slice(1))
    records = Records.create(tmp_path / "records")
    records.write("train", TABLE)
    assert whole.content_digest() == pieces.content_digest()
    digests = {a.content_digest() for a in (whole, other, records)}
    assert len(digests) == 3


def test_an_unknown_split_is_answered_with_the_closest(tmp_path: Path) -> None:
    examples = Examples.create(tmp_path / "examples")
    examples.write("validation", TABLE)
    with pytest.raises(UsageError) as caught:
        examples.table("valdation")
    assert str(caught.value) == (
        "There is no split 'valdation'.\n"
        "  where:    examples\n"
        "  expected: did you mean 'validation'?\n"
        "  received: 'valdation'"
    )


@pytest.mark.parametrize("name", ["", "../up", "train", ".hidden", "a/b"])
def test_a_split_needs_a_name_of_its_own(tmp_path: Path, name: str) -> None:
    examples = Examples.create(tmp_path / "examples")
    examples.write("train", TABLE)
    with pytest.raises(UsageError) as caught:
        examples.write(name, TABLE)
    assert str(caught.value) == (
        "A split needs a name of its own.\n"
        "  where:    examples\n"
        "  expected: letters, digits, '_', '.' or '-', not used before\n"
        f"  received: {name!r}"
    )


def test_no_batches_need_a_schema(tmp_path: Path) -> None:
    records = Records.create(tmp_path / "records")
    with pytest.raises(UsageError, match="A table without rows needs a schema."):
        records.write("empty", [])
    assert records.write("empty", [], schema=TABLE.schema) == 0
    assert records.table("empty").schema == TABLE.schema


def test_what_was_published_is_only_read(tmp_path: Path) -> None:
    Blessing.create(tmp_path / "blessing").write({"blessed": True, "reasons": []})
    with pytest.raises(LearnLoopError) as caught:
        Blessing.open(tmp_path / "blessing").write({"blessed": False})
    assert str(caught.value) == (
        "A published artifact is only read; write to an output of the step.\n"
        f"  where:    {tmp_path / 'blessing'}"
    )


def test_an_artifact_is_written_once(tmp_path: Path) -> None:
    Evaluation.create(tmp_path / "evaluation").write({"auc": 0.5})
    with pytest.raises(UsageError, match="An artifact is written once, into an empty folder."):
        Evaluation.create(tmp_path / "evaluation")


def test_a_broken_description_is_told(tmp_path: Path) -> None:
    Evaluation.create(tmp_path / "evaluation").write({"auc": 0.5})
    (tmp_path / "evaluation" / DESCRIPTION).write_text("{")
    with pytest.raises(CorruptArtifact, match="An artifact's description is not readable."):
        Evaluation.open(tmp_path / "evaluation")


def test_another_format_is_refused(tmp_path: Path) -> None:
    Evaluation.create(tmp_path / "evaluation").write({"auc": 0.5})
    description = tmp_path / "evaluation" / DESCRIPTION
    description.write_text(description.read_text().replace('"format": 1', '"format": 7'))
    with pytest.raises(LearnLoopError) as caught:
        Evaluation.open(tmp_path / "evaluation")
    assert str(caught.value) == (
        "An artifact has another format than this LearnLoop reads.\n"
        f"  where:    {tmp_path / 'evaluation'}\n"
        "  expected: format 1\n"
        "  received: format 7\n"
        "  next:     install the LearnLoop that wrote it, or run the pipeline again"
    )


def test_metadata_and_recorded_digests_count(tmp_path: Path) -> None:
    plain, described, digested = (Model.create(tmp_path / n) for n in ("a", "b", "c"))
    assert plain.is_empty()
    described.describe(rows=3)
    digested.set_content_digest("0" * 64)
    assert not described.is_empty()
    assert len({m.content_digest() for m in (plain, described, digested)}) == 3
    assert Model.open(tmp_path / "b").metadata == {"rows": 3}


def test_an_adopted_artifact_is_a_copy(tmp_path: Path) -> None:
    examples = Examples.create(tmp_path / "one")
    examples.write("train", TABLE)
    copy = Examples.create(tmp_path / "two")
    copy.adopt(examples.path)
    assert copy.content_digest() == examples.content_digest()
    assert Examples.open(tmp_path / "two").table("train").equals(TABLE)


def test_protocol_buffers_come_back(tmp_path: Path) -> None:
    from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

    schema = schema_pb2.Schema(feature=[schema_pb2.Feature(name="score")])
    Schema.create(tmp_path / "schema").write(schema)
    assert Schema.open(tmp_path / "schema").load() == schema
    dataset = statistics_pb2.DatasetFeatureStatistics(num_examples=3)
    statistics = statistics_pb2.DatasetFeatureStatisticsList(datasets=[dataset])
    Statistics.create(tmp_path / "statistics").write("train", statistics)
    assert Statistics.open(tmp_path / "statistics").load("train") == statistics
