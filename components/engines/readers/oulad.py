"""Layout ``oulad``: the seven tables of the Open University Learning Analytics Dataset.

Kuzilek, Hlosta, Zdrahal, *Open University Learning Analytics dataset*, Scientific Data 4:170171,
2017. Circulated copies differ: a missing value is empty in one and ``?`` in another, and the band
``10-20`` of ``imd_band`` lacks its % sign; both are read alike here. ``studentVle.csv``, by far the
largest table, may be replaced by Parquet parts in a folder ``studentVle``. Dates are days from the
first day of the presentation, and may be negative.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from components.engines.readers.csv_file import CsvFile, read_header
from components.engines.readers.csv_layout import read_file
from components.engines.readers.keys import SeenKeys
from components.engines.readers.parquet_layout import read_parts
from components.engines.readers.rejects import Rejects
from components.engines.readers.tables import Layout, Options, SourceTable
from learnloop.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

_PRESENTATION = "code_module string!, code_presentation string!"

COLUMNS = {
    "courses": f"{_PRESENTATION}, module_presentation_length int32",
    "assessments": f"{_PRESENTATION}, id_assessment int32!, assessment_type string!, "
    "date int32, weight double",
    "vle": f"id_site int32!, {_PRESENTATION}, activity_type string!, week_from int32, "
    "week_to int32",
    "studentInfo": f"{_PRESENTATION}, id_student int32!, gender string, region string, "
    "highest_education string, imd_band string, age_band string, num_of_prev_attempts int32, "
    "studied_credits int32, disability string, final_result string!",
    "studentRegistration": f"{_PRESENTATION}, id_student int32!, date_registration int32, "
    "date_unregistration int32",
    "studentAssessment": "id_assessment int32!, id_student int32!, date_submitted int32!, "
    "is_banked int32!, score double",
    "studentVle": f"{_PRESENTATION}, id_student int32!, id_site int32!, date int32!, "
    "sum_click int32!",
}
"""Columns and Arrow types by table; ``!`` marks a column that needs a value."""

KEYS = {
    "courses": ("code_module", "code_presentation"),
    "assessments": ("id_assessment",),
    "vle": ("id_site",),
    "studentInfo": ("code_module", "code_presentation", "id_student"),
    "studentRegistration": ("code_module", "code_presentation", "id_student"),
    "studentAssessment": ("id_assessment", "id_student"),
}
"""What names a row; ``studentVle`` has several rows for a learner, a site and a day."""


def table_schema(table: str) -> pa.Schema:
    """Give the typed columns of a table.

    Args:
        table: One of the seven names.
    """
    import pyarrow as pa

    fields = []
    for column in COLUMNS[table].split(", "):
        name, _, kind = column.partition(" ")
        needed = kind.endswith("!")
        fields.append(pa.field(name, pa.type_for_alias(kind.rstrip("!")), nullable=not needed))
    return pa.schema(fields)


def _wants(name: str) -> bool:
    folder, _, file = name.rpartition("/")
    if folder:
        return folder == "studentVle" and file.endswith(".parquet")
    return file.endswith(".csv") and file.removesuffix(".csv") in COLUMNS


def _tables(files: Mapping[str, Path], options: Options) -> tuple[SourceTable, ...]:
    parts = [path for name, path in sorted(files.items()) if "/" in name]
    is_doubled = parts and "studentVle.csv" in files
    missing = [f"{name}.csv" for name in COLUMNS if f"{name}.csv" not in files]
    if parts and "studentVle.csv" in missing:
        missing.remove("studentVle.csv")
    if missing or is_doubled:
        raise UsageError(
            "The OULAD folder is not complete." if missing else "studentVle is there twice.",
            where=next(iter(files.values())).parent if not parts else parts[0].parent.parent,
            expected=", ".join(f"{name}.csv" for name in COLUMNS)
            + " (or studentVle/*.parquet in place of studentVle.csv)",
            received=f"no {', no '.join(missing)}" if missing else "studentVle.csv and its parts",
        )
    return tuple(
        _from_parts(parts) if name == "studentVle" and parts else _from_csv(files, name)
        for name in COLUMNS
    )


OULAD = Layout(
    wants=_wants,
    expects="the seven OULAD CSV files, or studentVle/*.parquet for the largest",
    tables=_tables,
)


def _from_parts(parts: list[Path]) -> SourceTable:
    schema = table_schema("studentVle")
    return SourceTable("studentVle", schema, partial(read_parts, parts, schema, "studentVle", ()))


def _from_csv(files: Mapping[str, Path], table: str) -> SourceTable:
    path = files[f"{table}.csv"]
    header = read_header(path)
    schema = table_schema(table)
    missing = [name for name in schema.names if name not in header.columns]
    if missing:
        raise UsageError(
            f"{table}.csv lacks a column.",
            where=f"{path}, line 1",
            expected=", ".join(schema.names),
            received=", ".join(header.columns),
        )
    file = CsvFile(path, table, header, schema, nulls=("", "?"))
    return SourceTable(table, schema, partial(_read, file, KEYS.get(table, ())))


def _read(file: CsvFile, key: tuple[str, ...], rejects: Rejects) -> Iterator[pa.RecordBatch]:
    for batch in read_file(file, key, SeenKeys(), rejects):
        yield _mend_band(batch) if file.table == "studentInfo" else batch


def _mend_band(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Give the deprivation band ``10-20`` the % sign that all others have."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = list(batch.columns)
    place = batch.schema.get_field_index("imd_band")
    columns[place] = pc.replace_substring_regex(columns[place], "^10-20$", "10-20%")
    return pa.record_batch(columns, schema=batch.schema)
