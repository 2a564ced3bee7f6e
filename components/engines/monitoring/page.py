"""The monitor's report as one self-contained HTML page: verdict, quality, what has moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from components.engines.validation.style import STYLE

_MORE_STYLE = """
.bars { display: grid; grid-template-columns: minmax(90px, auto) 1fr; gap: 2px 10px;
  font-size: 12px; align-items: center; }
.bars span { white-space: nowrap; color: var(--soft); }
.bars i { display: block; height: 6px; border-radius: 3px; min-width: 1px; }
.bars .reference { background: var(--s0); opacity: .35; }
.bars .current { background: var(--s1); }
ul.reasons { margin: 8px 0 0; padding-left: 20px; }
"""
_SHOWN = 12


def render(document: Mapping[str, Any]) -> str:
    """Draw the page.

    Args:
        document: The monitor's report.

    Returns:
        HTML that needs no other file and no network.
    """
    reasons = document["reasons"]
    verdict, word = ("refused", "Needs attention") if reasons else ("passed", "All is as usual")
    window = document["window"]
    parts = [
        f'<span class="verdict {verdict}">{word}</span>',
        f"<h1>{escape(document['model'])} in service</h1>",
        f'<p class="muted">{escape(window["since"][:16])} to {escape(window["until"][:16])}, '
        f"version {', '.join(map(str, document['versions'])) or 'none'}, beside "
        f"{len(document['earlier'])} earlier windows</p>",
        _reasons(reasons),
        _tiles(document),
        _moved("Features, beside the training data", document["features"]),
        _moved("Scores, beside the earlier windows", document["scores"]),
        _challenger(document["challenger"]),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(document['model'])}: {word.lower()}</title>"
        f"<style>{STYLE}{_MORE_STYLE}</style></head>\n"
        f"<body><main>\n{chr(10).join(part for part in parts if part)}\n</main></body></html>\n"
    )


def _reasons(reasons: Sequence[str]) -> str:
    if not reasons:
        return ""
    return f'<ul class="reasons">{"".join(f"<li>{escape(one)}</li>" for one in reasons)}</ul>'


def _tiles(document: Mapping[str, Any]) -> str:
    volume, evidence, quality = document["volume"], document["evidence"], document["quality"]
    alarm = evidence["alarm_at"]
    tiles = [
        (f"{volume['predictions']:,}", "predictions", "bad" if volume["is_silent"] else ""),
        ((volume["newest"] or "-")[:16].replace("T", " "), "the newest", ""),
        ("-" if volume["usual"] is None else f"{volume['usual']:,.0f}", "usual in a window", ""),
        *(
            (
                f"{evidence[name]:,.1f}",
                f"evidence on {name}",
                "bad" if evidence[name] >= alarm else "",
            )
            for name in ("features", "scores")
        ),
        (f"{alarm:,.0f}", "is an alarm", ""),
    ]
    if quality:
        fallen = "bad" if quality["has_fallen"] else ""
        tiles += [
            (f"{quality['rows']:,}", "have come to pass", ""),
            (_figure(quality["auc"]), "live AUC", fallen),
            (_figure(quality["evaluated_auc"]), "AUC when evaluated", ""),
            (_figure(quality["ece"]), "calibration error", ""),
        ]
    return '<section class="tiles">{}</section>'.format(
        "".join(
            f'<div class="tile {kind}"><b>{number}</b><span>{escape(label)}</span></div>'
            for number, label, kind in tiles
        )
    )


def _moved(title: str, columns: Sequence[Mapping[str, Any]]) -> str:
    if not columns:
        return ""
    shown = [one for place, one in enumerate(columns) if one["is_drift"] or place < _SHOWN]
    cards = "".join(_card(one) for one in shown)
    left = len(columns) - len(shown)
    more = f'<p class="muted">{left} columns lie nearer.</p>' if left else ""
    legend = (
        '<p class="muted">Pale: what it is held against. Strong: this window. '
        f"{escape(columns[0]['formula'])}.</p>"
    )
    return f'<h2>{escape(title)}</h2>{legend}<div class="cards">{cards}</div>{more}'


def _card(one: Mapping[str, Any]) -> str:
    kind = "error" if one["is_drift"] else ""
    totals = [max(1, sum(one[name])) for name in ("reference", "current")]
    rows = ""
    for place, label in enumerate(one["bins"]):
        counts = one["reference"][place], one["current"][place]
        if not any(counts):
            continue
        shares = [100 * count / total for count, total in zip(counts, totals, strict=True)]
        told = f"{counts[0]:,} of {totals[0]:,} beside {counts[1]:,} of {totals[1]:,}"
        rows += (
            f'<span title="{told}">{escape(label[:24])}</span><div title="{told}">'
            f'<i class="reference" style="width:{shares[0]:.1f}%"></i>'
            f'<i class="current" style="width:{shares[1]:.1f}%"></i></div>'
        )
    chance = one["probability"]
    usual = "not judged yet" if chance is None else f"{chance:.1%} of turns"
    return (
        f'<article class="card {kind}"><header><h3>{escape(one["column"])}</h3>'
        f"<span>{one['value']:.4f} bits, {usual}</span></header>"
        f'<div class="bars">{rows}</div></article>'
    )


def _challenger(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    text = (
        f"Asked the same {found['asked']:,} questions, its scores lie "
        f"{found['distance']['value']:.4f} bits from those that were served."
    )
    if found["compared"]:
        auc = found["compared"]["auc"]
        low, high = auc["interval"]
        text += (
            f" Of {found['compared']['rows']:,} that have come to pass, its AUC is "
            f"{auc['difference']:+.4f} ({low:+.4f} to {high:+.4f}) from the served model's."
        )
    return f"<h2>The challenger, in the shadow</h2><p>{text}</p>"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
