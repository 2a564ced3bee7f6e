"""The live platform, as the loop sees it: learners practise, and before some answers it asks.

A question is asked before its answer is told, as in life. Nobody's id leaves the platform with a
question: a pseudonym does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from messaging.events.producer import EventProducer
from pipelines.knowledge_tracing.pipeline import NAME
from serving.client import PredictionClient, pseudonym

SOURCE = "loop"
FIRST_ASKED, ASKED_EVERY = 5, 12
"""Attempts of a learner before the first question, and from one question to the next."""

Attempt = Mapping[str, Any]


def read_learners(folder: Path, term: str) -> list[list[Attempt]]:
    """Read a simulated term.

    Args:
        folder: As the simulator wrote it.
        term: Tells its learners from those of another term.

    Returns:
        The attempts of each learner, in the order of time.
    """
    import pyarrow.dataset as dataset

    order = [("learner", "ascending"), ("event_time", "ascending"), ("attempt_id", "ascending")]
    rows = dataset.dataset(folder / "attempts").to_table().sort_by(order)
    learners: dict[int, list[Attempt]] = {}
    for row in rows.select(["learner", "skill", "item", "correct"]).to_pylist():
        attempt = {
            "learner": f"{term}-{row['learner']}",
            "skill": str(row["skill"]),
            "item": str(row["item"]),
            "correct": bool(row["correct"]),
        }
        learners.setdefault(row["learner"], []).append(attempt)
    return list(learners.values())


@dataclass
class Platform:
    """Tells what learners do, and asks the served model.

    Args:
        producer: Takes the events.
        client: Asks.
        told: Events told so far.
        asked: Questions asked so far.
    """

    producer: EventProducer
    client: PredictionClient
    told: int = 0
    asked: int = 0

    def practise(self, learners: Sequence[Sequence[Attempt]]) -> None:
        """Let learners work through their attempts, one learner after the other.

        Args:
            learners: The attempts of each.
        """
        for attempts in learners:
            for place, attempt in enumerate(attempts):
                if place >= FIRST_ASKED and (place - FIRST_ASKED) % ASKED_EVERY == 0:
                    self.ask(attempts[:place], attempt)
                self._tell(attempt)
        self.producer.flush()

    def ask(self, history: Sequence[Attempt], attempt: Attempt) -> int | None:
        """Ask how an attempt will go.

        Args:
            history: The learner's attempts before it.
            attempt: Of which the answer is not looked at.

        Returns:
            The version that answered.
        """
        row = {
            "skills": [one["skill"] for one in history],
            "responses": [int(one["correct"]) for one in history],
            "next_skill": attempt["skill"],
        }
        self.asked += 1
        subject = pseudonym(attempt["learner"])
        return self.client.predict(NAME, rows=[row], subject=subject).version

    def _tell(self, attempt: Attempt) -> None:
        self.told += 1
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        head = {"version": 1, "kind": "attempt", "source": SOURCE, "sequence": self.told, "at": now}
        self.producer.send([{**head, **attempt}])
