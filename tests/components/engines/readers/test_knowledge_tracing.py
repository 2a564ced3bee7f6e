"""Three-line files: sequences by partition, and broken triples refused with their line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.engines.readers import Rejects, knowledge_tracing, open_source
from learnloop.errors import UsageError

Read = tuple[list[dict[str, Any]], list[tuple[int, str, str]]]


def read(folder: Path, **files: bytes) -> Read:
    for name, data in files.items():
        (folder / f"set_{name}.csv").write_bytes(data)
    (folder / "scratch").mkdir(exist_ok=True)
    with Rejects(folder / "scratch" / "rejects") as rejects:
        (table,) = open_source(str(folder), "knowledge_tracing", scratch=folder / "scratch")
        rows = pa.Table.from_batches(table.read(rejects), table.schema).to_pylist()
    refused = [row for batch in rejects.batches() for row in batch.to_pylist()]
    return rows, [(row["line"], row["reason"], row["text"]) for row in refused]


def test_sequences_come_by_partition_in_the_order_of_the_file(tmp_path: Path) -> None:
    rows, refused = read(
        tmp_path,
        train1=b"2\n4,5\n0,1\n1\n7\n1\n",
        test=b"\xef\xbb\xbf3\r\n1,1,2,\r\n1,0,1,\r\n\r\n",
        valid1=b"",
    )
    assert refused == []
    assert rows == [
        {"partition": "test", "sequence": 0, "skills": ["1", "1", "2"], "responses": [1, 0, 1]},
        {"partition": "train1", "sequence": 0, "skills": ["4", "5"], "responses": [0, 1]},
        {"partition": "train1", "sequence": 1, "skills": ["7"], "responses": [1]},
    ]


GOOD = b"2\n4,5\n0,1\n"
BROKEN = {
    b"3\n4,5\n0,1\n": "the count and the number of skills differ",
    b"2\n4,5\n0\n": "the numbers of skills and of responses differ",
    b"2\n4,5\n0,2\n": "a response is neither 0 nor 1",
    b"2\n4,\n0,1\n": "the count and the number of skills differ",
    b"3\n4,,5\n0,1,1\n": "a skill id is missing",
    b"2\n4,5\n": "the numbers of skills and of responses differ",
    b"4,5\n0,1\n": "the first line is not a count",
    b"2\n4,\xe9\n0,1\n": "a skill id is not plain text",
    b"2\n4,\0\n0,1\n": "a skill id is not plain text",
    b"0\n\n\n": "the count and the number of skills differ",
    b"what\never\n": "the first line is not a count",
    b"2\n4,5\n0,1," + b"1," * 5_000_000 + b"\n": "longer than 1,048,576 bytes",
}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken[:12].decode("latin-1"))
def test_a_broken_triple_is_refused_and_the_next_one_read(broken: bytes, tmp_path: Path) -> None:
    rows, refused = read(tmp_path, train=GOOD * 2 + broken + GOOD * 3)
    assert [row["sequence"] for row in rows] == [0, 1, 2, 3, 4]
    assert all(row["skills"] == ["4", "5"] for row in rows)
    assert [(line, reason) for line, reason, _ in refused] == [(7, BROKEN[broken])]


def test_a_file_that_ends_within_a_sequence_loses_only_that(tmp_path: Path) -> None:
    rows, refused = read(tmp_path, train=GOOD + b"2\n4,5\n")
    assert len(rows) == 1
    assert refused == [(4, "the file ends within a sequence", "2\n4,5")]


@settings(max_examples=40)
@given(
    lines=st.lists(st.sampled_from([b"1", b"2", b"4,5", b"0,1", b"x", b"0"]), max_size=30),
    batch=st.sampled_from([3, 7, 24_576]),
)
def test_every_line_is_in_a_sequence_or_refused(
    lines: list[bytes], batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(knowledge_tracing, "BATCH_LINES", batch)
    rows, refused = read(tmp_path, train=b"".join(line + b"\n" for line in lines))
    accepted = [
        line
        for row in rows
        for line in (
            str(len(row["skills"])),
            ",".join(row["skills"]),
            ",".join(map(str, row["responses"])),
        )
    ]
    texts = [line for _, _, text in refused for line in text.split("\n")]
    assert sorted(accepted + texts) == sorted(line.decode() for line in lines)


def test_two_data_sets_in_one_folder_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "other_train.csv").write_bytes(GOOD)
    with pytest.raises(UsageError) as error:
        read(tmp_path, train=GOOD)
    assert str(error.value) == (
        f"Two files hold the partition 'train'.\n  where:    {tmp_path}\n"
        "  expected: the files of one data set\n  received: other_train.csv, set_train.csv"
    )


def test_a_folder_without_such_files_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(GOOD)
    with pytest.raises(UsageError) as error:
        read(tmp_path)
    assert str(error.value) == (
        f"The source has no file of the layout 'knowledge_tracing'.\n  where:    {tmp_path}\n"
        "  expected: *_train.csv, *_test.csv, *_trainK.csv, *_validK.csv\n"
        "  received: none of these\n"
        "  next:     choose another layout: csv, events, knowledge_tracing, oulad, parquet, sql"
    )


COUNTS = {
    "assist2009_updated": {"train": (2_921, 224_218), "test": (1_230, 101_419)},
    "assist2015_dkvmn": {"train": (13_935, 484_040), "test": (5_905, 199_761)},
    "synthetic": {"train": (2_000, 100_000), "test": (2_000, 100_000)},
}


@pytest.mark.parametrize("name", COUNTS)
def test_real_sets_are_read_whole(name: str, real_data: Path, tmp_path: Path) -> None:
    with Rejects(tmp_path / "rejects") as rejects:
        source = str(real_data / "kt" / name)
        (table,) = open_source(source, "knowledge_tracing", scratch=tmp_path)
        rows = pa.Table.from_batches(table.read(rejects), table.schema)
    assert rejects.counts == {}
    for partition, counts in COUNTS[name].items():
        chosen = rows.filter(pa.compute.equal(rows["partition"], partition))
        assert (chosen.num_rows, len(chosen["responses"].combine_chunks().flatten())) == counts
