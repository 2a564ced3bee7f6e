"""Models that are published without TensorFlow: a few files that look like a SavedModel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from serving.publish import Publication


def saved_model(folder: Path, content: str = "weights") -> Path:
    """Write a folder with a SavedModel's files."""
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_text(f"graph of {content}")
    (folder / "variables" / "variables.index").write_text("index")
    (folder / "variables" / "variables.data-00000-of-00001").write_text(content * 1000)
    (folder / "assets").mkdir()
    (folder / "assets" / "vocabulary.txt").write_text("algebra\nlogic\n")
    return folder


def publication(
    folder: Path, version: int, content: str = "", lineage: Mapping[str, str] = {}
) -> Publication:
    """Make something to publish; its digest is its content."""
    content = content or f"weights of {version}"
    place = folder / f"model-{version}-{abs(hash(content))}"
    if not place.exists():
        saved_model(place, content)
    return Publication(place, version, content, lineage)
