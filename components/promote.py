"""The promotion gate: which version is the champion, that all later ones are held against.

A version earns it by being blessed and in service. One that is tried out on a share of the callers
earns it on trial (``learnloop serving watch``), and one that was taken back has lost it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from learnloop.artifacts import Artifact, Blessing
from learnloop.component import Context, Output, Resources, component
from learnloop.settings import Settings
from serving.blessing import Judgement, read_judgement
from serving.moves import Mover
from serving.places import open_place
from serving.registry import CHALLENGER, CHAMPION, Aliases


@dataclass(frozen=True)
class Standing:
    """How a model's versions stand.

    Args:
        challenger: The newest registered version, as the registry's alias has it.
        champion: The version that later ones are held against.
        stable: The version in service.
        canary: The version on trial.
        weight: The share of callers it is tried on.
        withdrawn: Why the challenger was taken out of service; "" if it was not.
    """

    challenger: str | None = None
    champion: str | None = None
    stable: int | None = None
    canary: int | None = None
    weight: float = 0.0
    withdrawn: str = ""

    @property
    def objection(self) -> str:
        """Why the challenger does not become the champion now, in a sentence; "" if it may."""
        if self.challenger is None:
            return "No version waits."
        version = int(self.challenger)
        if self.challenger == self.champion:
            return f"Version {version} is the champion already."
        if self.withdrawn:
            return f"Version {version} was taken out of service: {self.withdrawn}"
        if self.canary == version:
            return f"Version {version} is on trial with {self.weight:.0%} of the callers."
        if self.stable != version:
            return f"Version {version} is not in service."
        return ""


def read_standing(name: str, settings: Settings) -> Standing:
    """Read how a model's versions stand.

    Args:
        name: The registered model, published under the same name.
        settings: Names the registry and the place of published models.
    """
    aliases = Aliases(settings.mlflow_uri)
    challenger = aliases.alias_version(name, CHALLENGER)
    champion = aliases.alias_version(name, CHAMPION)
    rollout = open_place(settings).read().models.get(name)
    if rollout is None:
        return Standing(challenger, champion)
    withdrawn = rollout.withdrawn.get(int(challenger), "") if challenger else ""
    return Standing(challenger, champion, rollout.stable, rollout.canary, rollout.weight, withdrawn)


def resolve_standing(arguments: Mapping[str, Any], settings: Settings) -> Mapping[str, Any]:
    """Tell how the versions stand now, which enters the cache key.

    Args:
        arguments: The step's parameters.
        settings: Names the registry and the place of published models.
    """
    return asdict(read_standing(arguments["name"], settings))


def check_promotion(outputs: Mapping[str, Artifact], settings: Settings) -> str:
    """Tell whether the version that was made champion still is.

    Args:
        outputs: What the step made.
        settings: Names the registry.
    """
    recorded = outputs["verdict"]
    assert isinstance(recorded, Blessing)
    verdict = recorded.load()
    name, version = verdict["name"], verdict["version"]
    holder = Aliases(settings.mlflow_uri).alias_version(name, CHAMPION)
    if not verdict["blessed"] or holder == version:
        return ""
    return f"The alias {CHAMPION} of {name} points at version {holder}."


@component(resolve=resolve_standing, check_target=check_promotion, resources=Resources(retries=2))
def promote(verdict: Output[Blessing], *, name: str, context: Context) -> None:
    """Make the challenger the champion if it is blessed and in service, and say why or why not.

    Args:
        verdict: ``blessed``, ``reasons``, ``name``, ``version`` and ``champion``, the one before.
        name: The registered model, published under the same name.
        context: Names the registry, the ledger, the store and the place of published models.

    Raises:
        LearnLoopError: The registry did not answer.
    """
    settings = context.settings
    standing = read_standing(name, settings)
    version = standing.challenger
    judgement = Judgement(standing.objection)
    if version is not None and not judgement.objection:
        judgement = read_judgement(name, version, settings)
    is_earned, reason = not judgement.objection, judgement.objection
    if is_earned:
        reason = f"Version {version} is in service and was blessed with {judgement.figures}."
        Mover(settings).make_champion(name, reason)
    context.report(reason)
    verdict.write(
        {
            "blessed": is_earned,
            "reasons": [reason],
            "name": name,
            "version": version,
            "champion": standing.champion,
        }
    )
