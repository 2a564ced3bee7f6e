"""Sources as they lie about: files, folders, patterns, events, S3; and those that do not fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pytest
from pyarrow import parquet

from feature_store.definitions import FeatureView
from feature_store.fields import Entity, FeatureType, Field
from feature_store.offline.reading import SourceChanged, SourceReader
from feature_store.sources import EventSource, ParquetSource, PushSource
from learnloop.errors import CorruptArtifact, LearnLoopError, UsageError
from learnloop.settings import Settings, project_root
from messaging.events.parts import Progress, claim_partition
from messaging.events.schema import TOPIC, part_schema
from tests.feature_store.online.school import open_school

MOMENT = pa.timestamp("us", "UTC")
VIEW = FeatureView(
    "activity",
    (Entity("learner", (Field("learner", FeatureType.INT64),)),),
    (Field("clicks", FeatureType.INT64, formerly=("presses",)),),
    ParquetSource("files", "data", "at"),
)


@pytest.fixture
def data(settings: Settings) -> Path:
    """The folder of the view's source, empty."""
    folder = project_root() / "data"
    folder.mkdir()
    return folder


def write(path: Path, values: list[int], /, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    given = {
        "learner": pa.array(range(len(values)), pa.int64()),
        "clicks": values,
        "at": pa.array([0] * len(values), MOMENT),
        **columns,
    }
    parquet.write_table(pa.table({n: v for n, v in given.items() if v is not None}), path)
    return path


def clicks(source: Any = VIEW.source, view: FeatureView = VIEW) -> list[int | None]:
    """All clicks of a source, in its order."""
    with SourceReader(replace(view, source=source)) as reader:
        return [
            value
            for _, (_, column), _ in reader.read((*view.join_keys, *view.schema))
            for value in column.to_pylist()
        ]


def test_a_file_a_folder_and_a_pattern(data: Path) -> None:
    write(data / "b.parquet", [3, 4])
    write(data / "a.parquet", [1, 2])
    write(data / "deep" / "c.parquet", [5])
    write(data / ".unfinished" / "d.parquet", [6])
    write(data / "_pending" / "e.parquet", [7])
    (data / "notes.txt").write_text("none")
    assert clicks() == [1, 2, 3, 4, 5]
    assert clicks(ParquetSource("files", "data/b.parquet", "at")) == [3, 4]
    assert clicks(ParquetSource("files", "data/*.parquet", "at")) == [1, 2, 3, 4]
    assert clicks(ParquetSource("files", str(data), "at")) == [1, 2, 3, 4, 5]


def test_events_of_a_kind_and_of_one_that_never_came(settings: Settings) -> None:
    source = EventSource("told", "events", "attempt", "at", "")
    assert clicks(source) == []
    write(project_root() / "events" / "attempt" / "p0.parquet", [1])
    write(project_root() / "events" / "login" / "p0.parquet", [2])
    assert clicks(source) == [1]


def test_events_as_the_collector_keeps_them(settings: Settings) -> None:
    """Its columns are those that an event source looks for unless told otherwise."""
    happened = datetime(2026, 11, 23, 10, tzinfo=UTC)
    told = happened + timedelta(hours=1)
    row = {"at": happened, "recorded_at": told, "learner": "l1", "skill": "sums", "correct": True}
    rows = pa.Table.from_pylist([row], schema=part_schema("attempt"))
    with claim_partition(settings.events_folder, TOPIC, 0) as parts:
        assert parts is not None
        parts.write({"attempt/hour=2026-11-23T10": rows}, Progress(1))
    view = FeatureView(
        "attempts",
        (Entity("learner", (Field("learner", FeatureType.STRING),)),),
        (Field("skill", FeatureType.STRING), Field("correct", FeatureType.BOOL)),
        EventSource("attempt_events", "events", "attempt"),
    )
    moments = pa.array([told - timedelta(seconds=1), told], MOMENT)
    asked = pa.table({"learner": ["l1", "l1"], "event_timestamp": moments})
    answer = open_school(settings, view).get_historical_features(asked, ["attempts"]).to_arrow()
    assert answer.select(["skill", "correct"]).to_pydict() == {
        "skill": [None, "sums"],
        "correct": [None, True],
    }


def test_a_push_source_that_nothing_was_pushed_to_yet(settings: Settings) -> None:
    assert clicks(PushSource("stream", ParquetSource("kept", "kept", "at"))) == []


def test_files_of_before_a_field_had_its_name_or_was_there(data: Path) -> None:
    write(data / "a.parquet", [1], clicks=None)
    write(data / "b.parquet", [1], clicks=None, presses=pa.array([2], pa.int32()))
    write(data / "c.parquet", [3])
    assert clicks() == [None, 2, 3]


def test_a_dictionary_of_strings_is_strings(data: Path) -> None:
    view = replace(
        VIEW,
        entities=(Entity("skill", (Field("skill", FeatureType.STRING),)),),
        schema=(Field("level", FeatureType.STRING),),
    )
    words = pa.array(["low", None, "low"]).dictionary_encode()
    write(data / "a.parquet", [1, 2, 3], skill=pa.array(["a", "b", None]), level=words)
    assert clicks(view=view) == ["low", None, "low"]


def test_a_file_that_is_replaced_while_it_is_read(data: Path) -> None:
    write(data / "a.parquet", [1])
    with SourceReader(VIEW) as reader:
        write(data / "new" / "a.parquet", [2, 3]).replace(data / "a.parquet")
        with pytest.raises(SourceChanged) as changed:
            list(reader.read(VIEW.schema))
    assert str(changed.value) == (
        f"A source changed while it was read.\n  where:    {data / 'a.parquet'}"
    )


REFUSED: list[tuple[Callable[[Path], object], type[LearnLoopError], str]] = [
    (
        lambda data: data.rmdir(),
        UsageError,
        "There is nothing to read for source 'files'.\n"
        "  where:    {data}\n"
        "  expected: a Parquet file, or a folder of them\n"
        "  received: nothing",
    ),
    (
        lambda data: (data / "a.parquet").write_bytes(b"learner,clicks\n"),
        CorruptArtifact,
        "A file of a source is not Parquet.\n"
        "  where:    source 'files', a.parquet\n"
        "  expected: a Parquet file",
    ),
    (
        lambda data: write(data / "a.parquet", [1], learner=None),
        UsageError,
        "The source has no column 'learner'.\n"
        "  where:    feature view 'activity', a.parquet\n"
        "  expected: one of at, clicks\n"
        "  received: 'learner'",
    ),
    (
        lambda data: write(data / "a.parquet", [1], clicks=None, clics=[1]),
        UsageError,
        "The source has no column 'clicks'.\n"
        "  where:    feature view 'activity', a.parquet\n"
        "  expected: did you mean 'clics'?\n"
        "  received: 'clicks'",
    ),
    (
        lambda data: write(data / "a.parquet", [1], clicks=["one"]),
        UsageError,
        "Column 'clicks' is not of the field's type.\n"
        "  where:    feature view 'activity', a.parquet\n"
        "  expected: int64\n"
        "  received: string",
    ),
    (
        lambda data: write(data / "a.parquet", [1], clicks=[1.5]),
        UsageError,
        "A value of 'clicks' does not fit its type.\n"
        "  where:    feature view 'activity', a.parquet\n"
        "  expected: values that fit int64\n"
        "  received: double",
    ),
    (
        lambda data: write(data / "a.parquet", [1], at=["today"]),
        UsageError,
        "Column 'at' is not a time.\n"
        "  where:    feature view 'activity', a.parquet\n"
        "  expected: a timestamp\n"
        "  received: string",
    ),
    (
        lambda data: write(data / "a.parquet", [1], at=None),
        UsageError,
        "The source has no column 'at'.\n"
        "  where:    feature view 'activity', a.parquet\n"
        "  expected: one of clicks, learner\n"
        "  received: 'at'",
    ),
]


@pytest.mark.parametrize(("spoil", "kind", "message"), REFUSED)
def test_a_source_that_does_not_fit(
    spoil: Callable[[Path], object], kind: type[LearnLoopError], message: str, data: Path
) -> None:
    spoil(data)
    with pytest.raises(kind) as refused:
        clicks()
    assert str(refused.value) == message.format(data=data)


class TestS3:
    """Objects are fetched as they were at one moment."""

    @pytest.fixture
    def bucket(self, s3_endpoint: str, tmp_path: Path) -> str:
        client = boto3.client("s3")
        client.create_bucket(Bucket="features")
        for name, values in {"b": [3], "a": [1, 2], "_unfinished/c": [9]}.items():
            file = write(tmp_path / "made.parquet", values)
            client.upload_file(str(file), "features", f"activity/{name}.parquet")
        client.put_object(Bucket="features", Key="activity/notes.txt", Body=b"none")
        return "s3://features"

    def test_an_object_and_a_prefix(self, bucket: str, settings: Settings) -> None:
        assert clicks(ParquetSource("files", f"{bucket}/activity/", "at")) == [1, 2, 3]
        assert clicks(ParquetSource("files", f"{bucket}/activity/b.parquet", "at")) == [3]

    def test_a_prefix_without_objects(self, bucket: str, settings: Settings) -> None:
        with pytest.raises(UsageError) as refused:
            clicks(ParquetSource("files", f"{bucket}/other/", "at"))
        assert str(refused.value) == (
            "There is nothing to read for a source on S3.\n"
            "  where:    s3://features/other/\n"
            "  expected: a Parquet object, or a prefix with some\n"
            "  received: nothing"
        )
