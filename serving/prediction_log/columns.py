"""Notes of answered requests, laid out in columns: a row a prediction.

Columns of every row are in :data:`BASE`. The raw features follow as ``feature.NAME``, typed as the
model takes them; where only a digest may be kept they are null, and ``digest`` is a keyed hash by
which equal rows can be told, but not read. Answers that are not one number a row follow as
``answer.NAME``.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from feature_store.pseudonyms import PseudonymKey
from serving.client.subject import DIGEST_ONLY, LOG_HEADER, SUBJECT_HEADER, is_pseudonym
from serving.server.contract import Tensors

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

FEATURE = "feature."
ANSWER = "answer."
ROW = "row of features"
"""What the digests identify, as :meth:`PseudonymKey.digest` calls it."""


class Note(NamedTuple):
    """What was seen of one answered request.

    Args:
        time: When it was answered, in seconds since 1970.
        model: The model's name.
        version: The version that answered.
        label: The label that was asked, None where none was.
        signature: The signature's name.
        inputs: The request's arrays.
        outputs: The answer's arrays.
        metadata: The request's headers.
        seconds: From the request's arrival to the answer.
    """

    time: float
    model: str
    version: int
    label: str | None
    signature: str
    inputs: Tensors
    outputs: Tensors
    metadata: Mapping[str, str]
    seconds: float

    @property
    def rows(self) -> int:
        """How many predictions were asked for at once."""
        return len(next(iter(self.outputs.values()), ()))

    @property
    def is_raw(self) -> bool:
        """Whether its raw features may be kept."""
        return self.metadata.get(LOG_HEADER) != DIGEST_ONLY

    @property
    def kind(self) -> tuple[Any, ...]:
        """What notes must share to be laid out together."""
        names = (*self.inputs, None, *self.outputs)
        return self.model, self.version, self.signature, self.is_raw, names


def base_schema() -> pa.Schema:
    """The columns that every row has."""
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("time", pa.timestamp("us", "UTC"), nullable=False),
            pa.field("model", pa.string(), nullable=False),
            pa.field("version", pa.int64(), nullable=False),
            pa.field("label", pa.string()),
            pa.field("signature", pa.string(), nullable=False),
            pa.field("subject", pa.string()),
            pa.field("seconds", pa.float64(), nullable=False),
            pa.field("share", pa.float64(), nullable=False),
            pa.field("score", pa.float64()),
            pa.field("digest", pa.string()),
        ]
    )


class Layout:
    """Lays notes out.

    Args:
        key: Keys the digests; equal keys let equal rows be told.
        share: The share of requests that is logged; written beside each row, so that counts can
            be scaled up.
        keeps_features: Whether raw features are kept at all.
    """

    def __init__(self, key: PseudonymKey, share: float, *, keeps_features: bool) -> None:
        self._key = key
        self._share = share
        self._keeps_features = keeps_features
        self.unfit_subjects = 0

    def batch(self, notes: Sequence[Note]) -> pa.RecordBatch:
        """Lay notes of one :attr:`Note.kind` out.

        Args:
            notes: At least one.
        """
        import numpy as np
        import pyarrow as pa

        first = notes[0]
        counts = np.array([note.rows for note in notes])
        rows = int(counts.sum())
        outputs = {name: [note.outputs[name] for note in notes] for name in first.outputs}
        score = score_of(outputs)
        is_raw = self._keeps_features and first.is_raw
        times = np.array([round(note.time * 1e6) for note in notes], "datetime64[us]")
        found = {
            "time": pa.array(np.repeat(times, counts), pa.timestamp("us", "UTC")),
            "model": _repeated([first.model], [rows], pa.string()),
            "version": _repeated([first.version], [rows], pa.int64()),
            "label": _repeated([note.label for note in notes], counts, pa.string()),
            "signature": _repeated([first.signature], [rows], pa.string()),
            "subject": pa.array(self._subjects(notes), pa.string()),
            "seconds": _repeated([note.seconds for note in notes], counts, pa.float64()),
            "share": pa.array(np.full(rows, self._share)),
            "score": pa.nulls(rows, pa.float64()) if score is None else pa.array(score),
            "digest": pa.nulls(rows, pa.string()) if is_raw else self._digests(notes),
        }
        fields = list(base_schema())
        if self._keeps_features:
            for name in first.inputs:
                column = arrow_of([note.inputs[name] for note in notes])
                kept = column if is_raw else pa.nulls(rows, column.type)
                fields.append(pa.field(FEATURE + name, column.type))
                found[FEATURE + name] = kept
        if score is None:
            for name, arrays in outputs.items():
                found[ANSWER + name] = arrow_of(arrays)
                fields.append(pa.field(ANSWER + name, found[ANSWER + name].type))
        return pa.record_batch(list(found.values()), schema=pa.schema(fields))

    def _subjects(self, notes: Sequence[Note]) -> list[str | None]:
        found: list[str | None] = []
        for note in notes:
            header = note.metadata.get(SUBJECT_HEADER)
            if header is None:
                found += [None] * note.rows
            elif is_pseudonym(header):
                found += [header] * note.rows
            else:
                named = [name.strip() for name in header.split(",")]
                if len(named) == note.rows and all(map(is_pseudonym, named)):
                    found += named
                else:  # perhaps somebody's id: it is not written down
                    self.unfit_subjects += note.rows
                    found += [None] * note.rows
        return found

    def _digests(self, notes: Sequence[Note]) -> pa.Array:
        import pyarrow as pa

        digests = []
        for note in notes:
            columns = [_bytes_of(note.inputs[name]) for name in sorted(note.inputs)]
            for row in zip(*columns, strict=True):
                digests.append(self._key.digest(ROW, b"\0".join(row)).hex())
        return pa.array(digests, pa.string())


def score_of(outputs: Mapping[str, Sequence[npt.NDArray[Any]]]) -> npt.NDArray[np.float64] | None:
    """Find the one number a row that an answer is, if it is.

    Args:
        outputs: The answers' arrays: an output of one number a row, or the classes and scores of
            Classify, of which the last class counts.
    """
    import numpy as np

    if "scores" in outputs and set(outputs) <= {"scores", "classes"}:
        arrays = [array[:, -1] for array in outputs["scores"]]
    elif len(outputs) == 1:
        (arrays,) = outputs.values()  # type: ignore[assignment]
    else:
        return None
    if any(array.dtype.kind not in "fiub" or array.size != len(array) for array in arrays):
        return None
    return np.concatenate([array.reshape(-1) for array in arrays]).astype(np.float64)


def arrow_of(arrays: Sequence[npt.NDArray[Any]]) -> pa.Array:
    """Turn arrays ``[rows, …]`` into one column: values, or lists of them.

    Args:
        arrays: Numbers, or bytes in arrays of objects; bytes that are all UTF-8 become text. Their
            further dimensions may be of unlike sizes.
    """
    import numpy as np
    import pyarrow as pa

    rank = arrays[0].ndim
    flat = np.concatenate(arrays if rank == 1 else [array.reshape(-1) for array in arrays])
    if flat.dtype.hasobject:
        column = pa.array(flat, pa.binary())
        with contextlib.suppress(pa.ArrowInvalid):  # a serialised tf.Example, or text that is none
            column = column.cast(pa.string())
    elif flat.dtype == np.float16:
        column = pa.array(flat.astype(np.float32))
    else:
        column = pa.array(flat)
    for axis in range(rank - 1, 0, -1):
        sizes = [array.shape[axis] for array in arrays]
        lists = [math.prod(array.shape[:axis]) for array in arrays]
        offsets = np.concatenate([[0], np.cumsum(np.repeat(sizes, lists))]).astype(np.int32)
        column = pa.ListArray.from_arrays(pa.array(offsets), column)
    return column


def _bytes_of(array: npt.NDArray[Any]) -> list[bytes]:
    """The content of each row."""
    if not array.dtype.hasobject:
        return [row.tobytes() for row in array]
    rows = array.reshape(len(array), -1).tolist()
    return [b"".join(b"%d:%b" % (len(value), value) for value in row) for row in rows]


def _repeated(values: Sequence[Any], counts: Any, kind: pa.DataType) -> pa.Array:
    """A value for each row of each note."""
    import numpy as np
    import pyarrow as pa

    return pa.array(values, kind).take(pa.array(np.repeat(np.arange(len(values)), counts)))
