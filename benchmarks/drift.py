"""A hundred simulated schools: how soon is a change seen, and how often is a turn taken for one?

``python -m benchmarks.drift`` writes ``docs/evidence/drift.json`` and prints the table. The schools
are of five sizes. Each is simulated three times with one seed: in the last presentation nothing
changes, or learners are weaker and assessments harder by one of two strengths. On seven days of
that presentation the features of its enrolments are held against those of the same day of the
presentations before, module by module, in two ways:

* **by ordinary turns**, as the monitor does (``components.engines.monitoring``): the turns between
  the earlier presentations are the measure, with its default limits;
* **by a plain threshold** on TFDV's drift comparator for numbers (the Jensen-Shannon divergence),
  for each of several thresholds, of which a user would have to choose one beforehand.

A school is **detected** when any feature of any module is told on any of the days; the **day** is
the mean of the first on which it is. A **false alarm** is the same where nothing has changed.

``--data FOLDER`` does the same with OULAD's tables, in place of simulated schools, and adds which
modules each way tells in 2014J: module BBB changed its assessment, the others did not.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.engines.monitoring.distances import Distance, measure_columns
from components.engines.monitoring.ordinary import judge
from components.ingest import ingest
from learnloop.artifacts import Records
from learnloop.component import Context
from pipelines.learner_outcome.features import WATCHED, enrolment_features
from simulator import SimulationSettings, simulate

SCHOOLS = 100
FIRST_SEED = 101
"""Schools 1 to 100 were looked at while the monitor's limits were chosen."""
ATTEMPTS = (12_500, 25_000, 50_000, 100_000, 200_000)
"""Of a school, by turns: so its size, about one learner for 32 attempts."""
DRIFTS = (0.25, 0.5)
DAYS = (7, 14, 21, 28, 35, 42, 60)
OULAD_DAYS = (14, 28, 42, 60)
PRESENTATIONS = ("2013B", "2013J", "2014B", "2014J")
THRESHOLDS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4)
TURNS = "ordinary turns"
EVIDENCE = Path(__file__).parents[1] / "docs" / "evidence" / "drift.json"

Turns = Mapping[str, Mapping[str, Mapping[str, Distance]]]
"""Distances by presentation, module and column."""


def measure_turns(records: Records, day: int) -> Turns:
    """Hold each module's presentations against the ones before them, as known on a day."""
    from pyarrow import compute

    tables = {name: records.file(name) for name in records.names}
    rows = enrolment_features(tables, PRESENTATIONS, day)
    found: dict[str, dict[str, Mapping[str, Distance]]] = {}
    for presentation in PRESENTATIONS[1:]:
        found[presentation] = {}
        for module in sorted(compute.unique(rows["code_module"]).to_pylist()):
            own = rows.filter(compute.equal(rows["code_module"], module))
            now = own.filter(compute.equal(own["code_presentation"], presentation))
            before = own.filter(compute.less(own["code_presentation"], presentation))
            if now.num_rows and before.num_rows:
                found[presentation][module] = measure_columns(before, now, WATCHED)
    return found


def told_by_turns(turns: Turns) -> set[str]:
    """Tell the modules of the last presentation that have changed, as the monitor judges."""
    earlier = [turn for name in PRESENTATIONS[1:-1] for turn in turns[name].values()]
    history = {column: [turn[column] for turn in earlier] for column in WATCHED}
    return {
        module
        for module, now in turns[PRESENTATIONS[-1]].items()
        if any(one.is_drift for one in judge(now, history))
    }


def told_by_threshold(turns: Turns, threshold: float) -> set[str]:
    """Tell the modules of the last presentation that lie beyond one threshold for everything."""
    return {
        module
        for module, now in turns[PRESENTATIONS[-1]].items()
        if any(distance.value > threshold for distance in now.values())
    }


def told_by_day(source: Path, days: Sequence[int]) -> dict[int, dict[str, set[str]]]:
    """Tell which modules each way tells, by day.

    Args:
        source: A folder with OULAD's tables.
        days: The days on which to look.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "scratch").mkdir()
        records, rejected = (Records.create(folder / one) for one in ("records", "rejected"))
        context = Context.for_test(folder / "scratch")
        ingest.function(records, rejected, source=str(source), layout="oulad", context=context)
        found = {}
        for day in days:
            turns = measure_turns(records, day)
            found[day] = {TURNS: told_by_turns(turns)} | {
                f"threshold {one}": told_by_threshold(turns, one) for one in THRESHOLDS
            }
        return found


def look(seed: int, drift: float) -> dict[str, int | None]:
    """Simulate a school and tell the first day on which each way tells a change."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "data"
        attempts = ATTEMPTS[seed % len(ATTEMPTS)]
        simulate(SimulationSettings(attempts=attempts, seed=seed, drift=drift), folder)
        told = told_by_day(folder / "oulad", DAYS)
    return {way: next((day for day in DAYS if told[day][way]), None) for way in told[DAYS[0]]}


def summarise(schools: Mapping[float, Sequence[Mapping[str, int | None]]]) -> list[dict[str, Any]]:
    """Make the table: a row for each way of judging and strength of change; 0 is none."""
    rows = []
    for drift, looks in schools.items():
        for way in looks[0]:
            days = [day for look in looks if (day := look[way]) is not None]
            delay = sum(days) / len(days) if days else None
            rows.append(
                {"drift": drift, "way": way, "told": len(days) / len(looks), "mean_day": delay}
            )
    return rows


def show(table: Sequence[Mapping[str, Any]]) -> str:
    """Lay the table out in Markdown: a line for each way."""
    figures = {(row["drift"], row["way"]): row for row in table}
    head = [f"detected at {drift} | mean day" for drift in DRIFTS]
    lines = [
        f"| judged by | false alarms | {' | '.join(head)} |",
        "|---" * (2 + 2 * len(head)) + "|",
    ]
    for way in dict.fromkeys(row["way"] for row in table):
        cells = [f"{figures[0.0, way]['told']:.0%}"]
        for drift in DRIFTS:
            row = figures[drift, way]
            cells.append(f"{row['told']:.0%}")
            cells.append("-" if row["mean_day"] is None else f"{row['mean_day']:.0f}")
        lines.append(f"| {' | '.join([way, *cells])} |")
    return "\n".join(lines)


def main() -> None:
    """Run the study, write the evidence and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drift")
    parser.add_argument("--schools", type=int, default=SCHOOLS, help="how many are simulated")
    parser.add_argument("--data", type=Path, help="a folder with OULAD's tables, in their place")
    given = parser.parse_args()
    document = json.loads(EVIDENCE.read_text()) if EVIDENCE.exists() else {}
    if given.data:
        told = told_by_day(given.data.resolve(), OULAD_DAYS)
        document["oulad"] = {
            way: {day: sorted(told[day][way]) for day in OULAD_DAYS} for way in told[OULAD_DAYS[0]]
        }
        EVIDENCE.write_text(json.dumps(document, indent=1) + "\n")
        print(f"| judged by | {' | '.join(f'day {day}' for day in OULAD_DAYS)} |")
        print("|---" * (1 + len(OULAD_DAYS)) + "|")
        for way, by_day in document["oulad"].items():
            cells = [", ".join(modules) or "-" for modules in by_day.values()]
            print(f"| {' | '.join([way, *cells])} |")
        return
    schools: dict[float, list[Mapping[str, int | None]]] = {0.0: [], **{d: [] for d in DRIFTS}}
    for seed in range(FIRST_SEED, FIRST_SEED + given.schools):
        for drift, looks in schools.items():
            looks.append(look(seed, drift))
    table = summarise(schools)
    document |= {"schools": given.schools, "attempts": ATTEMPTS, "days": DAYS, "table": table}
    EVIDENCE.write_text(json.dumps(document, indent=1) + "\n")
    print(show(table))


if __name__ == "__main__":
    main()
