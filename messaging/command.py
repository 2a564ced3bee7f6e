"""``learnloop retrain``: ask for retraining, and see what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from learnloop.cli.output import format_moment, print_json, print_table
from learnloop.cli.pairs import read_pairs
from learnloop.errors import UsageError, closest

if TYPE_CHECKING:
    from learnloop.pipeline import Pipeline
    from messaging.decisions import Decisions
    from messaging.records import Decision, Message

retrain_commands = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Ask for retraining by message, and see what became of it.",
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Reason(StrEnum):
    """Why retraining is asked for."""

    drift = "drift"
    live_quality = "live_quality"
    new_data = "new_data"
    schedule = "schedule"
    person = "person"
    erasure = "erasure"


@retrain_commands.command()
def request(
    pipeline: Annotated[str, typer.Argument(help="The pipeline's name.")],
    reason: Annotated[Reason, typer.Option(help="Why it is asked for.")] = Reason.person,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Set a parameter; may be repeated."),
    ] = None,
    evidence: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=JSON", help="What the request rests on; may be repeated."),
    ] = None,
    override: Annotated[
        str, typer.Option(metavar="REASON", help="Run whatever the policy says; it is recorded.")
    ] = "",
    json: Json = False,
) -> None:
    """Ask for a pipeline to be run again. The message is safe with the broker when this returns."""
    import getpass

    from learnloop.discovery import load_pipeline
    from learnloop.settings import load_settings
    from messaging.broker import broker_url
    from messaging.messages import new_request
    from messaging.publisher import Publisher

    url = broker_url()
    typed = read_pairs(set_, "--set", "epochs=10")
    made = new_request(
        pipeline,
        reason,
        getpass.getuser(),
        parameters=_checked(load_pipeline(pipeline, load_settings()), typed),
        evidence=_read_evidence(evidence),
        override=override,
    )
    with Publisher(url) as publisher:
        publisher.send(made)
    if json:
        print_json(made.to_json())
    else:
        print(f"{made.message_id} sent")
        print(f"next: learnloop retrain explain {made.message_id}")


@retrain_commands.command()
def queue(json: Json = False) -> None:
    """Show how many messages wait, and where."""
    from learnloop.settings import load_settings
    from messaging.broker import DEAD_QUEUE, QUEUE, Delays, broker_url, opened_channel

    delays = Delays(load_settings().retrain_delays)
    with opened_channel(broker_url()) as channel:
        delays.declare(channel)
        counts = {}
        for name in (QUEUE, *delays.queues, DEAD_QUEUE):
            told = channel.queue_declare(name, passive=True).method
            counts[name] = {"messages": told.message_count, "consumers": told.consumer_count}
    if json:
        print_json(counts)
        return
    rows = [(name, count["messages"], count["consumers"]) for name, count in counts.items()]
    print_table(("queue", "messages", "listeners"), rows)


@retrain_commands.command("dead-letters")
def dead_letters(
    limit: Annotated[int, typer.Option(min=1, help="The most to list.")] = 100,
    json: Json = False,
) -> None:
    """List the messages that nobody could act on, with the reasons."""
    from messaging.broker import broker_url
    from messaging.dead_letters import read_dead_letters

    letters = read_dead_letters(broker_url(), limit)
    if json:
        print_json([letter.to_json() for letter in letters])
        return
    rows = [
        (one.id, one.request.pipeline if one.request else "", " ".join(one.reason.split()))
        for one in letters
    ]
    print_table(("id", "pipeline", "reason"), rows)


@retrain_commands.command()
def replay(
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of dead letters.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="All that are no poison.")] = False,
    json: Json = False,
) -> None:
    """Send dead letters again, as new messages, once their cause is mended."""
    from messaging.broker import broker_url
    from messaging.dead_letters import replay as send_again

    wanted = set(ids or ())
    if bool(wanted) == all_:
        raise UsageError(
            "Say which dead letters to send again.",
            expected="ids, or --all",
            received="both" if all_ else "neither",
            next="learnloop retrain dead-letters",
        )
    sent = send_again(broker_url(), lambda letter: all_ or letter.id in wanted)
    missing = wanted - {letter.id for letter, _ in sent}
    if json:
        print_json([{"dead_letter": letter.id, "message_id": new} for letter, new in sent])
    else:
        print_table(("dead letter", "sent as"), [(letter.id, new) for letter, new in sent])
    if missing:
        raise UsageError(
            "Not every message was sent again.",
            expected="ids of dead letters that are no poison",
            received=", ".join(sorted(missing)),
            next="learnloop retrain dead-letters",
        )


@retrain_commands.command()
def explain(
    id_: Annotated[str, typer.Argument(metavar="ID", help="A message's or a run's id.")],
    json: Json = False,
) -> None:
    """Tell what became of a message, and why."""
    decisions = _decisions()
    message = decisions.find(id_)
    decision = message.decision
    others = len(decisions.messages(decision.id)) - 1 if decision else 0
    if json:
        print_json(_message_json(message))
        return
    print(f"{message.id} {message.outcome}")
    if message.pipeline:
        print(f"{message.pipeline}, {message.reason}, asked by {message.requested_by}")
    print(message.why)
    if decision is None:
        return
    if decision.run_id:
        print(f"run: {decision.run_id}")
    if message.id != decision.id:
        print(f"leader: {decision.id}")
    if others:
        print(f"together with {others} more")
    print_table(
        ("rule", "says", "why"),
        [(rule["rule"], rule["verdict"], rule["sentence"]) for rule in decision.rules],
    )


@retrain_commands.command()
def decisions(
    pipeline: Annotated[str, typer.Argument(help="Only those of this pipeline.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="The most to list.")] = 20,
    json: Json = False,
) -> None:
    """List decisions, newest first."""
    found = _decisions().newest(pipeline, limit)
    if json:
        print_json([{**_decision_json(one), "messages": count} for one, count in found])
        return
    print_table(
        ("decision", "pipeline", "state", "messages", "decided", "why"),
        [
            (one.id, one.pipeline, one.state, count, format_moment(one.decided), one.sentence)
            for one, count in found
        ],
    )


def _decisions() -> Decisions:
    from learnloop.ledger import open_ledger
    from learnloop.settings import load_settings
    from messaging.decisions import Decisions
    from messaging.policy.settings import Policies

    return Decisions(open_ledger(load_settings().ledger_url), Policies())


def _checked(pipeline: Pipeline[...], typed: Mapping[str, str]) -> dict[str, Any]:
    """Check parameters as the pipeline has them; those that are not given are left to its DAG."""
    values = {}
    for name, text in typed.items():
        parameter = pipeline.parameters.get(name)
        if parameter is None:
            raise UsageError(
                f"Pipeline '{pipeline.name}' has no parameter '{name}'.",
                expected=closest(name, pipeline.parameters),
                received=repr(name),
            )
        where = f"pipeline '{pipeline.name}'"
        values[name] = parameter.to_json(parameter.validate(text, where))
    return values


def _read_evidence(given: list[str] | None) -> dict[str, Any]:
    import json

    evidence = {}
    for name, text in read_pairs(given, "--evidence", "new_labelled_rows=5120").items():
        try:
            evidence[name] = json.loads(text)
        except ValueError:
            raise UsageError(
                "Evidence is given as JSON.",
                where=f"--evidence {name}",
                expected="new_labelled_rows=5120",
                received=repr(text),
                next="messaging/schemas/retrain_requested.v1.json has the fields",
            ) from None
    return evidence


def _decision_json(decision: Decision) -> dict[str, Any]:
    return {**vars(decision), "rules": list(decision.rules)}


def _message_json(message: Message) -> dict[str, Any]:
    decision = _decision_json(message.decision) if message.decision else None
    return {
        **vars(message),
        "outcome": message.outcome,
        "why": message.why,
        "decision": decision,
    }
