"""Great Expectations, judging a suite in an ephemeral context and in bounded memory.

A list column, such as a learner's answers, is judged item by item.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.engines.validation.checks import Check, count, figure, listing, shorten
from components.engines.validation.frames import ROWS_TOGETHER, Splits, frames
from components.engines.validation.suite import POSITION, Expectation, make_judge
from learnloop.errors import closest

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.expectations.expectation import Expectation as Judge

_EXAMPLES = 3


@dataclass(frozen=True)
class _Outcome:
    """What Great Expectations found, on all rows or on some.

    Args:
        passed: Whether the expectation is met.
        observed: The one value it is about, or why it could not be judged; empty where it is about
            each value.
        total: Values looked at.
        missing: Those that are null and therefore not judged.
        failing: Those that are not as expected.
        examples: Some of these.
    """

    passed: bool
    observed: str = ""
    total: int = 0
    missing: int = 0
    failing: int = 0
    examples: tuple[Any, ...] = ()

    def add(self, other: _Outcome, mostly: float) -> _Outcome:
        """Join the outcomes of two parts of the rows."""
        judged = self.total - self.missing + other.total - other.missing
        failing = self.failing + other.failing
        enough = not judged or (judged - failing) / judged >= mostly
        return _Outcome(
            passed=enough and not (self.observed or other.observed),
            observed=self.observed or other.observed,
            total=self.total + other.total,
            missing=self.missing + other.missing,
            failing=failing,
            examples=tuple(dict.fromkeys(self.examples + other.examples)),
        )


def check_expectations(
    suite: Sequence[Expectation],
    splits: Splits,
    split: str,
    *,
    suite_name: str,
    hidden: Collection[str] = (),
    rows_together: int = ROWS_TOGETHER,
) -> list[Check]:
    """Judge one split by a suite.

    Args:
        suite: The expectations; those for other splits are passed over.
        splits: Reads rows.
        split: The split judged.
        suite_name: Where the suite is curated, to say what to edit.
        hidden: Columns whose values are not shown, such as identifiers.
        rows_together: The most rows converted at once, where the expectations allow.

    Returns:
        A check for each expectation, in the suite's order.

    Raises:
        UsageError: Great Expectations knows no such expectation, or not these arguments.
    """
    wanted = [e for e in suite if not e.splits or split in e.splits]
    judges = [make_judge(e, position, suite_name) for position, e in enumerate(wanted)]
    names = splits.schema(split).names
    asked = {n: e for n, e in enumerate(wanted) if e.can_be_asked(names)}
    outcomes: dict[int, _Outcome] = {}
    for frame, positions in frames(asked, splits, split, rows_together):
        for result in _validate(frame, [judges[position] for position in positions]):
            position = result.expectation_config.meta[POSITION]
            outcome, before = _outcome(result), outcomes.get(position)
            mostly = float(wanted[position].kwargs.get("mostly", 1.0))
            outcomes[position] = before.add(outcome, mostly) if before else outcome
    return [
        _check(e, outcomes[n], split, suite_name, hidden)
        if n in outcomes
        else _unasked(e, names, split, suite_name)
        for n, e in enumerate(wanted)
    ]


def _validate(frame: pd.DataFrame, judges: Sequence[Judge]) -> list[ExpectationValidationResult]:
    """Run Great Expectations on one frame, quietly, in a context that leaves nothing behind."""
    import warnings

    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    batch = (
        context.data_sources.add_pandas("split")
        .add_dataframe_asset("rows")
        .add_batch_definition_whole_dataframe("all")
        .get_batch({"dataframe": frame})
    )
    suite = gx.ExpectationSuite("suite", expectations=list(judges))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = batch.validate(suite, result_format="BASIC").results
    return list(results)


def _outcome(result: ExpectationValidationResult) -> _Outcome:
    """Read a result; Great Expectations has another shape for every kind of expectation."""
    fault = _fault(result.exception_info)
    if fault:
        return _Outcome(passed=False, observed=f"it could not be judged: {shorten(fault, 160)}")
    passed, found = bool(result.success), result.result
    if "observed_value" in found:
        return _Outcome(passed, _observed(found["observed_value"]))
    if "element_count" not in found:
        return _Outcome(passed, "so it is" if passed else "it is not so")
    values = (_plain(value) for value in found.get("partial_unexpected_list", ()))
    return _Outcome(
        passed,
        total=found["element_count"],
        missing=found.get("missing_count", 0),
        failing=found["unexpected_count"],
        examples=tuple(dict.fromkeys(value for value in values if value is not None)),
    )


def _fault(information: Mapping[str, Any]) -> str:
    """Find the first exception's message; Great Expectations nests them by metric."""
    if information.get("raised_exception"):
        return str(information.get("exception_message"))
    nested = [entry for entry in information.values() if isinstance(entry, Mapping)]
    return next((message for entry in nested if (message := _fault(entry))), "")


def _observed(value: Any) -> str:
    if value is None:
        return "other values"
    if isinstance(value, (list, tuple)):
        return listing(map(_plain, value))
    return figure(value) if isinstance(value, (int, float)) else str(value)


def _plain(value: Any) -> Any:
    """Undo what pandas does to values: numpy's scalars, NaN for none, floats for whole numbers."""
    if isinstance(value, (list, tuple)):
        return tuple(map(_plain, value))
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float):
        if value != value:
            return None
        return int(value) if value.is_integer() else value
    return value


def _check(
    expectation: Expectation,
    outcome: _Outcome,
    split: str,
    suite_name: str,
    hidden: Collection[str],
) -> Check:
    received = outcome.observed
    if not received and outcome.failing:
        received = f"{outcome.failing:,} of {count(outcome.total, 'value')} fail"
        if outcome.examples and not set(expectation.columns) & set(hidden):
            received += f", for example {listing(outcome.examples[:_EXAMPLES])}"
    return Check(
        source="great_expectations",
        split=split,
        column=", ".join(expectation.columns),
        passed=outcome.passed,
        what=_sentence(expectation, "is met" if outcome.passed else "is not met"),
        expected=", ".join(
            f"{name} {listing(value) if isinstance(value, (list, tuple)) else value}"
            for name, value in expectation.settings.items()
        ),
        received=received or f"all of {count(outcome.total, 'value')}",
        next="" if outcome.passed else _next(expectation, suite_name),
        severity=expectation.consequence,
        figures={"type": expectation.type},
    )


def _unasked(
    expectation: Expectation, names: Collection[str], split: str, suite_name: str
) -> Check:
    """Tell of an expectation whose columns are not there."""
    absent = [column for column in expectation.columns if column not in names]
    return Check(
        source="great_expectations",
        split=split,
        column=", ".join(expectation.columns),
        passed=False,
        what=_sentence(expectation, "is not met"),
        expected="the column " + listing(absent),
        received="no such column; " + closest(absent[0], names),
        next=_next(expectation, suite_name),
        severity=expectation.consequence,
        figures={"type": expectation.type},
    )


def _sentence(expectation: Expectation, verdict: str) -> str:
    words = expectation.type.removeprefix("expect_").replace("_", " ")
    return f"The expectation '{words}' {verdict}."


def _next(expectation: Expectation, suite_name: str) -> str:
    subject = listing(expectation.columns) if expectation.columns else "the data"
    return f"correct {subject} at its source, or edit {suite_name} if it is meant, and run again"
