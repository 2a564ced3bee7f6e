"""The pause between attempts, the canary's share, pseudonyms and addresses: pure, by chance."""

from __future__ import annotations

import doctest
import json
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from feature_store.pseudonyms import KEYS_VARIABLE, Keyring, PseudonymKey
from learnloop.errors import UsageError
from serving.client import canary, endpoint, retries, subject
from serving.client.canary import CANARY, STABLE, Canary, place_of
from serving.client.endpoint import Endpoint
from serving.client.retries import Retries
from serving.client.subject import is_pseudonym, pseudonym
from serving.state import ModelRollout, Rollout

RING = Keyring((PseudonymKey("2026", b"k" * 32),))
subjects = st.text(min_size=1)


@pytest.mark.parametrize("module", [canary, endpoint, retries, subject])
def test_the_examples_in_the_docstrings(module: object) -> None:
    found = doctest.testmod(module)  # type: ignore[arg-type]
    assert found.attempted
    assert not found.failed


@given(
    failed=st.integers(1, 10_000),
    first=st.floats(1e-3, 10),
    most=st.floats(1e-3, 100),
    asked=st.none() | st.floats(-5, 100),
    drawn=st.floats(0, 1, exclude_max=True),
)
def test_a_pause_is_within_its_bound(
    failed: int, first: float, most: float, asked: float | None, drawn: float
) -> None:
    policy = Retries(first_seconds=first, most_seconds=most)
    least = max(asked or 0.0, 0.0)
    pause = policy.pause(failed, asked, lambda: drawn)
    assert least <= pause <= least + min(most, first * 2.0 ** min(failed - 1, 60))
    assert policy.bound(failed) <= policy.bound(failed + 1) <= most


def test_pauses_are_spread_over_the_whole_bound() -> None:
    """Full jitter: callers of one server that comes back do not return together."""
    draws = iter([0.0, 0.5, 0.999])
    policy = Retries(first_seconds=0.1, most_seconds=1.0)
    assert [policy.pause(3, None, lambda: next(draws)) for _ in range(3)] == pytest.approx(
        [0.0, 0.2, 0.3996]
    )


@given(subjects, subjects, st.floats(0, 1), st.floats(0, 1))
def test_a_subject_stays_where_it_is(model: str, who: str, one: float, other: float) -> None:
    smaller, larger = sorted([one, other])
    at_smaller = Canary.fixed(smaller).choose(model, who)
    assert at_smaller == Canary.fixed(smaller).choose(model, who)
    if at_smaller == CANARY:
        assert Canary.fixed(larger).choose(model, who) == CANARY, "a rising weight moves none back"
    assert Canary.fixed(0.0).choose(model, who) == STABLE
    assert Canary.fixed(1.0).choose(model, who) == CANARY
    assert 0 <= place_of(model, who) < 1


@settings(max_examples=20)
@given(weight=st.floats(0, 1), salt=st.integers())
def test_the_share_is_the_weight(weight: float, salt: int) -> None:
    """Of 4,000 subjects; six standard deviations are once in a billion."""
    asked = [pseudonym(f"{salt}-{number}", RING) for number in range(4_000)]
    chosen = sum(Canary.fixed(weight).choose("outcome", who) == CANARY for who in asked)
    assert abs(chosen / 4_000 - weight) <= 6 * (weight * (1 - weight) / 4_000) ** 0.5 + 1e-9


def test_models_try_their_canaries_on_different_learners() -> None:
    half = Canary.fixed(0.5)
    asked = [str(number) for number in range(2_000)]
    same = sum(half.choose("one", who) == half.choose("other", who) for who in asked)
    assert 800 < same < 1_200


def test_without_a_subject_chance_decides() -> None:
    draws = iter([0.29, 0.31])
    canary_of = Canary(lambda model: 0.3, draw=lambda: next(draws))
    assert [canary_of.choose("m", ""), canary_of.choose("m", "")] == [CANARY, STABLE]


def test_the_weight_is_read_from_the_document_and_again_when_it_is_old(tmp_path: Path) -> None:
    document = tmp_path / "rollout.json"
    now = 0.0
    following = Canary.following(document)
    following._clock = lambda: now
    chosen = following.choose("m", "ada")
    assert chosen == STABLE, "no document, no canary"

    def write(canary_version: int | None, weight: float) -> None:
        rollout = Rollout({"m": ModelRollout(1, canary_version, weight)})
        document.write_text(rollout.to_json())

    write(2, 1.0)
    assert following.choose("m", "ada") == STABLE, "not yet read again"
    now = 1.0
    assert following.choose("m", "ada") == CANARY
    assert following.choose("another", "ada") == STABLE
    document.write_text(json.dumps({"format": 99}))
    now = 2.0
    assert following.choose("m", "ada") == CANARY, "what cannot be read changes nothing"
    write(None, 1.0)
    now = 3.0
    assert following.choose("m", "ada") == STABLE, "a weight without a canary is nobody's"


def test_pseudonyms_are_those_of_the_feature_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEYS_VARIABLE, f"2026:{'k' * 32}")
    assert pseudonym("ada") == RING.pseudonym("learner", "ada")
    assert is_pseudonym(pseudonym("ada"))
    for raw in (
        "28400",
        "ada@school.example",
        "2026.28400",
        f"{pseudonym('ada')},{pseudonym('bob')}",
    ):
        assert not is_pseudonym(raw)
    monkeypatch.delenv(KEYS_VARIABLE)
    with pytest.raises(UsageError, match="There is no key to make pseudonyms with."):
        pseudonym("ada")


@pytest.mark.parametrize(
    ("url", "protocol", "target", "is_encrypted"),
    [
        ("http://127.0.0.1:8501", "rest", "127.0.0.1:8501", False),
        ("https://models.example", "rest", "models.example:443", True),
        ("grpc://[::1]:8500/", "grpc", "[::1]:8500", False),
        ("grpcs://models.example:8500", "grpc", "models.example:8500", True),
    ],
)
def test_addresses(url: str, protocol: str, target: str, is_encrypted: bool) -> None:
    parsed = Endpoint.parse(url)
    assert (parsed.protocol, parsed.target, parsed.is_encrypted) == (protocol, target, is_encrypted)


@pytest.mark.parametrize(
    ("url", "received"),
    [
        ("127.0.0.1:8501", "'127.0.0.1:8501'"),
        ("http://models.example", "'http://models.example'"),
        ("ftp://models.example:1", "'ftp://models.example:1'"),
        ("http://h:99999999", "'http://h:99999999'"),
        ("http://ada:secret@h:1", "a URL with a password or a query in it"),
    ],
)
def test_what_is_no_address(url: str, received: str) -> None:
    with pytest.raises(UsageError) as caught:
        Endpoint.parse(url)
    assert str(caught.value) == (
        "This is not the address of a server.\n"
        "  where:    the client's URL\n"
        "  expected: http://, https://, grpc:// or grpcs://host:port\n"
        f"  received: {received}"
    )


def test_a_token_is_not_sent_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(endpoint.TOKEN_VARIABLE, "hunter2")
    for url in ("http://127.0.0.1:1", "grpc://localhost:1", "https://models.example"):
        assert Endpoint.parse(url).authorization() == {"authorization": "Bearer hunter2"}
    with pytest.raises(UsageError) as caught:
        Endpoint.parse("http://models.example:8501").authorization()
    assert str(caught.value) == (
        "A bearer token is not sent in the clear.\n"
        "  where:    http://models.example:8501\n"
        "  expected: https:// or grpcs://\n"
        "  received: a token in LEARNLOOP_SERVING_TOKEN and a connection without TLS"
    )
    monkeypatch.delenv(endpoint.TOKEN_VARIABLE)
    assert Endpoint.parse("http://models.example:8501").authorization() == {}
