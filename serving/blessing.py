"""What versions were judged by, and whether one may be tried out on callers.

The verdict on a version is the blessing of the run that registered it. ``learnloop serving check``
asks for it before a trial, the promotion gate before a version becomes the champion.
"""

from __future__ import annotations

from dataclasses import dataclass

from learnloop.artifacts import Blessing, Evaluation
from learnloop.errors import GateRefused, UsageError
from learnloop.ledger import open_ledger
from learnloop.ledger.lineage import input_of_run
from learnloop.settings import Settings
from learnloop.store import open_store
from serving.moves import MLFLOW_VERSION
from serving.places import open_place
from serving.registry import CHALLENGER, RUN_TAG, Aliases


@dataclass(frozen=True)
class Judgement:
    """What is on record about a registered version.

    Args:
        objection: Why it is not blessed, in a sentence; "" if it is.
        figures: What it was blessed with; "" if it is not.
    """

    objection: str = ""
    figures: str = ""


def read_judgement(name: str, version: str, settings: Settings) -> Judgement:
    """Read whether the run that registered a version blessed it.

    Args:
        name: The registered model.
        version: The version in the registry.
        settings: Names the registry, the ledger and the store.
    """
    run_id = Aliases(settings.mlflow_uri).version_tag(name, version, RUN_TAG) or ""
    ledger = open_ledger(settings.ledger_url)
    store = open_store(settings.store_location, str(settings.home_folder))
    kinds: dict[str, type[Blessing | Evaluation]] = {"blessing": Blessing, "evaluation": Evaluation}
    documents = {}
    for role, kind in kinds.items():
        found = input_of_run(ledger, run_id, role, kind.reference())
        if found is None:
            return Judgement(f"What version {version} was judged by is no longer on record.")
        documents[role] = kind.open(store.fetch(found.uri)).load()
    blessing, evaluation = documents["blessing"], documents["evaluation"]
    if not blessing["blessed"]:
        return Judgement(f"Version {version} is not blessed: {' '.join(blessing['reasons'])}")
    figures = evaluation["metrics"][evaluation["judged"]]
    return Judgement(figures=f"an AUC of {figures['auc']:.3f} on {figures['rows']:,} rows")


def check_before_trial(name: str, version: str, settings: Settings) -> tuple[int, str]:
    """Check that a version may be tried out: published, blessed, and no other on trial.

    Args:
        name: The model's name.
        version: Its number, or ``challenger`` for the newest registered one.
        settings: Names the registry, the ledger, the store and the place of published models.

    Returns:
        The version's number, and by what it was judged, in a sentence.

    Raises:
        UsageError: There is no such model or published version.
        GateRefused: It may not.
    """
    place = open_place(settings)
    rollout = place.read()
    model = rollout.model(name)
    number = rollout.published_version(name, _number(name, version, settings))
    published = place.find(name, number)
    registered = published and published.manifest["lineage"].get(MLFLOW_VERSION)
    judgement = Judgement(f"Version {number} was pushed by hand: no run judged it.")
    if registered:
        judgement = read_judgement(name, registered, settings)
    reasons = [judgement.objection] if judgement.objection else []
    if model.stable == number:
        reasons.append(f"Version {number} is in service already.")
    if model.canary not in (None, number):
        reasons.append(
            f"Version {model.canary} is on trial with {model.weight:.0%} of the callers."
        )
    if reasons:
        where, next_command = f"version {number} of '{name}'", f"learnloop serving status {name}"
        raise GateRefused(reasons, where=where, next=next_command)
    return number, f"Version {number} was blessed with {judgement.figures}."


def _number(name: str, version: str, settings: Settings) -> int:
    if version.isdecimal():
        return int(version)
    registry = Aliases(settings.mlflow_uri)
    found = registry.alias_version(name, CHALLENGER) if version == CHALLENGER else None
    if found is None:
        raise UsageError(
            f"There is no such version of '{name}'.",
            expected=f"a number, or {CHALLENGER} once a run has registered one",
            received=repr(version),
            next=f"learnloop serving status {name}",
        )
    return int(found)
