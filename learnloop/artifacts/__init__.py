"""Typed artifacts: what a step reads and writes.

An artifact is a folder with a typed reader and writer, small metadata, and a content digest that is
canonical for its type. The folder describes itself in ``_artifact.json``. While a step runs, its
output folders are private; once the step has returned the store publishes them and they are only
ever read. Where folders live is :mod:`learnloop.store`'s business.
"""

from learnloop.artifacts.base import DESCRIPTION, Artifact, digest_file, digest_folder
from learnloop.artifacts.kinds import (
    Blessing,
    Evaluation,
    Model,
    MonitoringReport,
    PublishedModel,
    RegisteredModel,
    Schema,
    Statistics,
    TransformGraph,
    ValidationReport,
)
from learnloop.artifacts.tables import Examples, Records

__all__ = [
    "DESCRIPTION",
    "Artifact",
    "Blessing",
    "Evaluation",
    "Examples",
    "Model",
    "MonitoringReport",
    "PublishedModel",
    "Records",
    "RegisteredModel",
    "Schema",
    "Statistics",
    "TransformGraph",
    "ValidationReport",
    "digest_file",
    "digest_folder",
]
