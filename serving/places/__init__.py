"""Where models are published: a folder or S3, one protocol.

::

    <base>/rollout.json                     which version of each model callers get
    <base>/models.config, batching.config, monitoring.config
    <base>/<model>/<version>/…              with manifest.json

A place keeps two promises: a version that can be seen is whole, and of two writers who change the
document at once each sees the other's change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from learnloop.settings import Settings
from serving.publish import Publication, PublishedVersion
from serving.state import Rollout


class Place(Protocol):
    """A base folder of published models."""

    @property
    def location(self) -> str:
        """The folder or URI."""

    def publish(self, name: str, publication: Publication) -> PublishedVersion:
        """Put a version there, all of it or nothing; no server is told of it yet.

        Raises:
            UsageError: Another model is published under this number.
            LearnLoopError: The disk or S3 failed.
        """

    def find(self, name: str, version: int) -> PublishedVersion | None:
        """Look up a version by its manifest; None where there is no whole one."""

    def why_not_as_published(self, name: str, version: int) -> str:
        """Compare a version with its manifest: "" or a sentence that says what is not as it was."""

    def remove(self, name: str, version: int) -> None:
        """Remove a version, which stops being one before its first file goes."""

    def read(self) -> Rollout:
        """Read the document; an empty one where nothing was published."""

    def change(self, change: Callable[[Rollout], Rollout]) -> Rollout:
        """Change the document, and the files made from it, while nobody else does.

        Args:
            change: A pure function, which may be called again on a newer document.

        Returns:
            The document as it is now.
        """

    def is_current(self) -> bool:
        """Tell whether ``models.config`` is what the document makes of it."""


def open_place(settings: Settings) -> Place:
    """Open the place that the settings name.

    Args:
        settings: Where models are published, and where servers see them.
    """
    location = settings.serving_location
    mount = settings.serving_mount or location
    if location.startswith("s3://"):
        from serving.places.bucket import BucketPlace

        return BucketPlace.open(location, mount, settings.home_folder)
    from serving.places.folder import FolderPlace

    return FolderPlace(settings.serving_folder, mount)
