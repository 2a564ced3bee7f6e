"""Models that were trained with an erased person: marked, and trained again without."""

from __future__ import annotations

import json
import os
import shlex
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from components.champion import open_registry
from learnloop.artifacts import Model, RegisteredModel
from learnloop.component import load_object
from learnloop.errors import CorruptArtifact, LearnLoopError
from learnloop.ledger import ArtifactRecord, Ledger, RunRecord
from learnloop.ledger.erasing import Made
from learnloop.ledger.journal import JournalEntry
from messaging.broker import VARIABLE, broker_url
from messaging.messages import ERASURE, RetrainRequest
from messaging.publisher import Publisher
from privacy.artifacts import ArtifactPlaces
from privacy.receipts import Retraining
from serving.registry import ERASED_TAG


def mark_versions(
    places: ArtifactPlaces, marked: Iterable[Made], erasure: JournalEntry
) -> list[str]:
    """Note beside every registered version that it was trained with somebody who was erased.

    Args:
        places: Hold the documents of registrations.
        marked: What was made of the person's rows.
        erasure: The erasure, whose day is noted.

    Returns:
        The versions, as ``name version``.

    Raises:
        LearnLoopError: MLflow did not take the note.
    """
    registry, versions = open_registry(places.settings), []
    for one in marked:
        if one.artifact.type != RegisteredModel.reference() or one.location is None:
            continue
        try:
            document = RegisteredModel.open(places.store.fetch(places.uri(one))).load()
        except CorruptArtifact:
            continue
        name, version = document["name"], document["version"]
        told = f"{name} {version}"
        if told not in versions and registry.tag_version(
            name, version, ERASED_TAG, f"{erasure.at:%Y-%m-%d}"
        ):
            versions.append(told)
    return versions


def ask_for_retraining(
    ledger: Ledger, marked: Iterable[Made], erasure: JournalEntry
) -> list[Retraining]:
    """Ask for each pipeline that trained with the person to be run again, as it was run last.

    The message's id comes from the erasure and the models: however often this is done, the listener
    takes the request once.

    Args:
        ledger: Knows the runs.
        marked: What was made of the person's rows, the oldest first.
        erasure: The erasure.

    Returns:
        By pipeline, the request that was sent, or the command to type where no broker is named.

    Raises:
        LearnLoopError: The broker does not take a request.
    """
    trained: dict[str, list[tuple[RunRecord, str]]] = {}
    for one in marked:
        # What was only fetched, as the model in service, was made of nothing.
        if _is_model(one.artifact) and ledger.inputs(one.execution_id):
            run = ledger.run(one.run_id)
            trained.setdefault(run.pipeline, []).append((run, one.artifact.id))
    if not os.environ.get(VARIABLE):
        return [
            Retraining(name, command=_command(name, runs[-1][0].parameters))
            for name, runs in sorted(trained.items())
        ]
    asked = []
    with Publisher(broker_url()) as publisher:
        for name, runs in sorted(trained.items()):
            models = " ".join(sorted(model for _, model in runs))
            message_id = str(uuid.uuid5(uuid.UUID(erasure.id), f"{name} {models}"))
            request = RetrainRequest(
                message_id=message_id,
                pipeline=name,
                reason=ERASURE,
                requested_by=erasure.actor,
                requested_at=datetime.now(UTC),
                parameters=runs[-1][0].parameters,
                evidence={"note": "Models were trained with a person who was erased."},
            )
            publisher.send(request)
            asked.append(Retraining(name, message_id=message_id))
    return asked


def _is_model(artifact: ArtifactRecord) -> bool:
    try:
        kind = load_object(artifact.type)
    except LearnLoopError:
        return False  # a type that is no longer in the code
    return isinstance(kind, type) and issubclass(kind, Model)


def _command(pipeline: str, parameters: Mapping[str, Any]) -> str:
    words = ["learnloop run", pipeline]
    for name, value in parameters.items():
        if value not in ("", None):
            text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
            words.append(f"--set {shlex.quote(f'{name}={text}')}")
    return " ".join(words)
