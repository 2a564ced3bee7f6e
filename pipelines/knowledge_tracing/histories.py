"""From learner events to histories: what each learner has practised until now."""

from __future__ import annotations

from learnloop.artifacts import Records
from learnloop.component import Input, Output, component
from learnloop.errors import UsageError
from pipelines.knowledge_tracing.columns import AS_OF, HISTORY, LEARNER, VIEW

TABLE = "attempt"


@component
def histories(records: Input[Records], features: Output[Records], *, longest: int = 199) -> None:
    """Put the attempts of each learner in order of time.

    Args:
        records: Learner events, of which the table ``attempt`` is read.
        features: The rows of the feature view ``practice_history``: for each learner the last
            attempts, as of the last one.
        longest: The most attempts of a learner that are kept.

    Raises:
        UsageError: There are no attempts.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from feature_store.online.reading import one_piece

    if not records.counts.get(TABLE):
        raise UsageError(
            "There are no attempts among the events.",
            where="input 'records'",
            expected=f"rows of the table '{TABLE}'",
            received=", ".join(name for name, rows in records.counts.items() if rows) or "nothing",
        )
    attempts = records.table(TABLE, [LEARNER, "at", "source", "sequence", "skill", "correct"])
    order = [(name, "ascending") for name in (LEARNER, "at", "source", "sequence")]
    attempts = attempts.take(pc.sort_indices(attempts, sort_keys=order))
    learners = one_piece(attempts[LEARNER]).dictionary_encode().indices.to_numpy()
    ends = np.append(np.flatnonzero(np.diff(learners)), attempts.num_rows - 1)
    counts = np.diff(ends, prepend=-1)
    left = np.repeat(ends, counts) - np.arange(attempts.num_rows)  # attempts that come later
    kept = attempts.filter(pa.array(left < longest))
    offsets = pa.array(np.append(0, np.cumsum(np.minimum(counts, longest))).astype(np.int32))
    lists = [
        pa.ListArray.from_arrays(offsets, one_piece(values))
        for values in (kept["skill"], kept["correct"].cast(pa.int64()))
    ]
    last = attempts.select([LEARNER, "at"]).take(pa.array(ends))
    columns = {LEARNER: last[LEARNER], AS_OF: last["at"], **dict(zip(HISTORY, lists, strict=True))}
    features.write(VIEW, pa.table(columns))
