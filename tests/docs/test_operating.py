"""The operators' guide knows every setting."""

from __future__ import annotations

from pathlib import Path

from learnloop.settings import Settings

GUIDE = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()


def test_every_setting_is_told_with_its_variable() -> None:
    for name in Settings.model_fields:
        assert f"| `{name}` | `LEARNLOOP_{name.upper()}` |" in GUIDE, name
