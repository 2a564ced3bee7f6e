"""The columns of histories and windows, by name."""

from __future__ import annotations

LEARNER = "learner"
"""Who practised; in three-line files, which name nobody, the sequence."""

VIEW = "practice_history"
"""The feature view that histories are kept and asked for in."""

AS_OF = "as_of"
"""Its time: when the history was as it is."""

HISTORY = ("skills", "responses")
"""Its features."""
