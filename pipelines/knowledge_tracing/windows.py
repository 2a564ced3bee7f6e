"""The step from ingested sequences to the windows that are learned from, judged and served."""

from __future__ import annotations

from learnloop.artifacts import Examples, Records
from learnloop.component import Context, Input, Output, component
from learnloop.errors import UsageError


@component
def windows(
    records: Input[Records],
    examples: Output[Examples],
    *,
    fold: int = 1,
    longest: int = 200,
    carried: int = 100,
    context: Context,
) -> None:
    """Cut ingested sequences into windows of skills, responses and labels.

    Args:
        records: The table ``sequences``: ``partition``, ``sequence``, ``skills``, ``responses``.
        examples: Splits ``train``, ``validation`` and ``test`` of windows (:mod:`.cutting`).
        fold: Which ``trainK`` and ``validK`` files to learn from; where there are none, sequences
            of ``train`` are dealt to training and validation by a hash of their number.
        longest: Steps of a window.
        carried: Steps of context that a later window begins with.
        context: Progress.

    Raises:
        UsageError: A window is no longer than its context, or there is nothing to learn from or to
            judge by.
    """
    from pipelines.knowledge_tracing import sequences
    from pipelines.knowledge_tracing.cutting import Layout, cut_windows, windows_schema
    from pipelines.knowledge_tracing.repeated import repeated_pairs

    if not 0 < carried < longest:
        raise UsageError(
            "Windows must be longer than the context that they carry.",
            where="windows",
            expected="0 < carried < longest",
            received=f"carried={carried}, longest={longest}",
        )
    parts = sequences.find_parts(sequences.partitions_of(records), fold)
    learned_from = (parts["train"], parts["validation"])
    pairs = repeated_pairs(
        batch for part in learned_from for batch in sequences.read_part(records, part)
    )
    single = 0
    for split, part in parts.items():
        context.report(f"windows of {split}")
        # Training also learns the first response, so that a learner without history can be asked.
        layout = Layout(longest, carried, first_predicted=0 if split == "train" else 1)
        cut = (cut_windows(batch, layout, pairs) for batch in sequences.read_part(records, part))
        if not examples.write(split, cut, windows_schema()):
            raise UsageError(
                f"The split '{split}' is empty.",
                where=f"partition '{part.partition}'",
                expected="sequences of 2 responses and more",
                received="none",
                next="take a source with more sequences",
            )
        single += sequences.count_single(records, part)
    examples.describe(longest=longest, carried=carried, sequences_of_length_1=single)
