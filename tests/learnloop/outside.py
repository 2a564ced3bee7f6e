"""Components that see more than their inputs: a source, a curated file, an alias, a target."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from learnloop.artifacts import Artifact, Evaluation, digest_file
from learnloop.component import File, Input, Output, component
from learnloop.pipeline import pipeline
from learnloop.settings import Settings


def digest_source(parameters: Mapping[str, Any], settings: Settings) -> dict[str, str]:
    return {"source": digest_file(Path(parameters["source"]))}


def version_behind_alias(parameters: Mapping[str, Any], settings: Settings) -> dict[str, str]:
    return {"version": Path(parameters["alias"]).read_text()}


def check_published(outputs: Mapping[str, Artifact], settings: Settings) -> str:
    record = outputs["record"]
    assert isinstance(record, Evaluation)
    target, value = Path(record.load()["target"]), record.load()["value"]
    if target.is_file() and target.read_text() == str(value):
        return ""
    return f"The target does not hold {value}."


@component(resolve=digest_source)
def read(number: Output[Evaluation], *, source: str, salt: int) -> None:
    """Read a number; ``salt`` keeps one test's results apart from another's."""
    number.write({"value": int(Path(source).read_text()), "salt": salt})


@component
def scale(one: Input[Evaluation], number: Output[Evaluation], *, factor: int, offset: File) -> None:
    """Multiply and shift."""
    read = one.load()
    value = read["value"] * factor + int(offset.read_text())
    number.write({"value": value, "salt": read["salt"]})


@component(check_target=check_published)
def publish(one: Input[Evaluation], record: Output[Evaluation], *, target: str) -> None:
    """Write a number to a place outside the store."""
    value = one.load()["value"]
    Path(target).write_text(str(value))
    record.write({"value": value, "target": target})


@component(resolve=version_behind_alias)
def compare(one: Input[Evaluation], number: Output[Evaluation], *, alias: str) -> None:
    """Compare with the version behind an alias."""
    champion = int(Path(alias).read_text())
    number.write({"value": one.load()["value"] - 10 * champion})


@pipeline
def outside(folder: str, salt: int, factor: int) -> None:
    """Take a number from outside, and bring it there."""
    scaled = scale(
        read(source=f"{folder}/source", salt=salt).number,
        factor=factor,
        offset=File(f"{folder}/offset"),
    )
    publish(scaled.number, target=f"{folder}/target")
    compare(scaled.number, alias=f"{folder}/alias")
