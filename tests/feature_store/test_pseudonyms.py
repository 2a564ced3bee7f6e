"""Pseudonyms are keyed, name their key, and outlive a rotation of keys."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from feature_store.pseudonyms import (
    KEYS_VARIABLE,
    Keyring,
    PseudonymKey,
    load_keyring,
    load_keyring_if_any,
)
from learnloop.errors import UsageError

OLD = PseudonymKey("2025", b"an old secret of more than thirty characters")
NEW = PseudonymKey("2026", b"a new secret of more than thirty characters")


def test_a_pseudonym_is_half_an_hmac_and_names_its_key() -> None:
    whole = hmac.new(NEW.secret, b"learner\x0017", hashlib.sha256).hexdigest()
    assert Keyring((NEW, OLD)).pseudonym("learner", 17) == f"2026.{whole[:32]}"


@pytest.mark.parametrize(
    "other",
    [
        OLD.pseudonym("learner", 7),
        NEW.pseudonym("teacher", 7),
        NEW.pseudonym("learner", 8),
    ],
)
def test_another_key_identifier_or_value_makes_another_pseudonym(other: str) -> None:
    pseudonym = NEW.pseudonym("learner", 7)
    assert pseudonym.partition(".")[2] != other.partition(".")[2]


def test_after_a_rotation_a_person_is_found_under_both_keys() -> None:
    before = Keyring((OLD,)).pseudonym("learner", 7)
    ring = Keyring((NEW, OLD))
    assert ring.pseudonym("learner", 7) == NEW.pseudonym("learner", 7)
    assert ring.every_pseudonym("learner", 7) == [NEW.pseudonym("learner", 7), before]


def test_keys_come_from_the_environment_newest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEYS_VARIABLE, raising=False)
    assert load_keyring_if_any() is None
    monkeypatch.setenv(KEYS_VARIABLE, f"2026:{'n' * 32}, 2025:{'o' * 40}")
    ring = load_keyring()
    assert [key.name for key in ring.keys] == ["2026", "2025"]
    assert ring.current.secret == b"n" * 32
    assert "nnn" not in repr(ring)


@pytest.mark.parametrize(
    ("value", "entry", "received"),
    [
        (f"2026:{'n' * 31}", 1, "something else"),
        (f"2026{'n' * 40}", 1, "something else"),
        (f"Q1:{'n' * 40}", 1, "something else"),
        (f"a:{'n' * 40},a:{'o' * 40}", 2, "a name that is there already"),
    ],
)
def test_a_key_that_does_not_fit_is_refused_without_showing_it(
    value: str, entry: int, received: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEYS_VARIABLE, value)
    with pytest.raises(UsageError) as fault:
        load_keyring()
    assert str(fault.value) == (
        "A key for pseudonyms does not fit.\n"
        f"  where:    the environment variable LEARNLOOP_PSEUDONYM_KEYS, entry {entry}\n"
        "  expected: name:secret; a name of its own of small letters and digits, and a secret of at"
        " least 32 characters\n"
        f"  received: {received}\n"
        '  next:     export LEARNLOOP_PSEUDONYM_KEYS="$(date +%Y):$(openssl rand -hex 32)"'
    )


def test_no_key_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEYS_VARIABLE, "")
    with pytest.raises(UsageError) as fault:
        load_keyring()
    assert str(fault.value) == (
        "There is no key to make pseudonyms with.\n"
        "  where:    the environment variable LEARNLOOP_PSEUDONYM_KEYS\n"
        "  expected: name:secret, the one in use first\n"
        "  received: nothing\n"
        '  next:     export LEARNLOOP_PSEUDONYM_KEYS="$(date +%Y):$(openssl rand -hex 32)"'
    )
