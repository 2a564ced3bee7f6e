"""Analyze the training split and transform every split, with real TensorFlow Transform.

What the graph learns (means, vocabularies, quantiles) it learns from one split only, so that
nothing of the validation or test rows reaches training. The graph goes into the exported model, so
that serving repeats exactly what is done here; evaluation reads the raw examples.
"""

from __future__ import annotations

import hashlib
from typing import Literal

from learnloop.artifacts import Examples, Schema, TransformGraph
from learnloop.component import CodeReference, Context, Input, Output, Resources, component
from learnloop.errors import UsageError, closest
from learnloop.fingerprint import code_digest


@component(resources=Resources(cpus=2.0, memory_gib=4.0))
def transform(
    examples: Input[Examples],
    schema: Input[Schema],
    transform_graph: Output[TransformGraph],
    transformed: Output[Examples],
    *,
    preprocessing: CodeReference,
    analyze_split: str = "train",
    engine: Literal["memory", "beam"] = "memory",
    context: Context,
) -> None:
    """Fit the features on the training split and apply them to every split.

    Args:
        examples: Raw rows by split.
        schema: The curated schema of the raw features; columns beyond it are left out.
        transform_graph: The fitted graph, which ``tft.TFTransformOutput`` opens.
        transformed: The transformed rows, with the splits of ``examples``.
        preprocessing: The TensorFlow Transform ``preprocessing_fn``.
        analyze_split: The only split that the graph learns from.
        engine: ``memory`` needs Beam only for an analyzer that it does not claim; ``beam`` always
            takes Beam.
        context: Progress.

    Raises:
        UsageError: The data lacks a feature, a value does not fit the schema, or there is no such
            split.
    """
    from components.engines.transform import (
        Transformer,
        digest_transform_graph,
        fit_transform_graph,
    )

    if analyze_split not in examples.names:
        raise UsageError(
            "There is no such split to analyze.",
            where="examples",
            expected=closest(analyze_split, examples.names),
            received=repr(analyze_split),
        )
    context.report(f"analyze {analyze_split}", rows=examples.counts[analyze_split])
    report = fit_transform_graph(
        preprocessing.load(),
        schema.load(),
        lambda: examples.batches(analyze_split),
        transform_graph.path,
        engine=engine,
    )
    transform_graph.describe(
        analyzed=analyze_split,
        engine=report.engine,
        reason=report.reason,
        features=list(report.used),
    )
    learned = digest_transform_graph(transform_graph.path)
    transform_graph.set_content_digest(
        hashlib.sha256(f"{learned} {code_digest(preprocessing)}".encode()).hexdigest()
    )
    transformer = Transformer.load(transform_graph.path)
    for split in examples.names:
        context.report(f"transform {split}", rows=examples.counts[split])
        batches = transformer(examples.batches(split), where=f"split {split}")
        transformed.write(split, batches, transformer.schema)
