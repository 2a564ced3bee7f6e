"""``learnloop serving``: publish a version, try it out, put it into service, take it back."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from learnloop.cli.output import print_json, print_table
from learnloop.errors import UsageError

if TYPE_CHECKING:
    from learnloop.settings import Settings
    from serving.moves import Mover
    from serving.state import ModelRollout

serving_commands = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Publish versions of models, and say which one callers get.",
)

Name = Annotated[str, typer.Argument(help="The model's name.")]
Weight = Annotated[float, typer.Option(min=0, max=1, help="The share of callers it is for.")]
Reason = Annotated[str, typer.Option(help="Why; it is kept in the journal.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@serving_commands.command("push")
def push(
    model_folder: Annotated[Path, typer.Argument(help="A Model artifact or a SavedModel.")],
    name: Annotated[str, typer.Option(help="The model's name.")],
    version: Annotated[
        int | None, typer.Option(min=1, help="Its number; one more than the highest if left out.")
    ] = None,
    weight: Annotated[
        float, typer.Option(min=0, max=1, help="Try it out on this share of callers first.")
    ] = 0.0,
    reason: Reason = "pushed by hand",
) -> None:
    """Publish a model. Its first version is in service at once, a later one as --weight says."""
    from serving.publish import Publication

    mover = _mover()
    saved_model, digest = _read_model(model_folder)
    known = mover.place.read().models.get(name)
    number = version or max(known.published if known else (0,)) + 1
    publication = Publication(saved_model, number, digest, {"pushed_by": mover.actor})
    published = mover.push(name, publication, weight=weight, why=reason)
    print(f"published {published.location}")
    _tell(name, mover.place.read().model(name))


@serving_commands.command("status")
def status(
    name: Annotated[str, typer.Argument(help="Only this model.")] = "",
    json: AsJson = False,
) -> None:
    """Tell which version of each model callers get, and the canary's share of them."""
    mover = _mover()
    place = mover.place
    rollout = place.read()
    models = {name: rollout.model(name)} if name else rollout.models
    erased = _trained_with_erased(models, mover.settings)
    if json:
        print_json(
            {
                "location": place.location,
                "models": {one: _describe(model) for one, model in sorted(models.items())},
                "trained_with_erased": erased,
                "unrecorded": len(rollout.unrecorded),
            }
        )
        return
    print_table(
        ("model", "stable", "canary", "weight", "loaded", "published", "withdrawn"),
        [
            (
                one,
                model.stable,
                "" if model.canary is None else model.canary,
                f"{model.weight:g}",
                _numbers(model.told.versions),
                _numbers(model.published),
                _numbers(model.withdrawn),
            )
            for one, model in sorted(models.items())
        ],
    )
    for version, day in erased.items():
        print(f"{version} was trained with a person who was erased on {day}.")


@serving_commands.command("route")
def route(
    name: Name,
    gateway: Annotated[str, typer.Option(help="The Gateway that it is attached to.")] = "learnloop",
    service: Annotated[
        str, typer.Option(help="What the Services are called, before -stable and -canary.")
    ] = "learnloop-serving",
) -> None:
    """Print the Kubernetes HTTPRoute that weighs stable and canary as the rollout does now.

    For example:

        learnloop serving route learner_outcome | kubectl apply -f -
    """
    from serving.gateway import weighted_route

    print_json(weighted_route(name, _mover().place.read().model(name), gateway, service))


@serving_commands.command("check")
def check(
    name: Name,
    version: Annotated[str, typer.Argument(help="A version's number, or challenger.")],
) -> None:
    """Check that a version may be tried out: published, blessed, and no other on trial.

    Prints its number, for a script to go on with; by what it was judged goes to standard error.

    Exit codes: 0 it may; 1 it may not.
    """
    from learnloop.settings import load_settings
    from serving.blessing import check_before_trial

    number, judgement = check_before_trial(name, version, load_settings())
    print(judgement, file=sys.stderr)
    print(number)


@serving_commands.command("canary")
def canary(
    name: Name,
    version: Annotated[int, typer.Argument(min=1, help="A published version.")],
    weight: Weight = 0.1,
    reason: Reason = "tried out by hand",
) -> None:
    """Try a published version out on a share of the callers, or change that share."""
    _tell(name, _mover().try_out(name, version, weight, reason))


@serving_commands.command("promote")
def promote(
    name: Name,
    version: Annotated[
        int | None, typer.Option(min=1, help="Refuse if another version is the canary.")
    ] = None,
    reason: Reason = "promoted by hand",
) -> None:
    """Put the canary into service, and point MLflow's alias champion at it."""
    _tell(name, _mover().promote(name, reason, version))


@serving_commands.command("rollback")
def rollback(
    name: Name,
    reason: Annotated[str, typer.Option(help="Why; it is kept in the journal.")],
    to: Annotated[int | None, typer.Option(min=1, help="The version to go back to.")] = None,
    version: Annotated[
        int | None, typer.Option(min=1, help="Do nothing unless this version is what came last.")
    ] = None,
) -> None:
    """Take out of service what came last: the canary if there is one, else the stable version."""
    _tell(name, _mover().roll_back(name, reason, to, only=version))


@serving_commands.command("watch")
def watch(
    name: Name,
    metrics: Annotated[
        list[str] | None, typer.Option(help="The embedded server's metrics page; repeatable.")
    ] = None,
    stable_metrics: Annotated[
        list[str] | None,
        typer.Option(help="The page of a TensorFlow Serving with the stable version alone."),
    ] = None,
    canary_metrics: Annotated[
        list[str] | None,
        typer.Option(help="The page of a TensorFlow Serving with the canary alone."),
    ] = None,
    log: Annotated[Path | None, typer.Option(help="The prediction log's folder.")] = None,
    authority: Annotated[
        Path | None,
        typer.Option("--ca", help="The authority that vouches for the servers, not the system's."),
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(help="The watcher's certificate, where a server asks for one.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="Its key, where that is not in the same file.")
    ] = None,
    version: Annotated[
        int | None, typer.Option(min=1, help="Watch as long as this version is on trial.")
    ] = None,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 5.0,
    alpha: Annotated[
        float, typer.Option(min=1e-6, max=0.5, help="The chance that a harmless one is stopped.")
    ] = 0.01,
    promote_after: Annotated[
        int | None, typer.Option(min=1, help="Promote after so many requests without harm.")
    ] = None,
    at_most: Annotated[
        float | None, typer.Option(min=0, help="Stop watching after so many seconds.")
    ] = None,
) -> None:
    """Watch the canary beside the stable version, and stop it if it does harm.

    A bearer token for the metrics pages is read from LEARNLOOP_SERVING_TOKEN.

    Exit codes: 0 it was promoted, ended by somebody or the time is over; 1 it did harm.
    """
    from serving.canary.comparison import Tolerance
    from serving.canary.figures import Figures
    from serving.canary.watch import Policy, watch_canary
    from serving.client import Security

    shared = metrics or []
    pages = ([*shared, *(stable_metrics or ())], [*shared, *(canary_metrics or ())])
    if not (all(pages) or log):
        raise UsageError(
            "There is nothing to watch.",
            expected="--metrics, or --stable-metrics and --canary-metrics, or --log",
            received="none of them",
            next=f"learnloop serving watch {name} "
            "--metrics http://127.0.0.1:8501/monitoring/prometheus/metrics",
        )
    security = Security(authority, certificate, key)
    mover = _mover()
    comparison = watch_canary(
        mover,
        name,
        lambda stable, canary: Figures(name, stable, canary, *pages, log, security),
        Policy(every, Tolerance(alpha), promote_after, at_most),
        only=version,
    )
    print_json(comparison.figures())
    _tell(name, mover.place.read().model(name))


@serving_commands.command("history")
def history(name: Name, json: AsJson = False) -> None:
    """Show every move of a model, the oldest first: who, when, from, to, why."""
    from learnloop.cli.output import format_moment
    from learnloop.ledger import open_ledger
    from learnloop.ledger.journal import read_journal
    from serving.moves import SERVING
    from serving.registry import CHAMPION

    mover = _mover()
    mover.place.read().model(name)
    ledger = open_ledger(mover.settings.ledger_url)
    entries = [*read_journal(ledger, SERVING, name), *read_journal(ledger, CHAMPION, name)]
    entries.sort(key=lambda entry: entry.at)
    if json:
        print_json([vars(entry) for entry in entries])
        return
    print_table(
        ("when", "who", "move", "from", "to", "why"),
        [
            (
                format_moment(entry.at),
                entry.actor,
                entry.document.get("move", entry.kind),
                _short(entry.document["from"]),
                _short(entry.document["to"]),
                entry.document["why"],
            )
            for entry in entries
        ],
    )


def _mover() -> Mover:
    from learnloop.settings import load_settings
    from serving.moves import Mover

    return Mover(load_settings())


def _read_model(folder: Path) -> tuple[Path, str]:
    """Find the SavedModel in a folder, and the digest that tells it from another."""
    from learnloop.artifacts import Model, digest_folder
    from serving.publish import MANIFEST

    if (folder / "saved_model" / "saved_model.pb").is_file():
        return folder / "saved_model", Model.open(folder).content_digest()
    if (folder / "saved_model.pb").is_file():
        return folder, digest_folder(folder, leave_out=(MANIFEST,))
    raise UsageError(
        "This is no model.",
        where=folder,
        expected="a folder with saved_model.pb, or a Model artifact's",
        received="neither" if folder.is_dir() else "no folder",
        next="learnloop show latest --json, to see where a run published its model",
    )


def _describe(model: ModelRollout) -> dict[str, Any]:
    return {
        **model.summary(),
        "loaded": list(model.told.versions),
        "labels": dict(model.told.labels),
        "settled": model.is_settled,
        "earlier": list(model.earlier),
        "published": sorted(model.published),
        "withdrawn": {str(version): why for version, why in sorted(model.withdrawn.items())},
    }


def _trained_with_erased(models: Mapping[str, ModelRollout], settings: Settings) -> dict[str, str]:
    """The day of the erasure by ``name version``, of the versions that servers load."""
    from serving.registry import ERASED_TAG, Aliases

    registry = Aliases(settings.mlflow_uri)
    found = {
        f"{name} {version}": registry.version_tag(name, str(version), ERASED_TAG)
        for name, model in sorted(models.items())
        for version in sorted(model.told.versions)
    }
    return {version: day for version, day in found.items() if day}


def _tell(name: str, model: ModelRollout) -> None:
    trial = (
        f", version {model.canary} on trial with weight {model.weight:g}" if model.canary else ""
    )
    print(f"{name}: version {model.stable} in service{trial}")


def _short(state: Any) -> str:
    """Write what a move came from or led to in a few characters."""
    if not isinstance(state, dict):
        return "" if state is None else str(state)
    trial = f" + {state['canary']} at {state['weight']:g}" if state["canary"] else ""
    return f"{state['stable']}{trial}"


def _numbers(versions: Any) -> str:
    return " ".join(str(version) for version in sorted(versions))
