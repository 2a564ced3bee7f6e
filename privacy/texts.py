"""Files of text in which somebody may be named though nobody should be: logs, reports, documents.

The framework writes no identifier there; code of a pipeline's author may. What is found is told and
left, since the same digits may be a number of something else.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from learnloop.settings import Settings

LEAST_CHARACTERS = 5
"""A shorter identifier, as 8, is found in every file by chance."""

SUFFIXES = (".log", ".html", ".json", ".txt", ".md", ".pbtxt")


def files_naming(settings: Settings, learner: str) -> list[str]:
    """Find files that have an identifier as one of their words.

    Args:
        settings: Names the home folder, with artifacts, logs, reports and MLflow's files, and the
            folder of published models.
        learner: The identifier.

    Returns:
        A sentence a file.
    """
    if len(learner) < LEAST_CHARACTERS:
        return []
    word = re.compile(rb"(?<![\w.])" + re.escape(learner.encode()) + rb"(?![\w.])")
    folders = [settings.home_folder]
    for location in (settings.store_location, settings.serving_location):
        if not location.startswith("s3://"):
            folders.append(Path(location))
    files = {
        Path(parent, name)
        for folder in folders
        for parent, _, names in os.walk(folder)  # which passes over what vanishes meanwhile
        for name in names
        if name.endswith(SUFFIXES)
    }
    return [
        f"{str(file).replace(learner, '…')} has the same text, of the person or by chance: look"
        for file in sorted(files)
        if _has(file, word)
    ]


def _has(file: Path, word: re.Pattern[bytes]) -> bool:
    try:
        return word.search(file.read_bytes()) is not None
    except FileNotFoundError:
        return False  # a step that has ended meanwhile removed it
