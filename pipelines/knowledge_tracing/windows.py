"""The step from ingested sequences to the windows that are learned from, judged and served."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from feature_store.fields import EVENT_TIMESTAMP
from learnloop.artifacts import Examples, Records
from learnloop.component import Context, Input, Output, component
from learnloop.errors import UsageError
from pipelines.knowledge_tracing.columns import AS_OF, HISTORY, LEARNER, VIEW

if TYPE_CHECKING:
    import pyarrow as pa


@component
def windows(
    records: Input[Records],
    entities: Output[Examples],
    features: Output[Records],
    *,
    fold: int = 1,
    longest: int = 200,
    carried: int = 100,
    context: Context,
) -> None:
    """Cut ingested sequences into windows: what is asked and answered, and the history before it.

    Args:
        records: The table ``sequences``: ``partition``, ``sequence``, ``skills``, ``responses``.
        entities: ``train``, ``validation`` and ``test``: windows (:mod:`.cutting`) without history.
        features: The rows of the feature view ``practice_history``: the history of each window.
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

    def cut(columns: dict[str, str]) -> Iterator[tuple[str, Iterator[pa.RecordBatch]]]:
        """The windows by split, with some of their columns under other names."""
        for split, part in parts.items():
            # Training also learns the first response, so that whoever is new can be asked.
            layout = Layout(longest, carried, first_predicted=0 if split == "train" else 1)
            batches = sequences.read_part(records, part)
            yield split, (_chosen(cut_windows(one, layout, pairs), columns) for one in batches)

    context.report("histories")
    history = {name: name for name in (LEARNER, AS_OF, *HISTORY)}
    features.write(VIEW, (batch for _, batches in cut(history) for batch in batches))
    asked = {LEARNER: LEARNER, AS_OF: EVENT_TIMESTAMP} | {
        name: name for name in windows_schema().names if name not in history
    }
    for split, batches in cut(asked):
        context.report(f"windows of {split}")
        if not entities.write(split, batches):
            raise UsageError(
                f"The split '{split}' is empty.",
                where=f"partition '{parts[split].partition}'",
                expected="sequences of 2 responses and more",
                received="none",
                next="take a source with more sequences",
            )
    single = sum(sequences.count_single(records, part) for part in parts.values())
    entities.describe(longest=longest, carried=carried, sequences_of_length_1=single)


def _chosen(batch: pa.RecordBatch, columns: dict[str, str]) -> pa.RecordBatch:
    import pyarrow as pa

    return pa.RecordBatch.from_arrays([batch.column(n) for n in columns], list(columns.values()))
