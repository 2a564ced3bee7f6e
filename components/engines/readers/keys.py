"""Keys met so far, in eight bytes each.

Keys are remembered as 64-bit polynomial hashes of their text (the chance that any two of ten
million different keys collide is 3 in a million), in sorted runs that are merged as they grow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

_MULTIPLIER = 6364136223846793005
_SEPARATOR = "\x1f"


class SeenKeys:
    """The keys met so far.

    Example:
        >>> import numpy as np
        >>> seen = SeenKeys()
        >>> seen.repeats(np.array([7, 8, 7], np.uint64)).tolist()
        [False, False, True]
        >>> seen.repeats(np.array([9, 8], np.uint64)).tolist()
        [False, True]
    """

    def __init__(self) -> None:
        self._runs: list[NDArray[np.uint64]] = []

    def repeats(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Tell which keys were met before, here or in an earlier call, and remember all.

        Args:
            hashes: Keys, uint64.

        Returns:
            A bool array, True where a key repeats an earlier one.
        """
        import numpy as np

        new, first = np.unique(hashes, return_index=True)
        is_repeat = np.ones(len(hashes), bool)
        is_repeat[first] = False
        for run in self._runs:
            place = np.minimum(np.searchsorted(run, hashes), len(run) - 1)
            is_repeat |= run[place] == hashes
        self._runs.append(new)
        while len(self._runs) > 1 and len(self._runs[-2]) < 2 * len(self._runs[-1]):
            self._runs[-2:] = [np.union1d(self._runs[-2], self._runs[-1])]
        return is_repeat


def hash_rows(columns: Sequence[pa.Array]) -> NDArray[np.uint64]:
    """Hash rows over some columns.

    Args:
        columns: Arrays of one length, of types that cast to text.

    Returns:
        A uint64 array, the same on every machine.

    Example:
        >>> import pyarrow as pa
        >>> hashes = hash_rows([pa.array(["a", "b", "a"]), pa.array([1, 1, 1])])
        >>> bool(hashes[0] == hashes[2]), bool(hashes[0] == hashes[1])
        (True, False)
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = [column.cast(pa.string()).fill_null("\0") for column in columns]
    joined = pc.binary_join_element_wise(*texts, _SEPARATOR, _SEPARATOR)
    count = len(joined)
    _, offset_bytes, text_bytes = joined.buffers()
    offsets = np.frombuffer(offset_bytes, np.int32, count + 1, joined.offset * 4)
    first, last = int(offsets[0]), int(offsets[-1])
    characters = np.frombuffer(text_bytes, np.uint8, last)[first:].astype(np.uint64)
    starts = offsets[:-1] - first
    within = np.arange(last - first) - np.repeat(starts, np.diff(offsets))
    powers = np.full(int(within.max(initial=0)) + 1, _MULTIPLIER, np.uint64)
    powers[0] = 1
    np.multiply.accumulate(powers, out=powers)
    hashes: NDArray[np.uint64] = np.add.reduceat(
        (characters + np.uint64(1)) * powers[within], starts
    )
    return hashes
