"""Real drift: what a module changes is told, what every new term brings is not."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pyarrow as pa
from pyarrow import compute

from components.engines.monitoring.distances import Distance, measure_columns
from components.engines.monitoring.ordinary import judge
from pipelines.learner_outcome.features import WATCHED, enrolment_features

PRESENTATIONS = ("2013B", "2013J", "2014B", "2014J")


def turns(rows: pa.Table) -> dict[str, dict[str, dict[str, Distance]]]:
    """The distance of each module's presentations from the ones before it, by presentation."""
    found: dict[str, dict[str, dict[str, Distance]]] = defaultdict(dict)
    for module in sorted(compute.unique(rows["code_module"]).to_pylist()):
        own = rows.filter(compute.equal(rows["code_module"], module))
        for presentation in PRESENTATIONS[1:]:
            is_now = compute.equal(own["code_presentation"], presentation)
            is_before = compute.less(own["code_presentation"], presentation)
            now, before = own.filter(is_now), own.filter(is_before)
            if now.num_rows and before.num_rows:
                found[presentation][module] = measure_columns(before, now, WATCHED)
    return found


def test_the_change_of_assessment_of_bbb_is_told_and_ordinary_turns_are_not(
    real_tables: dict[str, Path],
) -> None:
    """In 2014J module BBB gave up its computer-marked assignments (assessments.csv)."""
    by_presentation = turns(enrolment_features(real_tables, PRESENTATIONS, 60))
    earlier = [turn for name in PRESENTATIONS[1:-1] for turn in by_presentation[name].values()]
    assert len(earlier) == 8
    history = {column: [turn[column] for turn in earlier] for column in WATCHED}
    told = {
        module: sorted(one.distance.column for one in judge(distances, history) if one.is_drift)
        for module, distances in by_presentation["2014J"].items()
    }
    assert told == {
        "AAA": [],
        "BBB": ["last_score", "mean_score"],
        "CCC": [],
        "DDD": [],
        "EEE": [],
        "FFF": [],
        "GGG": [],
    }
