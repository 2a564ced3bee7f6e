"""One simulation that most tests read, and helpers to read it back."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from simulator import SimulationSettings, simulate


@pytest.fixture(scope="session")
def simulation_settings() -> SimulationSettings:
    return SimulationSettings(attempts=64_000, seed=11)


@pytest.fixture(scope="session")
def simulated(
    simulation_settings: SimulationSettings, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("simulation") / "simulated"
    simulate(simulation_settings, folder)
    return folder


@pytest.fixture(scope="session")
def digests_of():
    """Return the digest of every file of a folder, by relative path."""

    def digests(folder: Path) -> dict[str, str]:
        return {
            str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        }

    return digests
