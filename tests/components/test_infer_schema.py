from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from components.engines.validation.statistics import compute_statistics
from components.infer_schema import infer_schema
from learnloop.artifacts import Schema, Statistics


def test_a_schema_is_drafted_from_a_split(tmp_path: Path) -> None:
    statistics = Statistics.create(tmp_path / "statistics")
    rows = pa.RecordBatch.from_pydict({"gender": ["F", "M"], "failed": [0, 1]})
    statistics.write("train", compute_statistics([rows]))
    schema = Schema.create(tmp_path / "schema")
    infer_schema.function(statistics, schema, label="failed")
    drafted = Schema.open(schema.path).load()
    assert [feature.name for feature in drafted.feature] == ["gender", "failed"]
    assert list(drafted.string_domain[0].value) == ["F", "M"]
    assert list(drafted.feature[1].not_in_environment) == ["SERVING"]
