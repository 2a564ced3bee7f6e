"""``learnloop lineage``: where an artifact comes from."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from learnloop.cli.output import print_json
from learnloop.errors import UsageError
from learnloop.ledger import ArtifactRecord, Ledger
from learnloop.ledger.erasing import erased_since, tell_erased


def lineage(
    artifact: Annotated[
        str, typer.Argument(help="A URI, or the beginning of an id or content digest.")
    ],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what an artifact was made of, back to the sources."""
    from learnloop.ledger import open_ledger
    from learnloop.settings import load_settings

    ledger = open_ledger(load_settings().ledger_url)
    found = ledger.find_artifacts(artifact.rstrip("/"))
    if not found:
        raise UsageError(
            f"There is no artifact '{artifact}'.",
            expected="a URI, an id or a content digest, as `learnloop run --json` prints",
            received=repr(artifact),
            next="learnloop show latest --json",
        )
    tree = _trace(found[0], ledger)
    if json:
        print_json(tree)
    else:
        _print_tree(tree, "")


def _trace(record: ArtifactRecord, ledger: Ledger) -> dict[str, Any]:
    made_by = ledger.producer(record.id)
    run = ledger.run(made_by.run_id)
    erased = erased_since(ledger, [record.id]).get(record.id)
    return {
        "artifact": f"{made_by.step}.{record.output}",
        "type": record.type.rpartition(":")[2],
        "content_digest": record.content_digest,
        "uri": record.uri,
        "run_id": run.id,
        "git_commit": run.git_commit,
        "erased": tell_erased(*erased) if erased else None,
        "inputs": [_trace(source, ledger) for _, source in ledger.inputs(made_by.id)],
    }


def _print_tree(tree: dict[str, Any], indent: str) -> None:
    digest = tree["content_digest"][:12]
    told = ", ".join(filter(None, (f"{tree['type']} {digest}", tree["run_id"], tree["erased"])))
    print(f"{indent}{tree['artifact']} ({told})")
    for source in tree["inputs"]:
        _print_tree(source, indent + "  ")
