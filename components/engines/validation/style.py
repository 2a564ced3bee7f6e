"""The look of the validation page; kept in code so that it is packaged and enters cache keys."""

STYLE = """
:root { --ink: #18202b; --soft: #5d6a7a; --line: #e3e8ee; --paper: #ffffff; --ground: #f5f7fa;
  --good: #0f7b4d; --bad: #c0292b; --warn: #b26a00; --s0: #2f6fdb; --s1: #e0822d; --s2: #1b9e77;
  --s3: #8e5bd0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8edf3; --soft: #98a5b5; --line: #2b3542;
  --paper: #171d25; --ground: #0f141a; --good: #45c48b; --bad: #ff7b72; --warn: #e3a94b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 26px; letter-spacing: -.01em; margin: 0 0 4px; }
h2 { font-size: 18px; margin: 40px 0 12px; }
h3 { font-size: 15px; margin: 0; overflow-wrap: anywhere; }
p { margin: 0; }
.muted { color: var(--soft); }
.verdict { display: inline-block; padding: 3px 12px; border-radius: 999px; font-weight: 600;
  font-size: 14px; margin-bottom: 12px; color: #fff; }
.verdict.passed { background: #0f7b4d; }
.verdict.refused { background: #c0292b; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); gap: 12px;
  margin-top: 24px; }
.tile, .card, .table { background: var(--paper); border: 1px solid var(--line);
  border-radius: 10px; }
.tile { padding: 14px 16px; }
.tile b { display: block; font-size: 22px; font-variant-numeric: tabular-nums; line-height: 1.25; }
.tile span { color: var(--soft); font-size: 13px; }
.tile.bad b { color: var(--bad); }
.tile.warn b { color: var(--warn); }
.table { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { text-align: left; vertical-align: top; padding: 10px 14px;
  border-bottom: 1px solid var(--line); overflow-wrap: break-word; }
th { font-size: 12px; font-weight: 600; color: var(--soft); white-space: nowrap; }
tr:last-child td { border-bottom: 0; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
th.number { text-align: right; }
code { font: 13px ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
.mark { font-weight: 600; white-space: nowrap; }
.mark.passed { color: var(--good); }
.mark.error { color: var(--bad); }
.mark.warning { color: var(--warn); }
.next { color: var(--soft); font-size: 13px; margin-top: 2px; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(344px, 1fr)); gap: 14px; }
.card { padding: 14px; break-inside: avoid; }
.card.error { border-color: var(--bad); }
.card.warning { border-color: var(--warn); }
.card header { display: flex; justify-content: space-between; gap: 12px; margin-bottom: 10px; }
.card header span { color: var(--soft); font-size: 13px; white-space: nowrap; }
.card svg { display: block; width: 100%; height: auto; margin-bottom: 10px; }
.card table { font-size: 11.5px; font-variant-numeric: tabular-nums; }
.card th, .card td { padding: 3px 0 3px 6px; white-space: nowrap; text-align: right; border: 0; }
.card th { font-size: 11px; }
.card th:first-child, .card td:first-child { text-align: left; padding-left: 0; }
svg text { font-size: 10px; fill: var(--soft); }
svg .axis { stroke: var(--line); }
.s0 { fill: var(--s0); fill-opacity: .28; stroke: var(--s0); }
.s1 { fill: none; stroke: var(--s1); stroke-width: 1.4; }
.s2 { fill: none; stroke: var(--s2); stroke-width: 1.4; }
.s3 { fill: none; stroke: var(--s3); stroke-width: 1.4; }
.s0.solid { fill: var(--s0); fill-opacity: 1; stroke: none; }
.s1.solid { fill: var(--s1); stroke: none; }
.s2.solid { fill: var(--s2); stroke: none; }
.s3.solid { fill: var(--s3); stroke: none; }
.dot { display: inline-block; width: 9px; height: 9px; border-radius: 3px; margin-right: 6px; }
.dot.s0 { background: var(--s0); } .dot.s1 { background: var(--s1); }
.dot.s2 { background: var(--s2); } .dot.s3 { background: var(--s3); }
.legend { display: flex; gap: 18px; margin-bottom: 12px; }
.meter { width: 120px; height: 7px; border-radius: 4px; background: var(--line); overflow: hidden;
  margin-top: 7px; }
.meter i { display: block; height: 100%; background: var(--good); }
.meter.error i { background: var(--bad); }
.meter.warning i { background: var(--warn); }
details { margin-top: 12px; }
summary { cursor: pointer; color: var(--soft); padding: 4px 0; }
"""
