"""The list of erased people: known by keyed pseudonyms, wherever rows come in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from feature_store.erased import list_as_erased, load_erased
from feature_store.people import ListedPeople
from feature_store.pseudonyms import Keyring, PseudonymKey, load_keyring
from learnloop.errors import UsageError
from learnloop.ledger import open_ledger
from learnloop.settings import Settings

OLD, NEW = "old:" + "o" * 32, "new:" + "n" * 32
KEY = PseudonymKey("old", b"o" * 32)


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    monkeypatch.setenv("LEARNLOOP_PSEUDONYM_KEYS", OLD)
    yield monkeypatch


def erased(*people: str, columns: tuple[str, ...] = ("learner",)) -> ListedPeople:
    return ListedPeople([KEY], [KEY.pseudonym("learner", who) for who in people], columns)


COLUMNS: list[tuple[Any, Any]] = [
    (pa.array([7, 8, None, 7], pa.int32()), [8, None]),
    (pa.array(["7", "8", "07", None]), ["8", "07", None]),
    (pa.array([7.0, 8.5, None]), [8.5, None]),
    (pa.array(["8", "7", "9"]).dictionary_encode(), ["8", "9"]),
    (pa.array(["7", "8"]).dictionary_encode().slice(1), ["8"]),
    (pa.array(["7", "8"], pa.large_string()), ["8"]),
    (pa.array([8, 9]), [8, 9]),
]


@pytest.mark.parametrize(("column", "left"), COLUMNS)
def test_their_rows_are_left_out_whatever_the_column_is_like(column: pa.Array, left: Any) -> None:
    batch = pa.RecordBatch.from_pydict({"row": pa.array(range(len(column))), "learner": column})
    assert erased("7").without(batch).column("learner").to_pylist() == left


def test_a_table_of_several_pieces() -> None:
    pieces = [pa.array(["7", "8"]).dictionary_encode(), pa.array(["9", "7"]).dictionary_encode()]
    table = pa.table({"learner": pa.chunked_array(pieces)})
    assert erased("7").without(table)["learner"].to_pylist() == ["8", "9"]
    assert erased("7").without(table.slice(0, 0)).num_rows == 0


def test_other_columns_do_not_count() -> None:
    batch = pa.RecordBatch.from_pydict({"clicks": pa.array([7, 8])})
    assert erased("7").without(batch) is batch
    pupils = pa.RecordBatch.from_pydict({"pupil": pa.array([7, 8])})
    assert erased("7", columns=("learner", "pupil")).without(pupils).num_rows == 1


def test_each_identifier_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = PseudonymKey.pseudonym
    monkeypatch.setattr(
        PseudonymKey, "pseudonym", lambda key, *what: asked.append(what[1]) or real(key, *what)
    )
    people = erased("7")
    asked.clear()
    batch = pa.RecordBatch.from_pydict({"learner": pa.array([7, 8, 8, 7] * 1000)})
    for _ in range(3):
        people.without(batch)
    assert asked == ["7", "8"]


def test_the_list_is_kept_by_the_ledger(settings: Settings, keys: pytest.MonkeyPatch) -> None:
    assert load_erased(settings) is None
    assert not settings.home_folder.exists(), "nobody was erased, and no ledger was made"
    ledger = open_ledger(settings.ledger_url)
    assert load_erased(settings) is None
    first = list_as_erased(ledger, load_keyring(), "7", "ada")
    assert list_as_erased(ledger, load_keyring(), "7", "bob") == first
    one = load_erased(settings)
    assert one and one.has("7") and not one.has("8")
    list_as_erased(ledger, load_keyring(), "8", "ada")
    two = load_erased(settings)
    assert two and two.has("7") and two.has("8")
    assert one.digest != two.digest
    for file in settings.home_folder.rglob("*"):
        assert not file.is_file() or b"o" * 32 not in file.read_bytes()


def test_keys_rotate_and_a_lost_one_is_told(settings: Settings, keys: pytest.MonkeyPatch) -> None:
    ledger = open_ledger(settings.ledger_url)
    list_as_erased(ledger, Keyring((KEY,)), "7", "ada")
    keys.setenv("LEARNLOOP_PSEUDONYM_KEYS", f"{NEW},{OLD}")
    list_as_erased(ledger, load_keyring(), "8", "ada")
    both = load_erased(settings)
    assert both and both.has("7") and both.has("8")
    keys.setenv("LEARNLOOP_PSEUDONYM_KEYS", NEW)
    with pytest.raises(UsageError) as lost:
        load_erased(settings)
    assert str(lost.value) == (
        "People who were erased or are held can no longer be known again.\n"
        "  where:    the environment variable LEARNLOOP_PSEUDONYM_KEYS\n"
        "  expected: the keys new, old\n"
        "  received: no key old\n"
        "  next:     put the key back behind the one in use"
    )


def test_words_of_a_text() -> None:
    people = erased("7", "ada@school")
    for text in ("1,7,x", '{"learner": "7"}', "ada@school;3", " 7 "):
        assert people.are_named_in(text), text
    for text in ("77,x", "1.7", "ada", ""):
        assert not people.are_named_in(text), text
