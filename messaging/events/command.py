"""``learnloop events``: collect what the platform tells, or tell a folder's events again."""

from __future__ import annotations

import json
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from learnloop.settings import load_settings

events_commands = typer.Typer(
    name="events",
    help="Learner events over Kafka.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
_Kafka = Annotated[
    str, typer.Option(help="Kafka's host:port, several by commas.", metavar="ADDRESS")
]
_Topic = Annotated[str, typer.Option(help="The topic.")]


@events_commands.command()
def collect(
    kafka: _Kafka = "127.0.0.1:9092",
    topic: _Topic = "learner-events",
    group: Annotated[
        str, typer.Option(help="The consumer group; its members share the partitions.")
    ] = "learnloop-events",
    part_rows: Annotated[
        int, typer.Option(help="Write when so many events wait.", min=1, metavar="COUNT")
    ] = 100_000,
    part_seconds: Annotated[
        float, typer.Option(help="Write when the oldest has waited so long.", metavar="SECONDS")
    ] = 10.0,
    accept_gap: Annotated[
        bool,
        typer.Option(
            "--accept-gap",
            help="Go on without events that Kafka has deleted or whose keys are lost.",
        ),
    ] = False,
    metrics_port: Annotated[
        int, typer.Option(help="Serve Prometheus metrics on this port; 0: not.")
    ] = 0,
    metrics_host: Annotated[str, typer.Option(help="The interface of the metrics.")] = "127.0.0.1",
) -> None:
    """Collect events into Parquet by kind and hour, each exactly once, until told to stop.

    For example:

        learnloop events collect --kafka broker:9092 --metrics-port 9310
    """
    from messaging.events.collector import CollectorSettings, EventCollector

    folder = load_settings().events_folder
    collector = EventCollector(
        CollectorSettings(kafka, folder, topic, group, part_rows, part_seconds, accept_gap)
    )
    if metrics_port:
        from prometheus_client import start_http_server

        from learnloop.access import explain_taken_port

        other = "give --metrics-port one that is free"
        with explain_taken_port("the metrics", metrics_host, metrics_port, next=other):
            start_http_server(metrics_port, metrics_host, collector.counts.registry)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    print(f"Collecting {topic} from {kafka} into {folder}", file=sys.stderr)
    collector.run(stop.is_set)


@events_commands.command()
def stream(
    folder: Annotated[Path, typer.Argument(help="Simulated learners, or OULAD's tables.")],
    kafka: _Kafka = "127.0.0.1:9092",
    topic: _Topic = "learner-events",
    source: Annotated[
        str, typer.Option(help="The events' source; the folder's name if empty.")
    ] = "",
    rate: Annotated[
        float, typer.Option(help="Events a second; 0: as fast as they are taken.", min=0)
    ] = 0.0,
    live: Annotated[
        bool, typer.Option("--live", help="Events happen when they are sent, not as in the data.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Tell a folder's events to Kafka in the order of time; run again to go on after a cut.

    For example:

        learnloop events stream data/simulated --rate 500 --live
    """
    from messaging.events.producer import EventProducer
    from messaging.events.replay import stream_folder

    name = source or folder.resolve().name
    position = load_settings().home_folder / "streams" / f"{name}.json"
    sent = stream_folder(
        folder,
        EventProducer(kafka, topic),
        source=name,
        position=position,
        rate=rate,
        is_live=live,
    )
    if as_json:
        typer.echo(json.dumps({"sent": sent, "source": name, "topic": topic}))
    elif sent:
        typer.echo(f"{sent:,} events sent to {topic} as source {name}.")
    else:
        typer.echo(f"All events of {name} were sent before. To send them again: rm {position}")
