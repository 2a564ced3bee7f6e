"""Reading what servers counted and what the prediction log holds."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from learnloop.access import TlsFiles
from learnloop.errors import LearnLoopError, UsageError
from serving.canary.comparison import Sample
from serving.canary.figures import LOG_LAG, Counts, Figures, read_counts, read_page
from serving.client.endpoint import TOKEN_VARIABLE, Security
from serving.server.app import ServerOptions
from serving.server.security import Tokens
from tests.servers import free_port
from tests.serving.canary.pages import TENSORFLOW_SERVING, embedded_page, serving_page
from tests.serving.server.memory import serving
from tests.serving.server.test_security import Authority

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_page_of_tensorflow_serving_counts_by_model() -> None:
    counts = read_counts(TENSORFLOW_SERVING, "dense", 5)
    assert counts == Counts(90, 10, {10.0: 5, 18.0: 65, math.inf: 20})
    assert read_counts(TENSORFLOW_SERVING, "unknown", 5) == Counts()


def test_a_page_of_the_embedded_server_counts_by_version() -> None:
    page = embedded_page({5: (90, 1, {"10": 30, "+Inf": 60}), 6: (8, 2, {"10": 1, "+Inf": 7})})
    assert read_counts(page, "dense", 5) == Counts(90, 1, {10.0: 30, math.inf: 60})
    assert read_counts(page, "dense", 6) == Counts(8, 2, {10.0: 1, math.inf: 7})
    assert read_counts(page, "dense", 7) == Counts()


def test_the_embedded_server_writes_what_is_read() -> None:
    from serving.server.contract import Code
    from serving.server.metrics import Metrics

    class Version:
        model, version = "dense", 6

    metrics = Metrics()
    for _ in range(3):
        metrics.ran(Version(), "Predict", 0.0005)  # type: ignore[arg-type]
    metrics.failed(Version(), Code.INTERNAL)  # type: ignore[arg-type]
    counts = read_counts(metrics.page(), "dense", 6)
    assert (counts.answered, counts.failed) == (3, 1)
    assert sum(counts.latencies.values()) == 3
    assert [bound for bound, n in counts.latencies.items() if n] == [612.22]
    assert read_counts(metrics.page(), "dense", 5) == Counts()


def test_only_what_came_since_the_last_look_counts() -> None:
    first = Counts(90, 1, {10.0: 30, math.inf: 60})
    later = Counts(95, 1, {10.0: 31, 18.0: 2, math.inf: 62})
    assert later.since(first) == Sample(5, 0, {10.0: 1, 18.0: 2, math.inf: 2})
    assert first.since(later) == Sample(), "the server began anew"


def test_pages_of_several_servers_are_added_up() -> None:
    stable = {"answered": 0}

    def page(version: int) -> str:
        stable["answered"] += 10
        return embedded_page({version: (stable["answered"], 0, {"10": stable["answered"]})})

    with serving_page(lambda: page(5)) as one, serving_page(lambda: page(6)) as other:
        reader = Figures("dense", 5, 6, (one, other), (one, other))
        _, _, reader = reader.read()
        stable_sample, canary_sample, _ = reader.read()
    assert stable_sample.answered > 0
    assert canary_sample.answered > 0


def test_a_server_that_does_not_answer_is_told() -> None:
    url = f"http://127.0.0.1:{free_port()}/monitoring/prometheus/metrics"
    with pytest.raises(LearnLoopError) as caught:
        Figures("dense", 5, 6, (url,), (url,)).read()
    assert caught.value.what == "A server's metrics cannot be read."
    assert caught.value.where == url


def test_a_server_that_asks_who_asks_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    school, token = Authority(tmp_path), "a-token-that-is-long-enough"
    files = TlsFiles(school.files.certificate, school.files.key, school.root)
    options = ServerOptions(
        host="localhost",
        rest_port=0,
        grpc_port=0,
        tls=files,
        tokens=Tokens(token.encode()),
        drain_seconds=5,
    )
    with serving(options) as server:
        url = f"https://localhost:{server.ports.rest}/monitoring/prometheus/metrics"
        mine = Security(school.root, school.both)

        def refusal(security: Security = mine) -> str:
            with pytest.raises(LearnLoopError) as caught:
                Figures("half", 1, 2, (url,), (url,), security=security).read()
            assert caught.value.what == "A server's metrics cannot be read."
            return str(caught.value.received)

        assert refusal() == "HTTP Error 401: Unauthorized"
        assert "CERTIFICATE_VERIFY_FAILED" in refusal(Security())
        monkeypatch.setenv(TOKEN_VARIABLE, token)
        reader = Figures("half", 1, 2, (url,), (url,), security=mine)
        _, _, reader = reader.read()
        server.server.metrics.ran(server.models.servables[2], "Predict", 0.001)
        stable, canary, _ = reader.read()
    assert (stable.answered, canary.answered) == (0, 1)


def test_a_token_is_not_sent_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be so at every look, so watching ends."""
    monkeypatch.setenv(TOKEN_VARIABLE, "a-token-that-is-long-enough")
    with pytest.raises(UsageError, match="A bearer token is not sent in the clear."):
        read_page("http://models.school:8501/metrics")


def write_log(folder: Path, rows: list[tuple[datetime, int, str | None, float]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    from serving.prediction_log.columns import base_schema
    from serving.prediction_log.journal import model_folder

    part = model_folder(folder, "dense") / "date=2026-03-01" / "hour=12"
    part.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {
            "time": [row[0] for row in rows],
            "model": ["dense"] * len(rows),
            "version": [row[1] for row in rows],
            "label": [None] * len(rows),
            "signature": ["serving_default"] * len(rows),
            "subject": [row[2] for row in rows],
            "seconds": [0.001] * len(rows),
            "share": [1.0] * len(rows),
            "score": [row[3] for row in rows],
            "digest": [None] * len(rows),
        },
        schema=base_schema(),
    )
    parquet.write_table(table, part / f"{len(list(part.iterdir()))}.parquet")


def test_scores_come_from_the_log_by_version_a_subject_once(tmp_path: Path) -> None:
    second = timedelta(seconds=1)
    write_log(
        tmp_path,
        [
            (NOON - second, 5, "before", 0.0),
            (NOON, 5, "ada", 0.1),
            (NOON + second, 5, "ada", 0.9),
            (NOON + second, 6, "ben", 0.2),
            (NOON + second, 6, None, 0.3),
            (NOON + second, 6, None, 0.4),
            (NOON + second, 4, "cyd", 0.5),
            (NOON + 10 * second, 5, "dan", 0.6),
        ],
    )
    reader = Figures("dense", 5, 6, log=tmp_path, log_from=NOON)
    stable, canary, reader = reader.read(NOON + LOG_LAG + 5 * second)
    assert (stable.scores, canary.scores) == ((0.1,), (0.2, 0.3, 0.4))
    write_log(tmp_path, [(NOON + 8 * second, 6, "ben", 0.7), (NOON + 8 * second, 6, "eve", 0.8)])
    stable, canary, reader = reader.read(NOON + LOG_LAG + 20 * second)
    assert (stable.scores, canary.scores) == ((0.6,), (0.8,))
    stable, canary, _ = reader.read(NOON + LOG_LAG + 40 * second)
    assert (stable.scores, canary.scores) == ((), ())


def test_a_log_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    reader = Figures("dense", 5, 6, log=tmp_path / "later", log_from=NOON)
    stable, canary, _ = reader.read(NOON + timedelta(hours=1))
    assert stable == canary == Sample()
