"""When retraining is worth it: settings, facts and rules. Pure functions over plain values."""

from __future__ import annotations

from messaging.policy.facts import Estimate, Facts
from messaging.policy.rules import Rule, Verdict, judge
from messaging.policy.settings import Policy, load_policies

__all__ = ["Estimate", "Facts", "Policy", "Rule", "Verdict", "judge", "load_policies"]
