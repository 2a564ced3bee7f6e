"""What a column is: its name, its type, and what it says about a person.

The sensitivity of a field is part of its type: whoever reads a field that is not ``none`` has to
declare a purpose that its view permits, and is refused before any read otherwise (``asking.py``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING

from learnloop.errors import UsageError, closest

if TYPE_CHECKING:
    import pyarrow as pa

EVENT_TIMESTAMP = "event_timestamp"
"""The column of the entity rows, and of the answer, with the moment that is asked about."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")


class FeatureType(StrEnum):
    """The type of a field; the value is how it is written in the registry."""

    BOOL = "bool"
    INT32 = "int32"
    INT64 = "int64"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    STRING = "string"
    BYTES = "bytes"
    TIMESTAMP = "timestamp"
    INT64_LIST = "int64_list"
    FLOAT32_LIST = "float32_list"
    STRING_LIST = "string_list"

    @property
    def arrow(self) -> pa.DataType:
        """The Arrow type that values of this type have everywhere in the store."""
        return _arrow_types()[self]

    def widens_to(self, other: FeatureType) -> bool:
        """Whether every value of this type is, unchanged, a value of another.

        Args:
            other: The other type; a type widens to itself.

        Example:
            >>> FeatureType.INT32.widens_to(FeatureType.FLOAT64)
            True
        """
        return self is other or other in _WIDER.get(self, ())


@cache
def _arrow_types() -> Mapping[FeatureType, pa.DataType]:
    """The Arrow types, made once: an online read asks for many in microseconds."""
    import pyarrow as pa

    return {
        FeatureType.BOOL: pa.bool_(),
        FeatureType.INT32: pa.int32(),
        FeatureType.INT64: pa.int64(),
        FeatureType.FLOAT32: pa.float32(),
        FeatureType.FLOAT64: pa.float64(),
        FeatureType.STRING: pa.string(),
        FeatureType.BYTES: pa.binary(),
        FeatureType.TIMESTAMP: pa.timestamp("us", "UTC"),
        FeatureType.INT64_LIST: pa.list_(pa.int64()),
        FeatureType.FLOAT32_LIST: pa.list_(pa.float32()),
        FeatureType.STRING_LIST: pa.list_(pa.string()),
    }


_WIDER = {
    FeatureType.BOOL: (FeatureType.INT32, FeatureType.INT64),
    FeatureType.INT32: (FeatureType.INT64, FeatureType.FLOAT64),
    FeatureType.FLOAT32: (FeatureType.FLOAT64,),
}

KEY_TYPES = (FeatureType.INT32, FeatureType.INT64, FeatureType.STRING)
"""The types that a join key may have: those that are equal or not, without rounding."""


class Sensitivity(StrEnum):
    """What a column says about a person."""

    NONE = "none"
    BEHAVIOURAL = "behavioural"
    PROTECTED = "protected"
    UNDER_AGE = "under_age"
    IDENTIFIER = "identifier"


@dataclass(frozen=True)
class Field:
    """A column of a view, or a join key of an entity.

    Args:
        name: Small letters, digits and underscores; the column's name in the source.
        dtype: Its type.
        sensitivity: What it says about a person.
        description: One sentence for the catalogue.
        formerly: Names that the field had in earlier versions, so that rows written then can be
            read now.

    Raises:
        UsageError: The name is none, or is kept for the store.

    Example:
        >>> Field("clicks", FeatureType.INT64, Sensitivity.BEHAVIOURAL).name
        'clicks'
    """

    name: str
    dtype: FeatureType
    sensitivity: Sensitivity = Sensitivity.NONE
    description: str = ""
    formerly: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_name(self.name, "field")
        if self.name == EVENT_TIMESTAMP:
            raise UsageError(
                f"No field can be named '{EVENT_TIMESTAMP}'.",
                where=f"field '{self.name}'",
                expected="another name: this one is the moment that is asked about",
                received=repr(self.name),
            )
        check_member(self.dtype, FeatureType, f"field '{self.name}', dtype")
        check_member(self.sensitivity, Sensitivity, f"field '{self.name}', sensitivity")


@dataclass(frozen=True)
class Entity:
    """Whom or what features are about: a learner, an enrolment, a learner and a skill.

    Args:
        name: The entity's name.
        join_keys: The columns that name one of them, in order; several make a composite key.
        description: One sentence for the catalogue.

    Raises:
        UsageError: No join key, a repeated one, or one of a type that cannot be compared.

    Example:
        >>> learner = Entity("learner", (Field("learner", FeatureType.INT64),))
        >>> learner.key_names
        ('learner',)
    """

    name: str
    join_keys: tuple[Field, ...]
    description: str = ""

    def __post_init__(self) -> None:
        check_name(self.name, "entity")
        where = f"entity '{self.name}', join_keys"
        object.__setattr__(self, "join_keys", tuple(self.join_keys))
        if not self.join_keys:
            raise UsageError(
                "An entity needs a join key.",
                where=where,
                expected="at least one Field",
                received="none",
            )
        check_distinct(self.key_names, where)
        for key in self.join_keys:
            if key.dtype not in KEY_TYPES:
                raise UsageError(
                    f"Values of type {key.dtype} cannot be a join key.",
                    where=where,
                    expected=f"one of {', '.join(KEY_TYPES)}",
                    received=f"'{key.name}' of {key.dtype}",
                )

    @property
    def key_names(self) -> tuple[str, ...]:
        """The names of the join keys, in order."""
        return tuple(key.name for key in self.join_keys)


def check_name(name: str, kind: str) -> None:
    """Refuse a name that cannot be a column, a file and a word of a command alike.

    Args:
        name: The name given.
        kind: What is named, for the message.

    Raises:
        UsageError: It does not fit.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or "__" in name:
        raise UsageError(
            f"This is no name for a {kind}.",
            where=f"{kind} {name!r}",
            expected="small letters, digits and single underscores, beginning with a letter",
            received=repr(name),
        )


def check_member(value: object, kind: type[StrEnum], where: str) -> None:
    """Refuse what is not a member of an enumeration.

    Args:
        value: What was given.
        kind: The enumeration.
        where: Where it was given.

    Raises:
        UsageError: It is no member.
    """
    if not isinstance(value, kind):
        raise UsageError(
            f"This is no {kind.__name__}.",
            where=where,
            expected=closest(str(value), [f"{kind.__name__}.{name}" for name in kind.__members__]),
            received=repr(value),
        )


def check_distinct(names: Iterable[str], where: str) -> None:
    """Refuse a repeated name.

    Args:
        names: The names given.
        where: Where they were given.

    Raises:
        UsageError: A name is there twice.
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise UsageError(
                f"'{name}' is there twice.",
                where=where,
                expected="every name once",
                received=repr(name),
            )
        seen.add(name)
