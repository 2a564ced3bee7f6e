"""The validation report as one self-contained HTML page: verdict, findings, drift, columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from components.engines.validation.charts import colour, distribution
from components.engines.validation.checks import Check, count, figure
from components.engines.validation.style import STYLE

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0.statistics_pb2 import (
        DatasetFeatureStatisticsList,
        FeatureNameStatistics,
    )

_JUDGES = {
    "tfdv": "schema",
    "great_expectations": "expectation",
    "drift": "drift",
    "skew": "skew",
}

_NUMBERS = ("Distance", "Allowed")
_FEW = 8
"""Comparisons shown at once."""


def render(checks: Sequence[Check], statistics: Mapping[str, DatasetFeatureStatisticsList]) -> str:
    """Draw the page.

    Args:
        checks: Everything that was looked at.
        statistics: TFDV's statistics by split.

    Returns:
        HTML that needs no other file and no network; the same for the same content.
    """
    refused = [check for check in checks if check.refuses]
    failed = [check for check in checks if not check.passed]
    verdict, word = ("refused", "Refused") if refused else ("passed", "Passed")
    parts = [
        f'<span class="verdict {verdict}">{word}</span>',
        "<h1>Data validation</h1>",
        f'<p class="muted">{_summary(checks, failed)}</p>',
        _tiles(checks, statistics),
        _findings(failed),
        _comparisons([check for check in checks if check.source in ("drift", "skew")]),
        _columns(checks, statistics),
        _expectations([check for check in checks if check.source == "great_expectations"]),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Data validation: {word.lower()}</title><style>{STYLE}</style></head>\n"
        f"<body><main>\n{chr(10).join(part for part in parts if part)}\n</main></body></html>\n"
    )


def _summary(checks: Sequence[Check], failed: Sequence[Check]) -> str:
    if not failed:
        return f"All {count(len(checks), 'check')} passed."
    columns = {check.column for check in failed if check.column}
    where = f" in {count(len(columns), 'column')}" if columns else ""
    return f"{len(failed):,} of {count(len(checks), 'check')} failed{where}."


def _tiles(checks: Sequence[Check], statistics: Mapping[str, DatasetFeatureStatisticsList]) -> str:
    errors = sum(check.refuses for check in checks)
    warnings = sum(not check.passed and not check.refuses for check in checks)
    columns = {_name(f) for split in statistics.values() for f in split.datasets[0].features}
    tiles = [
        (figure(split.datasets[0].num_examples), f"rows in {name}", "")
        for name, split in statistics.items()
    ]
    tiles += [
        (figure(len(columns)), "columns", ""),
        (figure(len(checks)), "checks", ""),
        (figure(errors), "errors", "bad" if errors else ""),
        (figure(warnings), "warnings", "warn" if warnings else ""),
    ]
    return '<section class="tiles">{}</section>'.format(
        "".join(
            f'<div class="tile {kind}"><b>{number}</b><span>{escape(label)}</span></div>'
            for number, label, kind in tiles
        )
    )


def _table(headings: Iterable[str], rows: Iterable[str]) -> str:
    head = "".join(
        f"<th{' class=number' * (heading in _NUMBERS)}>{heading}</th>" for heading in headings
    )
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f'<div class="table"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _mark(check: Check) -> str:
    word = "passed" if check.passed else check.severity
    return f'<span class="mark {word}">{word}</span>'


def _findings(failed: Sequence[Check]) -> str:
    if not failed:
        return ""
    ordered = sorted(failed, key=lambda check: not check.refuses)
    rows = (
        f"<td>{_mark(check)}</td><td><code>{escape(check.where)}</code></td>"
        f'<td>{escape(check.what)}<p class="next">{escape(check.next)}</p></td>'
        f"<td>{escape(check.expected)}</td><td>{escape(check.received)}</td>"
        f"<td>{_JUDGES[check.source]}</td>"
        for check in ordered
    )
    headings = ("", "Where", "What", "Expected", "Received", "Found by")
    return f"<h2>Findings</h2>{_table(headings, rows)}"


def _comparisons(checks: Sequence[Check]) -> str:
    if not checks:
        return ""
    ordered = sorted(checks, key=lambda check: (check.passed, -float(check.figures["distance"])))
    shown = max(_FEW, sum(not check.passed for check in checks))
    headings = ("", "Column", "Against", "Measure", "Distance", "Allowed", "")
    table = _table(headings, map(_comparison, ordered[:shown]))
    rest = ordered[shown:]
    more = ""
    if rest:
        summary = f"{count(len(rest), 'smaller distance')}"
        more = (
            f"<details><summary>{summary}</summary>"
            f"{_table(headings, map(_comparison, rest))}</details>"
        )
    return f"<h2>Drift and skew</h2>{table}{more}"


def _comparison(check: Check) -> str:
    distance = float(check.figures["distance"])
    threshold = float(check.figures["threshold"])
    share = 100 * min(1.0, distance / threshold) if threshold else 100
    kind = "" if check.passed else check.severity
    return (
        f"<td>{_mark(check)}</td><td><code>{escape(check.where)}</code></td>"
        f"<td>{escape(str(check.figures['against']))}</td>"
        f"<td>{escape(str(check.figures['measure']))}"
        f'<p class="next">{escape(str(check.figures["formula"]))}</p></td>'
        f'<td class="number">{distance:.4f}</td><td class="number">{threshold:.4f}</td>'
        f'<td><div class="meter {kind}"><i style="width:{share:.0f}%"></i></div></td>'
    )


def _columns(
    checks: Sequence[Check], statistics: Mapping[str, DatasetFeatureStatisticsList]
) -> str:
    by_column: dict[str, dict[str, FeatureNameStatistics]] = {}
    for split, found in statistics.items():
        for feature in found.datasets[0].features:
            by_column.setdefault(_name(feature), {})[split] = feature
    splits = list(statistics)
    legend = " ".join(
        f'<span class="muted"><i class="dot {colour(split, splits)}"></i>{escape(split)}</span>'
        for split in splits
    )
    cards = "".join(_card(name, found, splits, checks) for name, found in by_column.items())
    return f'<h2>Columns</h2><p class="legend">{legend}</p><div class="cards">{cards}</div>'


def _card(
    name: str,
    by_split: Mapping[str, FeatureNameStatistics],
    splits: Sequence[str],
    checks: Sequence[Check],
) -> str:
    failed = {c.severity for c in checks if c.column == name and not c.passed}
    kind = "error" if "error" in failed else "warning" if failed else ""
    first = next(iter(by_split.values()))
    is_text = first.WhichOneof("stats") == "string_stats"
    labels = ("distinct", "top value") if is_text else ("mean", "std", "min", "median", "max")
    head = "".join(f"<th>{label}</th>" for label in ("", "missing", *labels))
    rows = "".join(
        f"<tr><td>{escape(split)}</td>"
        + "".join(f"<td>{cell}</td>" for cell in _cells(feature, is_text=is_text))
        + "</tr>"
        for split, feature in by_split.items()
    )
    return (
        f'<article class="card {kind}"><header><h3>{escape(name)}</h3>'
        f"<span>{_type(first)}</span></header>{distribution(by_split, splits)}"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></article>"
    )


def _cells(feature: FeatureNameStatistics, *, is_text: bool) -> list[str]:
    stats = feature.WhichOneof("stats")
    if stats not in ("num_stats", "string_stats"):
        return []
    common = getattr(feature, stats).common_stats
    rows = common.num_missing + common.num_non_missing
    cells = [f"{100 * common.num_missing / rows:.3g} %" if rows else "-"]
    if is_text:
        text = feature.string_stats
        top = text.top_values[0].value if text.top_values else "-"
        return [*cells, figure(text.unique), escape(top[:16])]
    numbers = feature.num_stats
    values = (numbers.mean, numbers.std_dev, numbers.min, numbers.median, numbers.max)
    return cells + [figure(value, digits=3) for value in values]


def _type(feature: FeatureNameStatistics) -> str:
    from tensorflow_metadata.proto.v0.statistics_pb2 import FeatureNameStatistics as Statistics

    word = {"INT": "integer", "FLOAT": "float", "STRING": "text"}.get(
        Statistics.Type.Name(feature.type), "other"
    )
    stats = feature.WhichOneof("stats")
    common = getattr(feature, stats).common_stats if stats else None
    if common is None or common.max_num_values <= 1:
        return word
    least, most = common.min_num_values, common.max_num_values
    lengths = f"{most:,}" if least == most else f"{least:,}–{most:,}"
    return f"lists of {word}, {lengths} a row"


def _expectations(checks: Sequence[Check]) -> str:
    if not checks:
        return ""
    rows = (
        f"<td>{_mark(check)}</td><td><code>{escape(check.where)}</code></td>"
        f"<td>{escape(check.what)}</td><td>{escape(check.expected)}</td>"
        f"<td>{escape(check.received)}</td>"
        for check in checks
    )
    table = _table(("", "Where", "What", "Arguments", "Found"), rows)
    passed = sum(check.passed for check in checks)
    summary = f"{passed:,} of {count(len(checks), 'expectation')} met"
    return f"<h2>Expectations</h2><details open><summary>{summary}</summary>{table}</details>"


def _name(feature: FeatureNameStatistics) -> str:
    return ".".join(feature.path.step) or feature.name
