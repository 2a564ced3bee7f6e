"""Answers that are stored once for each skill tag, and so can be read off the row before.

The preparation of ASSISTments 2009 repeats the response to an item once for every skill that the
item is tagged with. Whoever predicts the second row has been told the answer by the first; a figure
over all rows flatters, so a second figure leaves such rows out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from pipelines.knowledge_tracing.sequences import Integers, lengths_of, starts_of

if TYPE_CHECKING:
    import pyarrow as pa

REPEATED_TIMES = 50
REPEATED_SHARE = 0.98
"""Two skills that follow each other this often with the same response are one answer, stored once
for each skill tag: on assist2009_updated (training and test) 34 pairs and 48,111 rows.
"""

Pairs = frozenset[tuple[str, str]]


def repeated_pairs(batches: Iterable[pa.RecordBatch]) -> Pairs:
    """Find the pairs of skills that are two tags of one answer.

    Args:
        batches: Rows of the ingested table, of training and validation only.

    Returns:
        Pairs (skill, next skill); see :data:`REPEATED_TIMES`.
    """
    together: Counter[tuple[str, str]] = Counter()
    agreed: Counter[tuple[str, str]] = Counter()
    for batch in batches:
        pair, names = _consecutive(batch.column("skills").flatten(), lengths_of(batch))
        responses = batch.column("responses").flatten().to_numpy()
        same = np.append(False, responses[1:] == responses[:-1])
        for counter, chosen in ((together, pair >= 0), (agreed, (pair >= 0) & same)):
            codes, times = np.unique(pair[chosen], return_counts=True)
            for code, count in zip(codes.tolist(), times.tolist(), strict=True):
                before, after = divmod(code, len(names))
                counter[names[before], names[after]] += count
    return frozenset(
        pair
        for pair, times in together.items()
        if times >= REPEATED_TIMES and agreed[pair] >= REPEATED_SHARE * times
    )


def is_repeated(skills: pa.Array, lengths: Integers, pairs: Pairs) -> Integers:
    """Mark the steps whose response repeats the step before.

    Args:
        skills: `[steps]`, rows end to end.
        lengths: int64 `[rows]`: steps of each row.
        pairs: What :func:`repeated_pairs` found.

    Returns:
        int64 `[steps]`, 0 or 1.
    """
    codes, names = _consecutive(skills, lengths)
    place = {name: index for index, name in enumerate(names)}
    known = [
        place[before] * len(names) + place[after]
        for before, after in pairs
        if before in place and after in place
    ]
    return np.isin(codes, known).astype(np.int64)


def _consecutive(skills: pa.Array, lengths: Integers) -> tuple[Integers, list[str]]:
    """Number the pair (skill before, skill) of each step; -1 where there is no other skill before.

    Returns:
        Codes `before * len(names) + after`, and the names.
    """
    encoded = skills.dictionary_encode()
    names: list[str] = encoded.dictionary.to_pylist()
    skill = encoded.indices.to_numpy().astype(np.int64)
    code = np.full(len(skill), -1, np.int64)
    code[1:] = np.where(skill[1:] != skill[:-1], skill[:-1] * len(names) + skill[1:], -1)
    code[starts_of(lengths)[lengths > 0]] = -1
    return code, names
