"""Questions and answers, whatever protocol carries them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from serving.server.contract import Code, Signature, VersionStatus

Operation = Literal["predict", "classify", "regress", "status", "metadata"]
Row = Mapping[str, Any]
Columns = Mapping[str, Any]
"""Values by input name: nested sequences or numpy arrays of equal first dimension."""


@dataclass(frozen=True)
class Question:
    """One question to a model.

    Args:
        operation: What is asked.
        model: The model's name.
        version: The version asked; None for the one that the label or the server chooses.
        label: The label asked; "" for none.
        signature: The signature's name; "" for the server's default.
        columns: Of a ``predict``: values by input name.
        examples: Of a ``classify`` or ``regress``: values by feature name, a mapping a row.
        specification: The signature as the server described it, for a ``predict``.
        headers: What goes along as headers or metadata; names in lower case.
    """

    operation: Operation
    model: str
    version: int | None = None
    label: str = ""
    signature: str = ""
    columns: Columns | None = None
    examples: Sequence[Row] = ()
    specification: Signature | None = None
    headers: Mapping[str, str] | None = None

    def of_label(self, label: str) -> Question:
        """The same question to another label."""
        return replace(self, label=label)

    @property
    def asked(self) -> str:
        """The model as a person names it: with the version or label that was asked."""
        if self.version is not None:
            return f"{self.model} version {self.version}"
        return f"{self.model} {self.label}".strip()


@dataclass(frozen=True)
class Prediction:
    """What a model answered.

    Args:
        outputs: Values by output name, an entry a row.
        model: The model's name.
        version: The version that answered, where the protocol tells (gRPC does).
        label: The label that was asked; "" for none.
        attempts: How often the question was sent.
    """

    outputs: Mapping[str, list[Any]]
    model: str
    version: int | None
    label: str
    attempts: int

    @property
    def scores(self) -> list[Any]:
        """The values of the only output.

        Raises:
            ValueError: There are several outputs.
        """
        (values,) = self.outputs.values()
        return values


@dataclass(frozen=True)
class Classified:
    """The classes that a model gave, an entry a row.

    Args:
        classes: Of each row, the score by class.
        model: The model's name.
        version: The version that answered, where the protocol tells (gRPC does).
        label: The label that was asked; "" for none.
        attempts: How often the question was sent.
    """

    classes: list[dict[str, float]]
    model: str
    version: int | None
    label: str
    attempts: int


@dataclass(frozen=True)
class Answer:
    """What came back over a protocol.

    Args:
        value: Outputs by name, classes, numbers, statuses or signatures, as the operation has it.
        version: The version that answered, where the protocol tells.
    """

    value: Any
    version: int | None = None


@dataclass(frozen=True)
class Failure:
    """Why an attempt has no answer.

    Args:
        code: The canonical code.
        message: The server's sentence, or what the network met.
        retry_after: The least pause in seconds that the server asked for.
        is_refused_locally: Whether the question was never sent, because the circuit is open.
        is_unreachable: Whether nothing listens there.
    """

    code: Code
    message: str
    retry_after: float | None = None
    is_refused_locally: bool = False
    is_unreachable: bool = False


Signatures = Mapping[str, Signature]
Statuses = list[VersionStatus]
