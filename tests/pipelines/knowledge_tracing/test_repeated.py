from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines.knowledge_tracing.repeated import is_repeated, repeated_pairs
from pipelines.knowledge_tracing.sequences import Part, lengths_of, read_part
from tests.pipelines.knowledge_tracing.conftest import as_batch, ingested

AGREE = (["area", "perimeter"], [1, 1])
DIFFER = (["area", "perimeter"], [1, 0])


@pytest.mark.parametrize(
    ("agreeing", "differing", "is_found"), [(50, 1, True), (49, 0, False), (97, 3, False)]
)
def test_two_tags_of_one_answer_are_told_from_two_answers(
    agreeing: int, differing: int, is_found: bool
) -> None:
    batches = [as_batch([AGREE] * agreeing), as_batch([DIFFER] * differing)]
    expected = {("area", "perimeter")} if is_found else set()
    assert repeated_pairs(batches) == expected


def test_a_skill_that_follows_itself_or_another_sequence_is_no_pair() -> None:
    same = as_batch([(["area", "area"], [1, 1])] * 60)
    single = as_batch([(["area"], [1]), (["perimeter"], [1])] * 60)
    assert repeated_pairs([same, single]) == set()


def test_the_second_tag_is_marked() -> None:
    skills = pa.array(["area", "perimeter", "area", "perimeter", "volume", "perimeter"])
    marked = is_repeated(skills, np.array([3, 3]), frozenset({("area", "perimeter")}))
    assert marked.tolist() == [0, 1, 0, 0, 0, 0]


def test_assist2009_has_34_pairs_and_48111_rows(real_data: Path, tmp_path: Path) -> None:
    records = ingested(real_data / "kt" / "assist2009_updated", tmp_path)
    batches = [batch for name in ("train", "test") for batch in read_part(records, Part(name))]
    pairs = repeated_pairs(batches)
    assert len(pairs) == 34
    marked = (is_repeated(b.column("skills").flatten(), lengths_of(b), pairs) for b in batches)
    assert sum(int(rows.sum()) for rows in marked) == 48_111
