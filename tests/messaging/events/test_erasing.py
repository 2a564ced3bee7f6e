"""Whoever is erased is in no file any more, whoever is killed, and nobody else loses a row."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from learnloop.erasing import UNFINISHED
from learnloop.errors import LearnLoopError, UsageError
from messaging.events import parts as parts_module
from messaging.events.collector import _by_kind_and_hour
from messaging.events.erasing import erase_events, expire_events
from messaging.events.master_keys import VARIABLE
from messaging.events.parsing import parse_events
from messaging.events.parts import PartitionParts, Progress, claim_partition
from messaging.events.schema import KINDS
from tests.dying import die_after
from tests.feature_store.online.test_stores import forked
from tests.messaging.events.collecting import collected, sequences
from tests.messaging.events.keys import MASTER, holding
from tests.messaging.events.samples import event

THEM, OTHER = "learner-4711-of-the-north", "learner-4712-of-the-south"
HOUR = datetime(2026, 3, 2, 9, tzinfo=UTC)
LEARNERS = [THEM, OTHER, "7"]


def collect(folder: Path, events: list[dict[str, Any]], partition: int = 0) -> None:
    """Collect events as the collector does, five a write."""
    for first in range(0, len(events), 5):
        some = [json.dumps(one).encode() for one in events[first : first + 5]]
        table = parse_events(some).events
        table = table.append_column("recorded_at", table["at"])
        poison = pa.table(
            {
                "offset": pa.array([first], pa.int64()),
                "recorded_at": table["at"][:1],
                "reason": ["It is not JSON in UTF-8."],
                "value": pa.array([b"{" + some[0]], pa.binary()),
            }
        )
        parts = {**_by_kind_and_hour(table), "_quarantine": poison}
        with claim_partition(folder, "t", partition) as claim:
            assert claim is not None
            claim.write(parts, Progress(first + len(some), {"platform": first + len(some)}))


def told(*learners: str, kind: str = "attempt") -> list[dict[str, Any]]:
    return [event(number, kind, learner=one) for number, one in enumerate(learners, 1)]


def files(folder: Path) -> dict[str, bytes]:
    """All that is on disk but the locks."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


EVENTS = st.lists(
    st.builds(
        lambda learner, kind, minute: {
            "learner": learner,
            "kind": kind,
            "at": (HOUR + timedelta(minutes=minute)).isoformat(),
        },
        st.sampled_from(LEARNERS),
        st.sampled_from(list(KINDS)),
        st.integers(-90, 150),
    ),
    max_size=14,
)


def numbered(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event(number, **one) for number, one in enumerate(events, 1)]


def kept(folder: Path) -> list[tuple[int, str]]:
    rows = [row for kind in KINDS for row in collected(folder, kind).to_pylist()]
    return sorted((row["sequence"], row["learner"]) for row in rows)


@settings(max_examples=25)
@given(EVENTS, st.sampled_from(LEARNERS))
def test_the_events_of_one_go(events: list[dict[str, Any]], learner: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder, made = Path(place), numbered(events)
        collect(folder, made)
        first_of_write = [one["learner"] for one in made[::5]]
        gone = [one for one in made if one["learner"] == learner]
        erased = erase_events(folder, learner)
        assert erased == len(gone) + first_of_write.count(learner)
        assert kept(folder) == [(e["sequence"], e["learner"]) for e in made if e not in gone]
        # A number is in a quarantined message for other reasons too, and goes with it.
        assert learner == "7" or holding(folder, learner.encode()) == []
        after = files(folder)
        assert erase_events(folder, learner) == 0
        assert files(folder) == after, "nothing is written where there is nothing to remove"
        with claim_partition(folder, "t", 0) as claim:
            assert claim is not None
            assert claim.progress.next_offset == (len(made) or None), "nothing is collected again"


@settings(max_examples=25)
@given(EVENTS, st.sets(st.sampled_from([THEM, OTHER])), st.integers(-100, 220))
def test_what_is_old_goes_except_what_is_held(
    events: list[dict[str, Any]], held: set[str], minute: int
) -> None:
    before = HOUR + timedelta(minutes=minute)

    def stays(one: dict[str, Any]) -> bool:
        return datetime.fromisoformat(one["at"]) >= before or one["learner"] in held

    with tempfile.TemporaryDirectory() as place:
        folder, made = Path(place), numbered(events)
        collect(folder, made)
        poison = [stays(one) for one in made[::5]]
        expired = expire_events(folder, before, held)
        assert expired == sum(not stays(one) for one in made) + poison.count(False)
        assert kept(folder) == [(e["sequence"], e["learner"]) for e in made if stays(e)]
        assert len(list((folder / "_quarantine").glob("*.parquet"))) == poison.count(True)
        for hour in folder.glob("*/hour=*"):
            began = datetime.fromisoformat(hour.name[5:]).replace(tzinfo=UTC)
            is_over = began + timedelta(hours=1) <= before
            assert not is_over or any(parquet.read_metadata(p).num_rows for p in hour.iterdir())
        collect(folder, [event(99, at=HOUR.isoformat())])  # late, of an hour that may be gone
        assert 99 in sequences(folder)


QUARANTINED = {
    "the id within": f'{{"version": 1, "learner": "{THEM}"'.encode(),
    "the id in another field": f'{{"student": "{THEM}"}}'.encode(),
    "a number": b'{"learner": 4711}',
    "escaped": json.dumps({"learner": "Zoë"}).encode(),
    "not escaped": json.dumps({"learner": "Zoë"}, ensure_ascii=False).encode(),
    "sealed": json.dumps({"version": 1, "key": MASTER.reference(THEM), "sealed": "AA=="}).encode(),
    "of another": f'{{"learner": "{OTHER}"'.encode(),
    "a longer number": b'{"learner": 47110}',
}
NAMED = {
    THEM: {"the id within", "the id in another field", "sealed"},
    "4711": {"the id within", "the id in another field", "a number"},
    "Zoë": {"escaped", "not escaped"},
    "nobody": set[str](),
}


@pytest.mark.parametrize("learner", NAMED)
def test_quarantined_messages_that_name_somebody(
    tmp_path: Path, learner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, MASTER.secret.hex())
    rows = {
        "offset": list(range(len(QUARANTINED))),
        "recorded_at": pa.array([HOUR] * len(QUARANTINED)),
        "reason": list(QUARANTINED),
        "value": pa.array(list(QUARANTINED.values()), pa.binary()),
    }
    with claim_partition(tmp_path, "t", 0) as claim:
        assert claim is not None
        claim.write({"_quarantine": pa.table(rows)}, Progress(8))
    assert erase_events(tmp_path, learner) == len(NAMED[learner])
    left = collected(tmp_path, "_quarantine")["reason"].to_pylist()
    assert left == [name for name in QUARANTINED if name not in NAMED[learner]]
    held = {learner} & {THEM, "Zoë"}
    expire_events(tmp_path, HOUR + timedelta(days=1), held)
    assert list((tmp_path / "_quarantine").iterdir()) == []


def test_what_a_killed_one_left_of_others_is_removed(tmp_path: Path) -> None:
    collect(tmp_path, told(OTHER))
    (part,) = tmp_path.glob("attempt/*/*.parquet")
    part.with_name(UNFINISHED.format(part.name)).write_text(THEM)
    erase_events(tmp_path, THEM)
    assert holding(tmp_path, THEM.encode()) == []


@pytest.mark.parametrize("remove", ["erase", "expire"])
def test_killed_before_any_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remove: str
) -> None:
    """At each kill a reader sees what was or what shall be, and calling it again finishes."""
    learners = [THEM, OTHER] * 6
    collect(tmp_path, told(*learners))
    act: Callable[[], int] = (
        (lambda: erase_events(tmp_path, THEM))
        if remove == "erase"
        else (lambda: expire_events(tmp_path, HOUR + timedelta(days=1), {OTHER}))
    )
    replace, unlink = Path.replace, Path.unlink
    deaths = 0
    while True:
        with forked(partial(die_after, monkeypatch, ("replace", "unlink"), deaths, act)) as process:
            _, status = os.waitpid(process, 0)
        others = [one for _, one in kept(tmp_path) if one == OTHER]
        assert len(others) == 6
        if not os.WIFSIGNALED(status):
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
        deaths += 1
    assert (Path.replace, Path.unlink) == (replace, unlink)
    assert deaths >= 3
    assert kept(tmp_path) == [(number, OTHER) for number in range(2, 13, 2)]
    assert holding(tmp_path, THEM.encode()) == []
    assert not list(tmp_path.rglob("*.erasing"))


@pytest.mark.parametrize("cut", ["_write_durably", "_replace_progress", "_move"])
def test_what_a_killed_collector_left_is_erased_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    """Staged parts, decided about or not, torn or whole."""

    def die(*given: Any) -> None:
        if cut == "_write_durably":
            Path(given[0]).write_bytes(b"PAR1 torn " + THEM.encode())
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(parts_module if cut == "_write_durably" else PartitionParts, cut, die)
        patch.setattr(PartitionParts, "_recover", lambda self: Progress())
        with pytest.raises(KeyboardInterrupt):
            collect(tmp_path, told(THEM, OTHER))
    assert holding(tmp_path, THEM.encode()) != []
    erased = erase_events(tmp_path, THEM)
    assert holding(tmp_path, THEM.encode()) == []
    assert (erased, kept(tmp_path)) == ((2, [(2, OTHER)]) if cut == "_move" else (0, []))


def test_a_write_that_has_read_the_key_is_waited_for(tmp_path: Path) -> None:
    collect(tmp_path, told(OTHER))
    erased: list[int] = []
    erasing = threading.Thread(target=lambda: erased.append(erase_events(tmp_path, THEM)))
    with claim_partition(tmp_path, "t", 0) as claim:
        assert claim is not None
        with claim.writing():
            erasing.start()
            erasing.join(0.3)
            assert erased == []
            table = parse_events([json.dumps(event(2, learner=THEM)).encode()]).events
            table = table.append_column("recorded_at", table["at"])
            claim.write(_by_kind_and_hour(table), Progress(2))
        erasing.join(60)
    assert erased == [1]
    assert kept(tmp_path) == [(1, OTHER)]


def test_one_removes_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collect(tmp_path, told(THEM))
    monkeypatch.setattr("learnloop.erasing.PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(
        "messaging.events.erasing.settle_partitions", lambda folder: erase_events(folder, OTHER)
    )
    with pytest.raises(UsageError) as error:
        erase_events(tmp_path, THEM)
    assert str(error.value) == (
        f"Somebody else is erasing.\n  where:    {tmp_path}\n  next:     do it again later"
    )


def test_a_collector_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collect(tmp_path, told(THEM))
    monkeypatch.setattr(parts_module, "LOCK_SECONDS", 0.2)
    with claim_partition(tmp_path, "t", 0) as claim:
        assert claim is not None
        with claim.writing(), pytest.raises(LearnLoopError) as error:
            erase_events(tmp_path, THEM)
    assert str(error.value) == (
        "The parts of a partition have been held for 0 s.\n"
        f"  where:    {tmp_path / '_writing' / 't-0'}\n"
        "  next:     see whether a collector hangs, then do the same again"
    )


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert erase_events(tmp_path / "events", THEM) == 0
    assert expire_events(tmp_path / "events", HOUR) == 0
    assert list(tmp_path.iterdir()) == []


def test_questions_that_make_no_sense(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        erase_events(tmp_path, "")
    assert error.value.what == "A learner's id is empty."
    with pytest.raises(UsageError) as error:
        expire_events(tmp_path, datetime(2026, 3, 2))
    assert str(error.value) == (
        "A moment without a time zone is not one moment.\n"
        "  where:    before\n"
        "  expected: datetime(…, tzinfo=UTC)\n"
        "  received: 2026-03-02T00:00:00"
    )
