"""``learnloop erase``, ``learnloop hold`` and ``learnloop retention``."""

from __future__ import annotations

from typing import Annotated

import typer

from learnloop.cli.output import format_moment, print_json, print_table
from learnloop.errors import UsageError

Learner = Annotated[str, typer.Argument(help="Their identifier, as the platform knows it.")]
Reason = Annotated[str, typer.Option(help="Why, without naming them: it is kept.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def erase(
    learner: Learner,
    reason: Reason,
    wait: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for steps that are being executed.")
    ] = 600.0,
    json: Json = False,
) -> None:
    """Remove a person everywhere the framework put them, and have models trained without them."""
    from learnloop.settings import load_settings
    from privacy.erasing import erase_learner

    receipt = erase_learner(load_settings(), learner, reason, wait_seconds=wait)
    if json:
        print_json({**receipt.to_json(), "file": str(receipt.file)})
        return
    print_table(("place", "rows removed"), [(one.place, one.rows) for one in receipt.places])
    for version in receipt.models:
        print(f"Trained with them: {version}")
    for one in receipt.retraining:
        print(
            f"Retraining of {one.pipeline} is asked for: learnloop retrain explain {one.message_id}"
            if one.message_id
            else f"next: {one.command}"
        )
    for sentence in receipt.left:
        print(f"Not reached: {sentence}")
    print(f"Receipt: {receipt.file}")


def hold(
    learner: Annotated[
        str, typer.Argument(help="Their identifier; lists the holds if not given.")
    ] = "",
    reason: Annotated[str, typer.Option(help="The case, without naming them: it is kept.")] = "",
    release: Annotated[bool, typer.Option("--release", help="End their hold.")] = False,
    json: Json = False,
) -> None:
    """Keep a person's data from erasure and retention for the time being."""
    from learnloop.ledger import open_ledger
    from learnloop.settings import load_settings
    from privacy.holds import hold_person, holds, release_person
    from privacy.person import check_reason, open_person

    ledger = open_ledger(load_settings().ledger_url)
    if learner:
        person = open_person(learner)
        check_reason(reason, person.learner)
        (release_person if release else hold_person)(ledger, person, reason)
    elif reason or release:
        raise UsageError("This names nobody.", where="LEARNER", expected="a learner's identifier")
    found = holds(ledger)
    if json:
        print_json([vars(one) for one in found])
        return
    print_table(
        ("held", "since", "by", "reason"),
        [(one.pseudonym, format_moment(one.since), one.actor, one.reason) for one in found],
    )


def retention(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")] = False,
    json: Json = False,
) -> None:
    """Remove what is older than learnloop.toml lets it grow, but of people who are held."""
    from learnloop.settings import load_settings
    from privacy.retention import enforce_retention

    done = enforce_retention(load_settings(), dry_run=dry_run)
    if json:
        print_json([vars(one) for one in done])
        return
    print_table(
        ("what", "period", "would go" if dry_run else "removed"),
        [(one.what, one.period, one.removed) for one in done],
    )
