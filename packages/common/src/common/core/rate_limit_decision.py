"""What a caller is told about one use."""

from typing import Literal, TypeAlias

import msgspec

from common.core.errors import RateLimited
from common.core.rate_limit import Answer
from common.core.rate_limit_rule import Rule

Reason: TypeAlias = Literal["allowed", "limited", "penalised", "away"]
Source: TypeAlias = Literal["server", "local"]

AWAY_RETRY_SECONDS = 1.0

_REFUSALS = {
    "limited": "Too many requests",
    "penalised": "Far too many requests",
    "away": "Requests cannot be counted at the moment",
}


class Decision(msgspec.Struct, frozen=True, gc=False):
    """`remaining`: uses left in the window. `reset_seconds`: until more of them come free. `retry_after_seconds`: until
    the same use may pass, 0 when it did. `source`: the shared counters, or this process alone."""

    allowed: bool
    reason: Reason
    rule: Rule
    remaining: int
    reset_seconds: float
    retry_after_seconds: float
    source: Source

    @property
    def limit(self) -> int:
        """Uses in a window; 0 when the rule is off."""
        return self.rule.terms.ceiling


class LimitReached(RateLimited):
    """Refused; `decision` says why."""

    def __init__(self, decision: Decision) -> None:
        seconds = whole_seconds(decision.retry_after_seconds)
        super().__init__(f"{_REFUSALS[decision.reason]}; try again in {seconds} s.", retry_seconds=seconds)
        self.decision = decision


def whole_seconds(seconds: float) -> int:
    """Rounded up, at least 1: who waits that long has waited long enough."""
    return max(1, -int(-seconds // 1))


def decided(rule: Rule, answer: Answer, source: Source) -> Decision:
    return Decision(
        answer.outcome == "allowed",
        answer.outcome,
        rule,
        answer.remaining,
        answer.reset_us / 1e6,
        answer.retry_us / 1e6,
        source,
    )


def foreseen(rule: Rule, answer: Answer, source: Source, *, held: int = 0) -> Decision:
    """What a use would be told, from the answer to a question that counted none; `held` of them are at hand."""
    remaining = answer.remaining + held
    reset_seconds = answer.reset_us / 1e6
    if answer.outcome != "allowed" or remaining:
        return Decision(
            not answer.retry_us, answer.outcome, rule, remaining, reset_seconds, answer.retry_us / 1e6, source
        )
    return Decision(False, "limited", rule, 0, reset_seconds, reset_seconds, source)


def not_limited(rule: Rule) -> Decision:
    """The rule is off."""
    return Decision(True, "allowed", rule, 0, 0.0, 0.0, "local")


def while_away(rule: Rule) -> Decision:
    """The counters are away and the rule is to be open or closed meanwhile."""
    is_open = rule.when_away == "open"
    wait = 0.0 if is_open else AWAY_RETRY_SECONDS
    return Decision(is_open, "away", rule, 0, wait, wait, "local")
