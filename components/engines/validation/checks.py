"""One kind of answer for every judge: a check, passed or not, with what a person needs to act."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

Source = Literal["tfdv", "great_expectations", "drift", "skew"]
SOURCES: tuple[Source, ...] = ("tfdv", "great_expectations", "drift", "skew")
REFUSING: tuple[Source, ...] = ("tfdv", "great_expectations", "skew")
"""The sources that refuse data unless an author says otherwise. Drift does not: terms turn and
learners change, and the answer to that is a model of the new data, which a refusal would prevent.
"""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Args:
        source: Who judged: the schema (``tfdv``), a suite (``great_expectations``), a comparison
            with earlier statistics (``drift``) or of splits with each other (``skew``).
        split: The split judged.
        column: The column judged; empty for the split as a whole.
        passed: Whether it is as expected.
        what: What was found, in one sentence.
        expected: What is right.
        received: What is there.
        next: What to do about it; empty where it passed.
        severity: Whether a failure refuses the data or only warns.
        figures: Numbers and words for tables, such as ``distance`` and ``threshold``.
    """

    source: Source
    split: str
    column: str
    passed: bool
    what: str
    expected: str = ""
    received: str = ""
    next: str = ""
    severity: Literal["error", "warning"] = "error"
    figures: Mapping[str, float | int | str] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """The split, and the column in it."""
        return f"{self.split}.{self.column}" if self.column else self.split

    @property
    def refuses(self) -> bool:
        """Whether this alone makes the data unfit."""
        return not self.passed and self.severity == "error"

    def to_document(self) -> dict[str, Any]:
        """Turn into what JSON holds."""
        return {**asdict(self), "figures": dict(self.figures), "where": self.where}

    def reason(self) -> str:
        """Say in one sentence why the data is refused."""
        details = [
            f"{name} {value}"
            for name, value in (("expected", self.expected), ("received", self.received))
            if value
        ]
        sentence = f"{self.where}: {self.what.removesuffix('.')}"
        return f"{sentence} ({'; '.join(details)})." if details else f"{sentence}."


def only_warn(checks: Iterable[Check], refuse_on: Collection[str]) -> list[Check]:
    """Make failures of some judges warnings.

    Args:
        checks: What was looked at.
        refuse_on: The sources whose errors refuse.

    Returns:
        The same checks; those of other sources warn at most.
    """
    return [
        check if check.source in refuse_on else replace(check, severity="warning")
        for check in checks
    ]


def count(number: int, noun: str) -> str:
    """Write a number of things.

    Args:
        number: How many.
        noun: What, in the singular.

    Example:
        >>> count(1, "row"), count(20000, "row")
        ('1 row', '20,000 rows')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def figure(value: float, digits: int = 4) -> str:
    """Write a number for people: rounded to significant digits, thousands grouped.

    Args:
        value: Any number.
        digits: How many significant digits to keep of a fraction.

    Example:
        >>> figure(0.123456), figure(20000.0), figure(1e-7)
        ('0.1235', '20,000', '1e-07')
    """
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.{digits}g}" if abs(value) < 10_000 else f"{value:,.0f}"


def listing(values: Iterable[object], most: int = 10) -> str:
    """List values, the first few of them.

    Args:
        values: What to list.
        most: How many at most.

    Example:
        >>> listing("abc"), listing(range(30), most=2)
        ("'a', 'b', 'c'", '0, 1 and 28 more')
    """
    shown = [figure(v) if isinstance(v, float) else repr(v) for v in values]
    if len(shown) <= most:
        return ", ".join(shown)
    return f"{', '.join(shown[:most])} and {len(shown) - most} more"


def shorten(text: str, most: int) -> str:
    r"""Put a text on one line of at most this many characters.

    Args:
        text: Any text.
        most: The longest that fits.

    Example:
        >>> shorten("could not\n  convert", 12)
        'could not c…'
    """
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"
