"""Learners that do not exist: deterministic data of any size, with the truth beside it.

Stands alone: it imports no other package of the project.
"""

from simulator.settings import (
    PRESENTATIONS,
    SimulationError,
    SimulationSettings,
    SimulationSummary,
)
from simulator.simulation import simulate

__all__ = [
    "PRESENTATIONS",
    "SimulationError",
    "SimulationSettings",
    "SimulationSummary",
    "simulate",
]
