"""The commands of ``learnloop features`` that write and read the online store."""

from __future__ import annotations

import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from learnloop.cli.output import print_json, print_table
from learnloop.errors import LearnLoopError, UsageError
from learnloop.moments import parse_moment

if TYPE_CHECKING:
    from feature_store.materialise import Materialized

DEFAULT_PORT = 6566

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Views = Annotated[
    list[str] | None, typer.Option("--view", help="A feature view; all that are online if none.")
]
End = Annotated[str, typer.Option(help="Up to when, in ISO 8601; now if not given.")]


def materialize(
    start: Annotated[str, typer.Option(help="From when, in ISO 8601; all if not given.")] = "",
    end: End = "",
    view: Views = None,
    json: Json = False,
) -> None:
    """Write the rows of a span to the online store."""
    from feature_store.store import FeatureStore

    begin = parse_moment(start, "--start") if start else None
    done = FeatureStore().materialize(begin, _end(end), view or ())
    _tell_materialized(done, json)


def materialize_incremental(
    end: End = "",
    view: Views = None,
    every: Annotated[
        float | None,
        typer.Option(help="Again and again, so many seconds apart, until told to stop.", min=0.1),
    ] = None,
    json: Json = False,
) -> None:
    """Write what came since the last time to the online store.

    With --every the events that learnloop events collect keeps are online seconds later.
    """
    from feature_store.store import FeatureStore

    store = FeatureStore()
    if every is None:
        _tell_materialized(store.materialize_incremental(_end(end), view or ()), json)
        return
    if end:
        raise UsageError(
            "What goes on and on has no end.", where="--every and --end", expected="one of them"
        )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    views = ", ".join(one.name for one in store.online_views(view or ()))
    print(f"Materializing {views} every {every:g} s", file=sys.stderr, flush=True)
    while not stop.is_set():
        try:
            store.materialize_incremental(datetime.now(UTC), view or ())
        except UsageError:
            raise
        except LearnLoopError as fault:  # it may pass: a store that does not answer, a rival
            print(fault, file=sys.stderr)
        stop.wait(every)


def push(
    source: Annotated[str, typer.Argument(help="A push source.")],
    file: Annotated[Path, typer.Argument(help="Rows: a Parquet file.")],
    json: Json = False,
) -> None:
    """Take rows of a push source: keep them, and write them to the online store."""
    import pyarrow as pa
    import pyarrow_hotfix  # type: ignore[import-untyped]  # noqa: F401  # a file may bring code
    from pyarrow import parquet

    from feature_store.store import FeatureStore

    try:
        rows = parquet.read_table(file)
    except (OSError, pa.ArrowInvalid) as fault:
        raise UsageError(
            "The rows cannot be read.",
            where=file,
            expected="a Parquet file",
            received=str(fault).partition("\n")[0],
        ) from None
    pushed = FeatureStore().push(source, rows)
    if json:
        print_json(vars(pushed))
        return
    print(
        f"{pushed.new} of {pushed.rows} rows are new; online: {', '.join(pushed.views) or 'none'}"
    )


def get(
    features: Annotated[
        list[str], typer.Argument(help="A feature service, or features as view:feature or view.")
    ],
    entity: Annotated[
        list[str] | None, typer.Option("--entity", help="A join key as learner=7.")
    ] = None,
    purpose: Annotated[str, typer.Option(help="What listed features are for.")] = "",
    json: Json = False,
) -> None:
    """Read features as they are now, from the online store."""
    from feature_store.store import FeatureStore

    store = FeatureStore()
    is_service = len(features) == 1 and features[0] in store.definitions.services
    asked = store.ask(features[0] if is_service else features, purpose=purpose)
    types = {field.name: field.dtype for field in (*asked.join_keys, *asked.request_fields)}
    given = [_entity_value(text, types) for text in entity or ()]
    row = store.online_reader(asked).one(dict(given))
    if json:
        print_json({"values": row.values, "statuses": row.statuses})
        return
    print_table(("feature", "value"), [(name, str(value)) for name, value in row.values.items()])
    for view, status in row.statuses.items():
        print(f"{view}: {status}")


def serve(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any.")] = DEFAULT_PORT,
    host: Annotated[
        str, typer.Option(help="The address; others than loopback need TLS and tokens.")
    ] = "127.0.0.1",
    tls_certificate: Annotated[
        Path | None, typer.Option(help="The server's certificate and chain (PEM).")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key (PEM).")] = None,
) -> None:
    """Answer requests for the online features of a service until SIGTERM or Ctrl-C.

    Callers show one of the bearer tokens in LEARNLOOP_FEATURES_TOKENS; without it everybody on this
    machine is let in.
    """
    import signal

    from feature_store.online.server import serving_features
    from feature_store.store import FeatureStore
    from learnloop.access import TlsFiles

    endings = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, endings)
    store = FeatureStore()
    services = ", ".join(store.definitions.services) or "no service"
    tls = TlsFiles.named(tls_certificate, tls_key)
    with serving_features(store, port, host=host, tls=tls) as taken:
        scheme = "http" if tls is None else "https"
        print(f"Online features of {services}: {scheme}://{host}:{taken}", flush=True)
        signal.sigwait(endings)


def compact(json: Json = False) -> None:
    """Put the small parts of pushed rows together."""
    from feature_store.push import compact_pushed
    from feature_store.store import FeatureStore

    replaced = compact_pushed(FeatureStore())
    if json:
        print_json(replaced)
        return
    print_table(("push source", "parts put together"), list(replaced.items()))


def register(commands: typer.Typer) -> None:
    """Add the commands.

    Args:
        commands: ``learnloop features``.
    """
    for function in (materialize, materialize_incremental, push, get, serve, compact):
        commands.command(function.__name__.replace("_", "-"))(function)


def _tell_materialized(done: list[Materialized], json: bool) -> None:
    if json:
        print_json(
            [
                {
                    **vars(one),
                    "start": one.start.isoformat() if one.start else None,
                    "watermark": one.watermark.isoformat(),
                }
                for one in done
            ]
        )
        return
    print_table(
        ("view", "rows", "up to", "seconds", "online store"),
        [
            (
                one.view,
                one.rows,
                one.watermark.isoformat(timespec="seconds"),
                f"{one.seconds:.2f}",
                one.store,
            )
            for one in done
        ],
    )


def _end(text: str) -> datetime:
    return parse_moment(text, "--end") if text else datetime.now(UTC)


def _entity_value(text: str, types: dict[str, Any]) -> tuple[str, Any]:
    """Read ``learner=7`` as a name and a value of its type."""
    from feature_store.fields import FeatureType
    from learnloop.errors import closest

    name, equals, value = text.partition("=")
    if not equals or name not in types:
        raise UsageError(
            "This names no join key of what is asked for.",
            where="--entity",
            expected=closest(name, [f"{known}=…" for known in types]),
            received=repr(name),
        )
    kind = types[name]
    if kind is FeatureType.STRING:
        return name, value
    try:
        return name, float(value) if "float" in kind else int(value)
    except ValueError:
        raise UsageError(
            f"A value of '{name}' is not of its type.",
            where="--entity",
            expected=kind,
            received="text",
        ) from None
