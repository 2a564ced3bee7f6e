"""The document of what is rolled out: its moves, and that servers can follow every one of them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learnloop.errors import LearnLoopError, UsageError
from serving.retention import GRACE, removable
from serving.state import ModelRollout, Rollout, Told

POLL = 60.0


def rolled_out(*versions: int) -> ModelRollout:
    """A model whose versions came one after the other, all told and read."""
    model = ModelRollout(stable=versions[0], published={versions[0]: "2026-01-01T00:00:00+00:00"})
    for version in versions[1:]:
        model = model.push(version)
    return settle(model)


def settle(model: ModelRollout) -> ModelRollout:
    while not model.is_settled:
        model = model.tell(0.0)
    return model


def test_the_first_version_is_told_at_once_with_both_labels() -> None:
    model = ModelRollout(stable=3).tell(POLL)
    assert model.told == Told((3,), {"stable": 3, "canary": 3})
    assert model.is_settled


def test_a_later_version_is_loaded_before_it_is_pointed_at() -> None:
    model = rolled_out(3).push(5).tell(0.0)
    assert model.told == Told((3, 5), {"stable": 3, "canary": 3})
    assert not model.is_settled
    model = model.tell(0.0)
    assert model.told == Told((3, 5), {"stable": 5, "canary": 5}), "3 stays for a rollback"
    assert model.is_settled


def test_a_label_waits_until_servers_have_read_what_they_were_told() -> None:
    model = rolled_out(3).push(5).tell(POLL)
    assert model.tell(POLL).told.labels["stable"] == 3
    long_ago = (datetime.now(UTC) - timedelta(seconds=POLL + 1)).isoformat()
    read = dataclasses.replace(model, told_at=long_ago)
    assert read.tell(POLL).told.labels["stable"] == 5
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert dataclasses.replace(model, told_at=tomorrow).tell(POLL).told.labels["stable"] == 5


def test_rolling_back_is_one_step() -> None:
    model = rolled_out(3, 5).roll_back("too slow")
    assert model.stable == 3
    assert model.withdrawn == {5: "too slow"}
    assert model.tell(0.0).told == Told((3,), {"stable": 3, "canary": 3})


def test_rolling_back_goes_on_to_the_versions_before() -> None:
    model = rolled_out(1, 2, 3).roll_back("a").roll_back("b")
    assert (model.stable, model.earlier, model.withdrawn) == (1, (), {3: "a", 2: "b"})
    with pytest.raises(UsageError) as caught:
        model.roll_back("c")
    assert str(caught.value) == (
        "There is no version before 1 to go back to.\n"
        "  expected: an earlier stable version\n"
        "  received: the first\n"
        "  next:     learnloop serving rollback NAME --to VERSION --reason WHY"
    )


def test_rolling_back_ends_the_canary_first() -> None:
    model = rolled_out(1, 2).push(3, 0.2)
    assert (model.canary, model.weight) == (3, 0.2)
    ended = model.roll_back("errors")
    assert (ended.stable, ended.canary, ended.weight) == (2, None, 0.0)
    assert ended.withdrawn == {3: "errors"}
    both = model.roll_back("all is bad", to=1)
    assert (both.stable, both.canary) == (1, None)
    assert both.withdrawn == {3: "all is bad", 2: "all is bad"}
    stays = model.roll_back("only the canary", to=2)
    assert (stays.stable, stays.withdrawn) == (2, {3: "only the canary"})


def test_a_withdrawn_version_stays_out_until_a_person_tries_it_again() -> None:
    model = rolled_out(1, 2).roll_back("wrong")
    assert model.push(2).stable == 1
    assert model.push(2, 0.5).canary is None
    assert model.try_out(2, 0.5).withdrawn == {}
    assert model.push(3).stable == 3


def test_an_older_version_does_not_come_back_by_being_published_again() -> None:
    model = rolled_out(1, 2)
    assert model.push(1).stable == 2
    assert settle(model.push(1)).told == model.told


def test_promoting_keeps_the_way_back() -> None:
    model = rolled_out(1, 2).push(3, 0.1).promote()
    assert (model.stable, model.canary, model.earlier) == (3, None, (1, 2))
    assert settle(model).told.versions == (2, 3)
    with pytest.raises(UsageError) as caught:
        model.promote()
    assert str(caught.value) == (
        "There is no canary to promote.\n"
        "  expected: a version on trial\n"
        "  received: version 3 in service, alone\n"
        "  next:     learnloop serving canary NAME VERSION --weight 0.1"
    )
    with pytest.raises(UsageError, match="Version 3 is in service already."):
        model.try_out(3, 0.1)


def test_a_version_loaded_for_a_rollback_is_never_the_highest() -> None:
    """A caller who names no version gets the highest that is loaded."""
    model = settle(rolled_out(1, 5).roll_back("to a lower one", to=1).try_out(3, 0.5).promote())
    assert model.stable == 3
    back = settle(dataclasses.replace(model, earlier=(5,)))
    assert back.told.versions == (3,)


def test_unknown_names_and_versions_are_answered_with_what_there_is() -> None:
    rollout = Rollout({"dense": rolled_out(1, 2), "lstm": rolled_out(7)})
    with pytest.raises(UsageError) as caught:
        rollout.model("dens")
    assert str(caught.value) == (
        "There is no published model 'dens'.\n"
        "  expected: did you mean 'dense'?\n"
        "  received: 'dens'\n"
        "  next:     learnloop serving status"
    )
    with pytest.raises(UsageError) as caught:
        rollout.published_version("dense", 9)
    assert str(caught.value) == (
        "Version 9 of 'dense' is not published.\n"
        "  expected: one of 1, 2\n"
        "  received: 9\n"
        "  next:     learnloop serving status dense"
    )


@pytest.mark.parametrize(
    "text", [b"{", b"[]", b'{"format": 2}', b'{"format": 1, "models": {"m": {}}, "unrecorded": []}']
)
def test_a_document_that_is_none_is_refused(text: bytes) -> None:
    with pytest.raises(LearnLoopError) as caught:
        Rollout.from_json(text, "models/rollout.json")
    assert caught.value.what == "The document of what is rolled out cannot be read."
    assert caught.value.where == "models/rollout.json"


@dataclass
class TensorFlowServing:
    """How ``ServerCore::ReloadConfig`` treats a configuration, label by label and in its order.

    A whole configuration is refused if a known label moves to a version that is not available.
    Loading takes some polls; a version that is no longer wanted goes once another is available.
    """

    loading_polls: int
    wanted: frozenset[int] = frozenset()
    loaded_for: dict[int, int] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)

    @property
    def available(self) -> set[int]:
        return {v for v, polls in self.loaded_for.items() if polls >= self.loading_polls}

    def poll(self, told: Told) -> bool:
        """Read what is told; whether it was accepted."""
        moved = {
            version
            for label, version in told.labels.items()
            if self.labels.get(label, version) != version
        }
        is_accepted = moved <= self.available
        if is_accepted:
            self.labels = dict(told.labels)
            self.wanted = frozenset(told.versions)
        for version in self.wanted:
            self.loaded_for[version] = self.loaded_for.get(version, -1) + 1
        if self.available & self.wanted:
            self.loaded_for = {v: n for v, n in self.loaded_for.items() if v in self.wanted}
        return is_accepted


MOVES = st.one_of(
    st.tuples(st.just("push"), st.integers(1, 9), st.sampled_from([0.0, 0.1])),
    st.tuples(st.just("try_out"), st.integers(1, 9), st.just(0.3)),
    st.just(("promote",)),
    st.just(("roll_back", "why")),
    st.tuples(st.just("roll_back"), st.just("why"), st.integers(1, 9)),
)


def apply(model: ModelRollout, move: tuple[object, ...]) -> ModelRollout:
    name, *arguments = move
    target = arguments[-1] if name == "roll_back" and len(arguments) == 2 else None
    if name == "try_out":
        target = arguments[0]
    if target is not None and target not in model.published:
        return model
    try:
        return getattr(model, name)(*arguments)
    except UsageError:
        return model


@given(
    st.lists(st.tuples(MOVES, st.booleans(), st.integers(0, 3)), max_size=12),
    st.integers(0, 3),
)
@settings(max_examples=400, deadline=None)
def test_a_server_follows_whatever_is_moved_and_drops_nobody(
    moves: list[tuple[tuple[object, ...], bool, int]], loading_polls: int
) -> None:
    """Callers who ask for a label are answered at every moment, and in the end by the right one.

    Between two moves a server polls some times or not at all; what is told counts as read once it
    was accepted, so ``serving_poll`` covers the loading of the version that a label moved to last.
    """
    model = ModelRollout(stable=1, published={1: "2026-01-01T00:00:00+00:00"}).tell(0.0)
    server = TensorFlowServing(loading_polls)
    for _ in range(loading_polls + 1):
        server.poll(model.told)
    read = True

    def follow(polls: int) -> None:
        nonlocal read
        for _ in range(polls):
            read = server.poll(model.told) or read
            assert {*server.labels.values()} <= server.available, "a caller was dropped"

    for move, has_patience, polls in moves:
        before = model.told
        model = apply(model, move).tell(0.0 if read else POLL)
        read = read and model.told == before
        follow(polls)
        if has_patience and read and not model.is_settled:
            model = model.tell(0.0)
            read = False
        for label, version in model.told.labels.items():
            assert version in model.told.versions, label
        assert max(model.wanted.versions) in {model.stable, model.canary}
        assert Rollout.from_json(Rollout({"m": model}).to_json().encode(), "") == Rollout(
            {"m": model}
        )
    for _ in range(3):
        follow(loading_polls + 2)
        model = model.tell(0.0)
    follow(loading_polls + 2)
    assert model.is_settled
    assert server.labels == dict(model.wanted.labels)
    assert server.available == {*model.wanted.versions}


@given(st.lists(MOVES, max_size=15), st.integers(1, 4))
@settings(max_examples=200, deadline=None)
def test_retention_keeps_the_last_and_whatever_servers_may_use(
    moves: list[tuple[object, ...]], keep: int
) -> None:
    model = ModelRollout(stable=1, published={1: "2026-01-01T00:00:00+00:00"}).tell(0.0)
    for move in moves:
        model = apply(model, move).tell(0.0)
    assert removable(model, keep, datetime.now(UTC)) in ([], [1]), "the rest is too young"
    later = datetime.now(UTC) + GRACE + timedelta(seconds=1)
    going = removable(model, keep, later)
    rest = model.published.keys() - {*going}
    assert {*sorted(model.published)[-keep:]} <= rest
    assert {*model.told.versions, *model.wanted.versions} & model.published.keys() <= rest
    assert len(rest) <= keep + 4
