"""``learnloop predict``: ask a served model from the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from learnloop.errors import UsageError

DEFAULT_URL = "http://127.0.0.1:8501"
DEFAULT_GRPC_URL = "grpc://127.0.0.1:8500"


def predict_command(
    model: Annotated[str, typer.Argument(help="The model's name.", show_default=False)],
    row: Annotated[
        list[str],
        typer.Option(help="A row as a JSON object; give it again for more rows.", metavar="JSON"),
    ] = [],
    file: Annotated[
        Path | None,
        typer.Option(help="A JSON file with a list of rows; - reads them from standard input."),
    ] = None,
    learner: Annotated[
        str,
        typer.Option(
            help="Complete the rows, or one without a value, with this learner's features.",
            show_default=False,
        ),
    ] = "",
    url: Annotated[
        str,
        typer.Option(
            help=f"http(s)://host:port or grpc(s)://host:port; {DEFAULT_URL} if not given.",
            show_default=False,
        ),
    ] = "",
    version: Annotated[int | None, typer.Option(help="The version asked.")] = None,
    label: Annotated[str, typer.Option(help="The label asked.", show_default=False)] = "",
    signature: Annotated[str, typer.Option(help="The signature asked.")] = "serving_default",
    is_grpc: Annotated[
        bool,
        typer.Option("--grpc", help=f"Ask over gRPC; without --url at {DEFAULT_GRPC_URL}."),
    ] = False,
    authority: Annotated[
        Path | None,
        typer.Option("--ca", help="The authority that vouches for the server, not the system's."),
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(help="The caller's certificate, where the server asks for one.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="Its key, where that is not in the same file.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds that it may take in all.")] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Ask a served model about rows.

    For example:

        learnloop predict learner_outcome --file rows.json

        learnloop predict learner_outcome --row '{"clicks": 12}' --label canary --grpc

        learnloop predict exams --learner 28400

        learnloop predict exams --row '{"x": 1}' --url https://models.school:8501 --ca school.pem

    A learner's features are those that the feature service of the model's name gives now. The
    prediction is logged under a pseudonym where LEARNLOOP_PSEUDONYM_KEYS holds a key.
    """
    from serving.client import PredictionClient, Security
    from serving.client.endpoint import Endpoint

    rows = [_row(text, f"--row {number}") for number, text in enumerate(row, 1)]
    if file is not None:
        rows += _rows_of(file)
    subject = ""
    if learner:
        rows, subject = _completed(model, learner, rows or [{}])
    if not rows:
        raise UsageError(
            "There is no row to ask about.",
            where="learnloop predict",
            expected="--row with a JSON object, --file or --learner",
            next="learnloop predict --help",
        )
    address = url or (DEFAULT_GRPC_URL if is_grpc else DEFAULT_URL)
    if is_grpc and not address.startswith("grpc"):
        raise UsageError(
            "This is no address for gRPC.",
            where="--url",
            expected="grpc://host:port or grpcs://host:port",
            received=address,
        )
    files = {"--ca": authority, "--certificate": certificate, "--key": key}
    named = [option for option, path in files.items() if path is not None]
    if named and not Endpoint.parse(address).is_encrypted:
        raise UsageError(
            "Files of TLS are of no use without TLS.",
            where=", ".join(named),
            expected="--url https://host:port or grpcs://host:port",
            received=address,
        )
    security = Security(authority, certificate, key)
    with PredictionClient(address, timeout=timeout, security=security) as client:
        answered = client.predict(
            model,
            rows,
            signature=signature,
            version=version,
            label=label,
            subject=subject or (),
        )
    if as_json:
        told = {"model": model, "version": answered.version, "label": label or None}
        typer.echo(json.dumps({**told, "outputs": answered.outputs}, default=_text))
        return
    names = list(answered.outputs)
    typer.echo("\t".join(names))
    for values in zip(*answered.outputs.values(), strict=True):
        typer.echo("\t".join(json.dumps(value, default=_text) for value in values))


def _completed(
    model: str, learner: str, rows: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], str]:
    """The rows with the learner's features, and the learner's pseudonym if there is a key."""
    from feature_store.pseudonyms import load_keyring_if_any
    from feature_store.store import FeatureStore
    from serving.client.learner import complete_rows
    from serving.client.subject import pseudonym

    keyring = load_keyring_if_any()
    subject = "" if keyring is None else pseudonym(learner, keyring)
    return complete_rows(FeatureStore(), model, learner, rows), subject


def _rows_of(file: Path) -> list[dict[str, Any]]:
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise UsageError(
            "The file of rows cannot be read.",
            where=file,
            expected="a JSON file",
            received=getattr(fault, "strerror", None) or "bytes that are no text",
        ) from None
    found = _parsed(text, str(file), "a JSON list of objects")
    if not isinstance(found, list):
        found = [found]
    return [_object(entry, f"{file}, row {number}") for number, entry in enumerate(found, 1)]


def _row(text: str, where: str) -> dict[str, Any]:
    return _object(_parsed(text, where, 'a JSON object, as {"clicks": 12}'), where)


def _parsed(text: str, where: str, expected: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as fault:
        raise UsageError(
            "The rows are not JSON.", where=where, expected=expected, received=fault
        ) from None


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(
            "A row is an object with a value by column.",
            where=where,
            expected='an object, as {"clicks": 12}',
            received=f"a JSON {type(value).__name__}",
        )
    return value


def _text(value: Any) -> str:
    return str(value.decode("utf-8", "backslashreplace"))
