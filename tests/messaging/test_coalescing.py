"""Bursts: a partition of the requests that depends on nothing but the requests."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from messaging.coalescing import coalesce, deduplicate, key_of
from messaging.messages import RetrainRequest
from tests.messaging.requests import a_request, estimate, message_id, requests

many = st.lists(requests, max_size=60)


@given(many)
def test_deduplication_keeps_each_id_once_the_first(given_: list[RetrainRequest]) -> None:
    kept = deduplicate(given_)
    names = [one.message_id for one in kept]
    assert sorted(names) == sorted({one.message_id for one in given_})
    for one in kept:
        assert one is next(other for other in given_ if other.message_id == one.message_id)
    assert deduplicate(kept) == kept
    assert deduplicate([*kept, *given_]) == kept


@given(many)
def test_every_request_is_in_one_burst_of_its_kind(given_: list[RetrainRequest]) -> None:
    kept = deduplicate(given_)
    bursts = coalesce(kept)
    names = [one.message_id for burst in bursts for one in burst.requests]
    assert sorted(names) == sorted(one.message_id for one in kept)
    assert len(bursts) == len({key_of(one) for one in kept})
    for burst in bursts:
        assert {key_of(one) for one in burst.requests} == {key_of(burst.leader)}


@given(many, st.randoms(use_true_random=False))
def test_bursts_heed_no_order(given_: list[RetrainRequest], chance: random.Random) -> None:
    kept = list(deduplicate(given_))
    bursts = coalesce(kept)
    chance.shuffle(kept)
    assert coalesce(kept) == bursts


@given(many)
def test_the_leader_is_the_oldest_a_person_who_overrides_before_all(
    given_: list[RetrainRequest],
) -> None:
    for burst in coalesce(deduplicate(given_)):
        overriding = [one for one in burst.requests if one.override]
        ranked = overriding or burst.requests
        assert burst.leader.requested_at == min(one.requested_at for one in ranked)
        assert burst.overriding == (burst.leader if overriding else None)


def test_the_newer_word_on_one_thing_counts() -> None:
    (burst,) = coalesce(
        [
            a_request(1, minutes=5, evidence={"new_labelled_rows": 300}),
            a_request(2, minutes=1, evidence={"new_labelled_rows": 100, "live": estimate(0.7)}),
        ]
    )
    assert burst.leader.message_id == message_id(2)
    assert burst.evidence == {"new_labelled_rows": 300, "live": estimate(0.7)}
