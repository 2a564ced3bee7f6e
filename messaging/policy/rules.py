"""The rules, in the order in which they speak. Each says in one sentence why it lets pass or not.

All rules are asked and all answers recorded; the first that does not let pass decides. What is not
known is not held against a request, because cool-down and budget bound what that can cost.

A model that was trained with an erased person is trained again whatever that is worth: rules may
delay it, none refuses it. Within the cool-down it waits, so that one run answers many erasures.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from messaging.policy.facts import Facts
from messaging.policy.settings import Policy

COOL_DOWN = "cool-down"


class Verdict(StrEnum):
    """What is to be done."""

    run = "run"
    refuse = "refuse"
    wait = "wait"


@dataclass(frozen=True)
class Rule:
    """One rule's answer.

    Args:
        name: The rule.
        verdict: ``run`` if it lets pass.
        sentence: Why, with the figures.
    """

    name: str
    verdict: Verdict
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """The answer as the ledger keeps it."""
        return {"rule": self.name, "verdict": str(self.verdict), "sentence": self.sentence}


@dataclass(frozen=True)
class Judgement:
    """What a policy says.

    Args:
        verdict: What is to be done.
        sentence: Why, in one sentence.
        rules: Every rule's answer.
    """

    verdict: Verdict
    sentence: str
    rules: tuple[Rule, ...]


def judge(policy: Policy, facts: Facts) -> Judgement:
    """Decide whether a run is worth it now.

    Args:
        policy: The pipeline's policy.
        facts: What is known.

    Example:
        >>> from datetime import UTC
        >>> facts = Facts(now=datetime(2026, 3, 2, 12, tzinfo=UTC), new_rows=20)
        >>> judge(Policy(minimum_new_rows=500), facts).sentence
        'Refused: 20 new labelled rows, at least 500 are wanted.'
    """
    rules: tuple[Rule, ...] = (
        _cool_down(policy, facts),
        _budget(policy, facts),
        _new_rows(policy, facts),
        _expected_gain(policy, facts),
        _quiet_hours(policy, facts),
    )
    if facts.is_erasure:
        rules = tuple(map(_for_erasure, rules))
    against = next((rule for rule in rules if rule.verdict is not Verdict.run), None)
    if facts.override:
        whatever = f" though {_lower(against.sentence)}" if against else "."
        sentence = f"Run: {facts.requested_by} overrides the policy ({facts.override}){whatever}"
        return Judgement(Verdict.run, sentence, rules)
    if against is None:
        return Judgement(Verdict.run, f"Run: {_lower(_strongest(rules, facts).sentence)}", rules)
    word = "Waiting" if against.verdict is Verdict.wait else "Refused"
    return Judgement(against.verdict, f"{word}: {_lower(against.sentence)}", rules)


def _for_erasure(rule: Rule) -> Rule:
    """Turn a refusal into a delay, of the rule that bounds it in time, or into consent."""
    if rule.verdict is not Verdict.refuse:
        return rule
    if rule.name == COOL_DOWN:
        return Rule(rule.name, Verdict.wait, rule.sentence)
    return Rule(rule.name, Verdict.run, f"A person was erased, whatever else: {rule.sentence}")


def _strongest(rules: tuple[Rule, ...], facts: Facts) -> Rule:
    """Choose the rule that best says why a run is worth it."""
    by_name = {rule.name: rule for rule in rules}
    if facts.is_erasure:
        return Rule("erasure", Verdict.run, "A person was erased with whom models were trained.")
    if facts.loss is not None:
        return by_name["expected gain"]
    return by_name["new rows" if facts.new_rows is not None else COOL_DOWN]


def _cool_down(policy: Policy, facts: Facts) -> Rule:
    name, wanted = COOL_DOWN, policy.cool_down_hours
    if facts.last_run is None:
        return Rule(name, Verdict.run, "There was no run before.")
    hours = (facts.now - facts.last_run) / timedelta(hours=1)
    if hours < wanted:
        sentence = f"The last run began {hours:.1f} h ago, {wanted:g} h must lie between two."
        return Rule(name, Verdict.refuse, sentence)
    sentence = f"The last run began {hours:.1f} h ago, more than {wanted:g} h."
    return Rule(name, Verdict.run, sentence)


def _budget(policy: Policy, facts: Facts) -> Rule:
    used, budget = facts.runs_today, policy.runs_a_day
    sentence = f"Messages caused {used} of {budget} runs that 24 h may have."
    return Rule("budget", Verdict.run if used < budget else Verdict.refuse, sentence)


def _new_rows(policy: Policy, facts: Facts) -> Rule:
    name, wanted = "new rows", policy.minimum_new_rows
    if facts.new_rows is None:
        return Rule(name, Verdict.run, "How many new labelled rows there are is not known.")
    if facts.new_rows < wanted:
        sentence = f"{facts.new_rows:,} new labelled rows, at least {wanted:,} are wanted."
        return Rule(name, Verdict.refuse, sentence)
    return Rule(name, Verdict.run, f"{facts.new_rows:,} new labelled rows, enough of {wanted:,}.")


def _expected_gain(policy: Policy, facts: Facts) -> Rule:
    name, wanted, loss = "expected gain", policy.minimum_gain, facts.loss
    if loss is None or facts.live is None or facts.evaluated is None:
        return Rule(name, Verdict.run, "What the champion is worth today is not known.")
    change = (
        f"The champion's AUC went from {facts.evaluated.value:.3f} to {facts.live.value:.3f}, "
        f"a loss of {loss.value:.3f} ({loss.low:.3f} to {loss.high:.3f}, 95 %)"
    )
    if loss.low >= wanted:
        return Rule(name, Verdict.run, f"{change}, surely {wanted:g} or more.")
    enough = policy.enough_new_rows
    if facts.new_rows is not None and facts.new_rows >= enough:
        sentence = f"{facts.new_rows:,} new labelled rows are worth a run, {enough:,} would do."
        return Rule(name, Verdict.run, sentence)
    return Rule(name, Verdict.refuse, f"{change}, which is not surely {wanted:g} or more.")


def _quiet_hours(policy: Policy, facts: Facts) -> Rule:
    name, local = "quiet hours", facts.now.astimezone(ZoneInfo(policy.time_zone))
    for span in policy.quiet_hours:
        begin, _, end = span.partition("-")
        if _is_within(f"{local:%H:%M}", begin, end):
            sentence = f"No run begins from {begin} to {end} ({policy.time_zone})."
            return Rule(name, Verdict.wait, sentence)
    return Rule(name, Verdict.run, f"{local:%H:%M} ({policy.time_zone}) is no quiet hour.")


def _is_within(moment: str, begin: str, end: str) -> bool:
    """Tell whether a time of day lies in a span, which may go past midnight."""
    if begin <= end:
        return begin <= moment < end
    return moment >= begin or moment < end


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]
