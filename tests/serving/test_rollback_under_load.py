"""Publishing, the canary and the rollback as callers meet them: the embedded server under load."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from learnloop.errors import LearnLoopError
from learnloop.settings import Settings
from serving.client import Canary, PredictionClient, Retries
from serving.configs import MODELS, ROLLOUT
from serving.embedded import EmbeddedServer, embedded_server
from serving.moves import Mover
from serving.publish import Publication

PATIENCE = 90.0
ONCE = Retries(attempts=1)
"""No second try: what the server drops is seen."""

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def saved_models(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Models that answer with their version's number."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("versions")
    for version in (1, 2, 3):
        module = tf.Module()
        module.number = tf.Variable(float(version))

        def answer(x: tf.Tensor, module: tf.Module = module) -> dict[str, tf.Tensor]:
            return {"version": x * 0.0 + module.number}

        signature = tf.function(
            answer, input_signature=[tf.TensorSpec([None], tf.float32, name="x")]
        ).get_concrete_function()
        tf.saved_model.save(module, str(folder / str(version)), signatures=signature)
    return {version: folder / str(version) for version in (1, 2, 3)}


WAYS = {"nothing": {}, "stable": {"label": "stable"}, "canary": {"label": "canary"}, "client": {}}
"""How callers ask: by no label, by one, or by that which the client chooses."""


@dataclass
class Callers:
    """Threads that ask all the time: what each way of asking was answered last, and how often."""

    plain: PredictionClient
    choosing: PredictionClient
    last: dict[str, float] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)
    faults: list[BaseException] = field(default_factory=list)
    ending: threading.Event = field(default_factory=threading.Event)

    def ask(self, way: str) -> None:
        client = self.choosing if way == "client" else self.plain
        while not self.ending.is_set():
            try:
                answer = client.predict("dense", rows=[{"x": 1.0}], **WAYS[way])
            except BaseException as fault:
                self.faults.append(fault)
                return
            self.last[way] = float(answer.scores[0])
            self.answers[way] += 1

    def wait(self, is_so: Callable[[dict[str, float]], bool]) -> float:
        """Wait until the last answers are as they shall be; give the seconds that it took."""
        began = time.monotonic()
        while time.monotonic() - began < PATIENCE:
            assert self.faults == [], self.faults[0]
            if is_so(dict(self.last)):
                return time.monotonic() - began
            time.sleep(0.01)
        raise AssertionError(f"after {PATIENCE} s callers get {self.last}")


@dataclass(frozen=True)
class Loaded:
    """A server with callers, and who moves its versions."""

    server: EmbeddedServer
    callers: Callers
    mover: Mover
    push: Callable[..., None]


@pytest.fixture
def loaded(settings: Settings, saved_models: dict[int, Path], tmp_path: Path) -> Iterator[Loaded]:
    mover = Mover(settings, "ada")

    def push(version: int, weight: float = 0.0) -> None:
        publication = Publication(saved_models[version], version, f"digest {version}", {})
        mover.push("dense", publication, weight=weight, why="a test")

    push(1)
    folder = settings.serving_folder
    with (
        embedded_server(folder / MODELS, tmp_path / "server.log") as server,
        PredictionClient(server.rest_url, retries=ONCE, timeout=60.0) as plain,
        PredictionClient(
            server.rest_url,
            retries=ONCE,
            canary=Canary.following(folder / ROLLOUT),
            timeout=60.0,
        ) as choosing,
    ):
        callers = Callers(plain, choosing)
        threads = [threading.Thread(target=callers.ask, args=(way,), daemon=True) for way in WAYS]
        for thread in threads:
            thread.start()
        yield Loaded(server, callers, mover, push)
        callers.ending.set()
        for thread in threads:
            thread.join(60)


def all_get(version: float) -> Callable[[dict[str, float]], bool]:
    return lambda last: len(last) == 4 and set(last.values()) == {version}


def test_a_rollback_under_load_drops_nobody(loaded: Loaded) -> None:
    """Asked by both labels, by none and through the client, without a single second try."""
    callers, mover = loaded.callers, loaded.mover
    callers.wait(all_get(1.0))
    loaded.push(2)
    callers.wait(all_get(2.0))
    mover.roll_back("dense", "complaints")
    callers.wait(all_get(1.0))
    loaded.push(3, weight=0.5)
    callers.wait(lambda last: last["canary"] == 3.0 and last["stable"] == 1.0)
    callers.wait(lambda last: last["client"] == 3.0)
    callers.wait(lambda last: last["client"] == 1.0)
    mover.stop("dense", 3, "it does harm", {})
    callers.wait(all_get(1.0))
    assert callers.faults == []
    assert min(callers.answers.values()) > 0


@pytest.mark.slow
def test_a_rollback_reaches_callers_in_ten_seconds(loaded: Loaded) -> None:
    callers, mover = loaded.callers, loaded.mover
    callers.wait(all_get(1.0))
    taken = []
    for _ in range(5):
        loaded.push(2)
        if mover.place.read().model("dense").stable != 2:
            mover.try_out("dense", 2, 1.0, "again")
            mover.promote("dense", "again")
        callers.wait(all_get(2.0))
        began = time.monotonic()
        mover.roll_back("dense", "complaints")
        callers.wait(all_get(1.0))
        taken.append(time.monotonic() - began)
    assert callers.faults == []
    assert max(taken) < 10.0, taken


def test_a_version_that_cannot_be_loaded_leaves_callers_with_the_one_before(
    loaded: Loaded, tmp_path: Path
) -> None:
    callers, mover = loaded.callers, loaded.mover
    callers.wait(all_get(1.0))
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "saved_model.pb").write_bytes(b"no model")
    mover.push("dense", Publication(broken, 2, "broken", {}), why="a test")
    before = callers.answers.total()
    callers.wait(lambda last: callers.answers.total() > before + 200)
    assert set(callers.last.values()) == {1.0}
    with pytest.raises(LearnLoopError):
        mover.promote("dense", "there is no canary")
    assert mover.roll_back("dense", "it does not load").stable == 1
    callers.wait(all_get(1.0))
