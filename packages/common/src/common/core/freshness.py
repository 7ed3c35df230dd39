"""How long an answer counts as fresh, and what may still be said of it later. Time and chance are arguments."""

import math
from dataclasses import dataclass, fields
from typing import Literal, TypeAlias

from common.core.errors import InvalidRequest

ServedOnError: TypeAlias = Literal["expired", "unverified", "bumped"]

HALF_WAY = 0.1
"""What saves this share of one loader's time (hits a second times seconds a load) gets the middle of its range."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How one kind of answer is kept. Raises InvalidRequest, naming the field, for terms that make no sense."""

    ttl_seconds: float
    """How long a value is fresh at most; where `max_ttl_seconds` is set, at least."""

    max_ttl_seconds: float | None = None
    """Dynamic TTL: what is asked for often and loads slowly is kept longer than `ttl_seconds`, up to this."""

    jitter: float = 0.1
    """The share of a lifetime that chance may take off it: what was stored together shall not expire together."""

    cost_seconds: float | None = None
    """What a load costs, for the dynamic TTL; None takes the time it took."""

    negative_ttl_seconds: float = 0.0
    """How long 'there is no such thing' is kept; 0 asks again each time."""

    stale_while_revalidate_seconds: float = 0.0
    """How long after its end a value is still given out while it is loaded anew behind the caller's back."""

    stale_if_error_seconds: float = 0.0
    """How long after its end a value is still given out when the origin is away."""

    stale_if_error_serves: ServedOnError = "expired"
    """What such a value may be: only `expired`; also `unverified`, while it cannot be known whether it was bumped;
    also `bumped`, known to be out of date. The last two are for what anybody may read: a bump may have been the
    withdrawal of a right."""

    retry_seconds: float = 1.0
    """How long the origin is not asked again after a value stood in for it."""

    load_deadline_seconds: float = 10.0
    """How long one load may take."""

    shared: bool = True
    """Whether the shared tier is used at all."""

    one_load_across_processes: bool = False
    """Whether other processes wait for the one that loads, for at most `load_deadline_seconds`, before they load."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float | int) and not (math.isfinite(value) and value >= 0):
                raise InvalidRequest(f"Policy.{field.name} must be a finite number that is not negative.")
        if self.ttl_seconds == 0 or self.load_deadline_seconds == 0:
            raise InvalidRequest("Policy.ttl_seconds and Policy.load_deadline_seconds must be above 0.")
        if self.jitter > 1:
            raise InvalidRequest("Policy.jitter is a share: it must not be above 1.")
        if self.max_ttl_seconds is not None and self.max_ttl_seconds < self.ttl_seconds:
            raise InvalidRequest("Policy.max_ttl_seconds must not be below Policy.ttl_seconds.")

    @property
    def stale_seconds(self) -> float:
        """For how long beyond its end a value is worth keeping."""
        return max(self.stale_while_revalidate_seconds, self.stale_if_error_seconds)


def lifetime_seconds(policy: Policy, *, hits_per_second: float, load_seconds: float, chance: float) -> float:
    """How long a value that was just loaded is fresh. `chance` is uniform in [0, 1)."""
    cost = load_seconds if policy.cost_seconds is None else policy.cost_seconds
    return dynamic_ttl_seconds(policy, hits_per_second, cost) * (1 - policy.jitter * chance)


def dynamic_ttl_seconds(policy: Policy, hits_per_second: float, cost_seconds: float) -> float:
    """Between `ttl_seconds` and `max_ttl_seconds`, the longer the more work the stored value saves."""
    if policy.max_ttl_seconds is None:
        return policy.ttl_seconds
    saved = max(hits_per_second, 0.0) * max(cost_seconds, 0.0)
    share = 1.0 if math.isinf(saved) else saved / (saved + HALF_WAY)
    return policy.ttl_seconds + (policy.max_ttl_seconds - policy.ttl_seconds) * share


def serves_on_error(policy: Policy, *, overdue_seconds: float, bumped: bool, verified: bool) -> bool:
    """May this value stand in for one that could not be loaded? `overdue_seconds` is negative while it is fresh."""
    if policy.stale_if_error_seconds == 0 or overdue_seconds >= policy.stale_if_error_seconds:
        return False
    if bumped:
        return policy.stale_if_error_serves == "bumped"
    return verified or policy.stale_if_error_serves != "expired"
