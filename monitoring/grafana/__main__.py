"""Write the dashboards as the JSON that Grafana is provisioned with."""

from __future__ import annotations

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from monitoring.grafana.boards import dashboards

FOLDER = Path(__file__).parent / "dashboards"


def documents() -> dict[str, str]:
    """Make every dashboard's JSON, by the file's name."""
    return {
        f"{made.uid}.json": json.dumps(made, cls=JSONEncoder, indent=1, sort_keys=True) + "\n"
        for made in dashboards()
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in documents().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
