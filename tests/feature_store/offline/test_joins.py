"""Point-in-time joins against the oracle: generated cases, and what other stores get wrong."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_store.offline.joining import Cut
from tests.feature_store.offline.oracle import EntityRow, Row, joined, right_answer

NUMBERS = (0, 1, 2, -7, 2**62, -(2**63), 2**63 - 1)
"""Join keys close together and as far apart as there are."""
WORDS = ("", "a", "b", "Ünal", "a b")
TIMES = (
    pa.timestamp("us", "UTC"),
    pa.timestamp("ns"),
    pa.timestamp("s"),
    pa.timestamp("ms", "CET"),
)

hours = st.integers(0, 6) | st.none()
keys = {int: st.sampled_from(NUMBERS) | st.none(), str: st.sampled_from(WORDS) | st.none()}


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    kinds = draw(st.lists(st.sampled_from((int, str)), min_size=1, max_size=3))
    # A few keys are drawn first, so that rows and entity rows often meet.
    known = draw(st.lists(st.tuples(*(keys[kind] for kind in kinds)), min_size=1, max_size=4))
    key = st.sampled_from(known)
    rows = draw(st.lists(st.builds(Row, key, hours, hours, st.floats() | st.none()), max_size=20))
    entities = draw(st.lists(st.builds(EntityRow, key, hours), max_size=8))
    return {
        "rows": rows,
        "entities": entities,
        "kinds": kinds,
        "ttl": draw(st.none() | st.integers(1, 3)),
        "cut": draw(st.sampled_from(Cut)),
        "is_recorded": draw(st.booleans()),
        "cuts": draw(st.lists(st.integers(0, len(rows)), max_size=2)),
        "group_rows": draw(st.sampled_from((1, 3, 1000))),
        "time": draw(st.sampled_from(TIMES)),
    }


def expected(case: dict[str, Any]) -> list[tuple[int | None, float | None]]:
    return [
        right_answer(case["rows"], entity, case["ttl"], case["cut"], case["is_recorded"])
        for entity in case["entities"]
    ]


@settings(max_examples=250)
@given(case=cases())
def test_a_join_is_what_the_oracle_says(
    case: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    answers = joined(tmp_path_factory.mktemp("case"), **case)
    assert repr(answers) == repr(expected(case))  # NaN is NaN


@pytest.mark.slow
def test_a_hundred_thousand_generated_cases(tmp_path: Path) -> None:
    """Many cases share a call, each with a number of its own as part of the key."""
    wrong = cases_seen = 0
    for number in range(200):
        case = _many_cases(random.Random(number), count=500)
        answers = joined(tmp_path / str(number), **case["arguments"])
        for entity, rows, answer in zip(case["entities"], case["rows"], answers, strict=True):
            position, value = right_answer(rows, entity, **case["rules"])
            wanted = None if position is None else case["positions"][entity.key[0]][position]
            wrong += (answer[0], repr(answer[1])) != (wanted, repr(value))
        cases_seen += 500
    assert (cases_seen, wrong) == (100_000, 0)


def _many_cases(chance: random.Random, count: int) -> dict[str, Any]:
    kinds = [int, *(chance.choice((int, str)) for _ in range(chance.randrange(3)))]
    ttl = chance.choice((None, 1, 2, 3))
    cut = chance.choice(tuple(Cut))
    is_recorded = chance.random() < 0.9

    def hour() -> int | None:
        return None if chance.random() < 0.03 else chance.randrange(7)

    rows: list[Row] = []
    entities: list[EntityRow] = []
    spread = chance.choice((1, 10**15))
    for number in range(count):
        known = [
            (
                number * spread,
                *(
                    None
                    if chance.random() < 0.03
                    else chance.choice(NUMBERS if kind is int else WORDS)
                    for kind in kinds[1:]
                ),
            )
            for _ in range(chance.choice((1, 1, 2, 3)))
        ]
        for _ in range(chance.randrange(13)):
            value = chance.choice((None, float("nan"), chance.random()))
            rows.append(Row(chance.choice(known), hour(), hour(), value))
        entities += [EntityRow(chance.choice(known), hour()) for _ in range(chance.randrange(1, 5))]
    chance.shuffle(rows)  # rows of a case lie among those of all others
    chance.shuffle(entities)
    positions: dict[int, list[int]] = {}
    own: dict[int, list[Row]] = {}
    for position, row in enumerate(rows):
        positions.setdefault(row.key[0], []).append(position)
        own.setdefault(row.key[0], []).append(row)
    return {
        "arguments": {
            "rows": rows,
            "entities": entities,
            "kinds": kinds,
            "ttl": ttl,
            "cut": cut,
            "is_recorded": is_recorded,
            "cuts": [chance.randrange(len(rows)) for _ in range(chance.randrange(3))],
            "group_rows": chance.choice((7, 100, 10_000)),
            "time": chance.choice(TIMES),
        },
        "entities": entities,
        "rows": [own.get(entity.key[0], []) for entity in entities],
        "positions": positions,
        "rules": {"ttl": ttl, "cut": cut, "is_recorded": is_recorded},
    }


def test_entity_rows_without_a_value_and_duplicates_come_back(tmp_path: Path) -> None:
    """The five rows of which Feast's file store returns two."""
    rows = [Row((1,), 2, 2, 0.5), Row((2,), 5, 5, 0.7)]
    entities = [
        EntityRow((1,), 3),
        EntityRow((1,), 3),  # the same again
        EntityRow((2,), 3),  # no value yet
        EntityRow((3,), 3),  # nobody of this name
        EntityRow((1,), 6),  # a value that holds no more
    ]
    answers = joined(tmp_path, rows, entities, kinds=[int], ttl=2)
    assert answers == [(0, 0.5), (0, 0.5), (None, None), (None, None), (None, None)]


def test_where_the_newest_event_was_recorded_later_an_older_one_answers(tmp_path: Path) -> None:
    rows = [Row((1,), 1, 1, 1.0), Row((1,), 3, 5, 3.0), Row((1,), 3, 6, 3.5)]
    entities = [EntityRow((1,), asked) for asked in (3, 4, 5, 6)]
    assert joined(tmp_path / "knowledge", rows, entities, kinds=[int]) == [
        (0, 1.0),
        (0, 1.0),
        (1, 3.0),
        (2, 3.5),
    ]
    leaking = joined(tmp_path / "event", rows, entities, kinds=[int], cut=Cut.EVENT)
    assert leaking == [(2, 3.5)] * 4


def test_an_older_event_recorded_last_answers_nothing_new(tmp_path: Path) -> None:
    rows = [Row((1,), 3, 3, 3.0), Row((1,), 2, 4, 2.0)]
    entities = [EntityRow((1,), 3), EntityRow((1,), 5)]
    assert joined(tmp_path, rows, entities, kinds=[int]) == [(0, 3.0), (0, 3.0)]


def test_a_null_value_is_an_answer(tmp_path: Path) -> None:
    rows = [Row((1,), 1, 1, 1.0), Row((1,), 2, 2, None)]
    assert joined(tmp_path, rows, [EntityRow((1,), 3)], kinds=[int]) == [(1, None)]


@pytest.mark.parametrize("ends", itertools.permutations((0, 1, 2)))
def test_of_equal_rows_the_last_in_the_source_answers(tmp_path: Path, ends: Any) -> None:
    rows = [Row((1,), 1, 1, float(value)) for value in ends]
    answers = joined(tmp_path, rows, [EntityRow((1,), 1)], kinds=[int], cuts=[1, 2])
    assert answers == [(2, float(ends[2]))]


def test_a_nanosecond_after_is_after(tmp_path: Path) -> None:
    """Times are compared in the finer unit of the two."""
    import pyarrow.parquet as parquet

    from feature_store.definitions import FeatureView
    from feature_store.fields import Entity, FeatureType, Field
    from feature_store.gathering import gather
    from feature_store.sources import ParquetSource
    from feature_store.store import FeatureStore
    from learnloop.settings import Settings

    source = pa.table(
        {
            "learner": [1, 1],
            "value": [1, 2],
            "happened": pa.array([1_000, 1_001], pa.timestamp("ns")),
        }
    )
    parquet.write_table(source, tmp_path / "source.parquet", version="2.6")
    view = FeatureView(
        "results",
        entities=(Entity("learner", (Field("learner", FeatureType.INT64),)),),
        schema=(Field("value", FeatureType.INT64),),
        source=ParquetSource("results", str(tmp_path / "source.parquet"), "happened"),
    )
    store = FeatureStore(Settings(home=tmp_path), gather([view]))
    store.apply()
    asked = pa.table({"learner": [1], "event_timestamp": pa.array([1], pa.timestamp("us", "UTC"))})
    assert store.get_historical_features(asked, [view]).to_arrow()["value"].to_pylist() == [1]
