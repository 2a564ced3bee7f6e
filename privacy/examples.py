"""Rows of real learners beside a model: warm-up requests, and the input example in the registry.

They bear no identifier and are the first rows of the last split, which tells whose they are so long
as the examples are there. Where the person is among them, the rows of others take their place.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

from components.champion import open_registry
from components.push import WARMUP_ROWS
from components.register import EXAMPLE_ROWS
from components.served_rows import as_example, as_served
from feature_store.erasure import Erased
from learnloop.artifacts import Examples, Model, PublishedModel, RegisteredModel
from learnloop.ledger import Ledger
from learnloop.ledger.erasing import Made
from learnloop.settings import Settings
from learnloop.store import Store
from privacy.tables import which
from serving.places import open_place
from serving.warmup import WARMUP_FILE, write_warmup_requests

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Beside:
    """What a version was published or registered with.

    Args:
        name: The model's name.
        version: Its version.
        model: The model.
        examples: The rows of which the first are beside it.
    """

    name: str
    version: str
    model: Model
    examples: Examples


def replace_examples(
    settings: Settings,
    ledger: Ledger,
    store: Store,
    made: Iterable[Made],
    columns: Collection[str],
    learner: str,
) -> list[Erased]:
    """Put rows of others in the place of a person's, beside every version that they are beside.

    Args:
        settings: Where models are published and registered.
        ledger: Tells of what a version was made.
        store: Holds the examples still.
        made: What was made of the person's rows.
        columns: The columns that hold a learner's identifier.
        learner: The person.

    Returns:
        What was replaced, and where it could not be.
    """
    done = []
    for one in made:
        kinds = {PublishedModel.reference(): WARMUP_ROWS, RegisteredModel.reference(): EXAMPLE_ROWS}
        count = kinds.get(one.artifact.type)
        if count is None or one.location is None:
            continue
        beside = _beside(ledger, store, one)
        theirs = _rows_of(beside.examples, count, columns, learner) if beside else 0
        if not beside or not theirs:
            continue
        others = _others(beside.examples, count, columns, learner)
        if one.artifact.type == PublishedModel.reference():
            done.append(_replace_warm_up(settings, beside, others, theirs))
        else:
            done.append(_replace_example(settings, beside, others, theirs))
    return done


def _beside(ledger: Ledger, store: Store, made: Made) -> Beside | None:
    """Find what the step read that published or registered a version, by the inputs' types."""
    inputs = {record.type: record for _, record in ledger.inputs(made.execution_id)}
    examples, model = inputs.get(Examples.reference()), inputs.get(Model.reference())
    if examples is None or model is None:
        return None
    document = PublishedModel.open(store.fetch(made.artifact.uri)).load()
    return Beside(
        document["name"],
        document["version"],
        Model.open(store.fetch(model.uri)),
        Examples.open(store.fetch(examples.uri)),
    )


def _rows_of(examples: Examples, count: int, columns: Collection[str], learner: str) -> int:
    import pyarrow.compute as pc

    first = next(examples.batches(examples.names[-1], count))
    return pc.sum(which(first, columns, learner.__eq__)).as_py() or 0


def _others(examples: Examples, count: int, columns: Collection[str], learner: str) -> pa.Table:
    """The first rows of others."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = []
    for batch in examples.batches(examples.names[-1]):
        found.append(batch.filter(pc.invert(which(batch, columns, learner.__eq__))))
        if sum(one.num_rows for one in found) >= count:
            break
    return pa.Table.from_batches(found).slice(0, count)


def _replace_warm_up(settings: Settings, beside: Beside, others: pa.Table, theirs: int) -> Erased:
    place = open_place(settings)
    told = f"warm-up requests of {beside.name} {beside.version}"
    if place.find(beside.name, int(beside.version)) is None:
        return Erased(told, 0)
    with tempfile.TemporaryDirectory() as folder:
        if others.num_rows:
            rows = as_served(beside.model, others)
            write_warmup_requests(Path(folder), beside.name, rows)
        file = Path(folder) / WARMUP_FILE
        body = file.read_bytes() if file.exists() else b""
    place.replace(beside.name, int(beside.version), WARMUP_FILE, body)
    return Erased(told, theirs)


def _replace_example(settings: Settings, beside: Beside, others: pa.Table, theirs: int) -> Erased:
    from mlflow.exceptions import MlflowException

    from components.engines.saved_model_flavor import EXAMPLE

    told = f"input example of {beside.name} {beside.version}"
    registry = open_registry(settings)
    try:
        source = registry.client().get_model_version_download_uri(beside.name, beside.version)
    except MlflowException as fault:
        return Erased(told, 0, f"MLflow does not say where it is: {fault.error_code}")
    folder = _local_folder(source)
    if folder is None:
        return Erased(
            told, 0, "it is with MLflow's server, in input_example.json: delete the version there"
        )
    file = folder / EXAMPLE
    if file.exists():
        example = as_example(as_served(beside.model, others)) if others.num_rows else {}
        aside = file.with_name(f".{file.name}")
        with aside.open("w", encoding="utf-8") as handle:
            json.dump({"inputs": example}, handle)
            handle.flush()
            os.fsync(handle.fileno())
        aside.replace(file)
    return Erased(told, theirs)


def _local_folder(uri: str) -> Path | None:
    """The folder that MLflow keeps a model in, if it is on this machine."""
    parsed = urlparse(uri)
    if parsed.scheme not in ("", "file"):
        return None
    return Path(unquote(parsed.path))
