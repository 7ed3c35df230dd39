"""What one process knows about the keys of one rule without asking: uses it holds, and refusals that still stand."""

from collections import Counter
from dataclasses import dataclass

from common.core.rate_limit import Answer, Ask
from common.core.rate_limit_decision import Decision, Reason, Source, not_limited
from common.core.rate_limit_key import By, limit_key
from common.core.rate_limit_rule import Rule

FIRST_BLOCK = 2
MAX_KNOWN = 50_000
SHORTEST_SWEEP_SECONDS = 0.025
LEASE_MARGIN = 0.99
"""The share of a lease's time that is used: the two clocks may run at slightly different speed."""


class Tally:
    """How often a rule came to which decision."""

    def __init__(self) -> None:
        self.taken = 0
        self._told: Counter[tuple[Reason, bool, Source]] = Counter()

    def add(self, decision: Decision) -> None:
        if decision.reason == "allowed" and decision.source == "server":
            self.taken += 1
            return
        self._told[decision.reason, decision.allowed, decision.source] += 1

    def counts(self) -> dict[tuple[Reason, bool, Source], int]:
        """By reason, whether it was allowed, and source."""
        leased: Counter[tuple[Reason, bool, Source]] = Counter({("allowed", True, "server"): self.taken})
        return dict(self._told + leased)


@dataclass(slots=True)
class Held:
    """Uses on lease. `until` is monotonic seconds."""

    rule: Rule
    tally: Tally
    left: int
    until: float
    remaining: int
    reset_at: float
    granted: int
    lease_until_us: int

    def take(self, cost: int, now: float) -> Decision | None:
        left = self.left - cost
        if left < 0 or now >= self.until:
            return None
        self.left = left
        self.tally.taken += 1
        return Decision(True, "allowed", self.rule, self.remaining + left, self.reset_at - now, 0.0, "server")


@dataclass(slots=True)
class Refused:
    """The counters cannot say anything else before `until`, monotonic seconds."""

    rule: Rule
    tally: Tally
    until: float
    reason: Reason

    def take(self, _cost: int, now: float) -> Decision | None:
        left = self.until - now
        if left <= 0:
            return None
        decision = Decision(False, self.reason, self.rule, 0, left, left, "server")
        self.tally.add(decision)
        return decision


class Lane:
    """One rule at work."""

    def __init__(self, rule: Rule, nodes: int, owner: int, tally: Tally) -> None:
        self.rule = rule
        self.share = rule.share(nodes)
        self.off = not_limited(rule) if rule.is_off else None
        self.known: dict[By, Held | Refused] = {}
        self.tally = tally
        self._owner = owner
        self._asking: set[By] = set()
        lease_us, every_us = rule.terms.lease_us, rule.terms.every_us
        self.lease_seconds = lease_us / 1e6 * LEASE_MARGIN
        self.sweep_seconds = max((lease_us / 2 or every_us) / 1e6, SHORTEST_SWEEP_SECONDS)

    def key(self, by: By) -> bytes:
        return limit_key(self.rule.name, by)

    def told(self, decision: Decision) -> Decision:
        self.tally.add(decision)
        return decision

    def ask(self, by: By, cost: int) -> Ask:
        """The question about one use. It gives back what is held for the key and, unless that has been asked for
        already, wants more: twice as much as was used up in time, or as much as was used at all."""
        known = self.known.pop(by, None)
        terms = self.rule.terms
        cost = min(cost, terms.capacity + 1)
        if not terms.lease_budget:
            return Ask(self.key(by), terms, cost)
        held = known if isinstance(known, Held) else None
        want = 0
        if by not in self._asking:
            self._asking.add(by)
            want = next_block(held)
        if held is None:
            return Ask(self.key(by), terms, cost, want, self._owner)
        return Ask(self.key(by), terms, cost, want, self._owner, held.lease_until_us, held.left)

    def peek(self, by: By) -> Ask:
        """The question that counts nothing."""
        return Ask(self.key(by), self.rule.terms, 0)

    def local_ask(self, by: By, cost: int) -> Ask:
        """The same question to counters of this process alone, for its share of the limit."""
        return Ask(self.key(by), self.share.terms, min(cost, self.share.terms.capacity + 1))

    def give_back(self, by: By) -> Ask | None:
        """Forget what is known about the key; the ask that settles its lease, if it has one."""
        known = self.known.pop(by, None)
        if not isinstance(known, Held):
            return None
        return Ask(self.key(by), self.rule.terms, 0, 0, self._owner, known.lease_until_us, known.left)

    def answered(self, by: By, ask: Ask, answer: Answer | None, sent_at: float) -> Ask | None:
        """Remember what the answer to a question of `sent_at` allows to know; an ask if that has to be told."""
        if ask.want:
            self._asking.discard(by)
        if answer is None:
            return None
        if answer.granted:
            settling = self.give_back(by)
            self.known[by] = Held(
                self.rule,
                self.tally,
                left=answer.granted,
                until=sent_at + self.lease_seconds,
                remaining=answer.remaining,
                reset_at=sent_at + answer.reset_us / 1e6,
                granted=answer.granted,
                lease_until_us=answer.lease_until_us,
            )
            return settling
        if self._stands(ask, answer):
            settling = self.give_back(by)
            self.known[by] = Refused(self.rule, self.tally, sent_at + answer.retry_us / 1e6, answer.outcome)
            return settling
        return None

    def _stands(self, ask: Ask, answer: Answer) -> bool:
        """Whether every use is refused until then: no attempt needs to be counted, and nobody can give back."""
        if answer.outcome == "limited":
            return ask.cost == 1 and not ask.terms.max_uses and not ask.terms.lease_budget
        return answer.outcome == "penalised"

    def overfull(self) -> By | None:
        """Whom to forget, if there are too many."""
        return next(iter(self.known)) if len(self.known) > MAX_KNOWN else None

    def expired(self, now: float) -> list[By]:
        return [by for by, known in self.known.items() if known.until <= now]


def next_block(held: Held | None) -> int:
    if held is None:
        return FIRST_BLOCK
    return max(1, held.granted - held.left) if held.left else 2 * held.granted
