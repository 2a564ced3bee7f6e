"""What is on record, as Prometheus reads it: for what no process of its own tells.

A run ends, and with it its process; a model grows old while nothing happens. Both stand in the
ledger, and ``learnloop metrics`` reads them there whenever it is asked. A *source* is a function
from the settings to families of metrics; a package adds one by the entry point
``learnloop.metrics``. No label ever names a learner or a run: what labels hold is what operators
name (pipelines, models, steps, views), so that their number is bounded.
"""

from __future__ import annotations
