from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from pipelines.knowledge_tracing.cutting import Layout, cut_windows
from tests.pipelines.knowledge_tracing.conftest import Sequences, as_batch

SEQUENCES = st.lists(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 1)), min_size=1, max_size=40).map(
        lambda steps: ([skill for skill, _ in steps], [response for _, response in steps])
    ),
    max_size=6,
)


def test_a_short_sequence_is_one_window() -> None:
    window = cut_windows(as_batch([(["7", "7", "9"], [1, 0, 1])], "test"))
    assert window.to_pylist() == [
        {
            "learner": "test/0",
            "as_of": datetime(1970, 1, 1, second=2, tzinfo=UTC),
            "skills": ["7", "7"],
            "responses": [1, 0],
            "next_skill": "9",
            "correct": [-1, 0, 1],
            "repeated": [0, 0, 0],
        }
    ]


def test_a_long_sequence_carries_context_that_is_not_predicted_again() -> None:
    sequence = (list("abcdefg"), [0, 1, 0, 1, 1, 0, 1])
    rows = cut_windows(as_batch([sequence]), Layout(longest=4, carried=2)).to_pylist()
    assert [["".join(row["skills"]), row["next_skill"], row["correct"]] for row in rows] == [
        ["abc", "d", [-1, 1, 0, 1]],
        ["cde", "f", [-1, -1, 1, 0]],
        ["ef", "g", [-1, -1, 1]],
    ]


def test_training_also_learns_the_first_response() -> None:
    rows = cut_windows(as_batch([(["a", "b"], [1, 0])]), Layout(first_predicted=0)).to_pylist()
    assert rows[0]["correct"] == [1, 0]


def test_nothing_is_predicted_of_a_sequence_of_length_1() -> None:
    assert cut_windows(as_batch([(["a"], [1]), (["a", "b"], [1, 0])])).num_rows == 1


@given(SEQUENCES, st.integers(2, 12), st.data())
def test_every_response_but_the_first_is_predicted_once(
    sequences: Sequences, longest: int, data: st.DataObject
) -> None:
    carried = data.draw(st.integers(1, longest - 1))
    rows = cut_windows(as_batch(sequences), Layout(longest, carried)).to_pylist()
    seen: Counter[tuple[int, int]] = Counter()
    ends: dict[int, int] = {}
    for row in rows:
        number = int(row["learner"].partition("/")[2])
        skills, responses = sequences[number]
        steps = len(row["correct"])
        start = ends[number] - carried if number in ends else 0
        assert steps == len(row["skills"]) + 1 == len(row["responses"]) + 1 <= longest
        assert [*row["skills"], row["next_skill"]] == skills[start : start + steps]
        assert row["responses"] == responses[start : start + steps - 1]
        for step, label in enumerate(row["correct"], start):
            if label >= 0:
                assert label == responses[step]
                seen[number, step] += 1
        ends[number] = start + steps
        assert row["as_of"].timestamp() == ends[number] - 1
    assert seen == Counter(
        (number, step)
        for number, (skills, _) in enumerate(sequences)
        for step in range(1, len(skills))
    )
