"""Every command and file of ``docs/privacy.md``, followed to the letter in an empty project."""

from __future__ import annotations

from pathlib import Path

from tests.docs.test_guides import Reader


class KeyedReader(Reader):
    """Has made a key, as the guide says first."""

    def _environment(self) -> dict[str, str]:
        return {**super()._environment(), "LEARNLOOP_PSEUDONYM_KEYS": "2026:" + "k" * 32}


def test_the_guide_of_privacy(tmp_path: Path) -> None:
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "__init__.py").touch()
    (tmp_path / "learnloop.toml").touch()
    reader = KeyedReader(tmp_path)
    made, _, erased, shown, _, held, listed, released, planned, enforced = reader.follow(
        "privacy.md"
    )
    assert made == ""
    rows = dict(line.rsplit("\t", 1) for line in erased.splitlines()[1:-1])
    assert rows == {
        "events": "0",
        "predictions": "0",
        "artifacts of marks/ingest, 1 execution": "1",
        "artifacts of marks/split, 1 execution": "1",
    }
    assert erased.splitlines()[-1].startswith("Receipt: ")
    assert "ingest.records: erased on " in shown
    assert held == listed and held.splitlines()[1].endswith("\tcase-17")
    assert released == "held\tsince\tby\treason\n"
    assert planned.splitlines()[1:] == [
        "events\t400d\t0",
        "predictions\t180d\t0",
        "features\t400d\t0",
        "artifacts\t90d\t0",
    ]
    assert enforced.splitlines()[1:] == planned.splitlines()[1:]
