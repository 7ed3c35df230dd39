"""When an issuer is asked for its keys: often enough that a withdrawn key ends, never because somebody asks often.

Decides; the driver fetches. Times are seconds of one monotonic clock.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Step: TypeAlias = Literal["use", "use and refresh", "wait", "unknown", "away"]
"""What to do for one token: use the key at hand; the same, and refresh beside; wait for a refresh (join one that is
under way) and ask again; refuse the token; tell its bearer to come again."""


@dataclass(frozen=True, slots=True)
class RefreshTerms:
    """How long keys are believed, in seconds.

    Keys older than `refresh_seconds` are fetched anew beside the traffic, those older than `ttl_seconds` before they
    are used again; where that fails, they are still used up to `max_stale_seconds`. Between two fetches at least
    `cooldown_seconds` pass, twice as many after each that failed or brought nothing new, up to `max_cooldown_seconds`.
    """

    refresh_seconds: float = 1800
    ttl_seconds: float = 3600
    max_stale_seconds: float = 24 * 3600
    cooldown_seconds: float = 1
    max_cooldown_seconds: float = 10

    def __post_init__(self) -> None:
        if not 0 < self.refresh_seconds <= self.ttl_seconds <= self.max_stale_seconds:
            raise ValueError("refresh_seconds, ttl_seconds and max_stale_seconds must not descend")
        if not 0 < self.cooldown_seconds <= self.max_cooldown_seconds:
            raise ValueError("cooldown_seconds must be more than 0 and at most max_cooldown_seconds")


class KeyRefresh:
    """What is known about the age of one issuer's keys, and what follows from it."""

    def __init__(self, terms: RefreshTerms) -> None:
        self._terms = terms
        self._fetched_at = float("-inf")
        self._asked_at = float("-inf")
        self._may_ask_at = float("-inf")
        self._setbacks = 0
        self._failing = False

    def has_keys(self, now: float) -> bool:
        """Whether there are keys that may still be believed."""
        return now - self._fetched_at < self._terms.max_stale_seconds

    def step(self, *, is_known: bool, now: float, has_waited: bool = False) -> Step:
        """What to do for a token whose key is among those at hand, or is not. Who has waited does not wait again."""
        may_ask = now >= self._may_ask_at and not has_waited
        if is_known and self.has_keys(now):
            age = now - self._fetched_at
            if not may_ask or age < self._terms.refresh_seconds:
                return "use"
            return "use and refresh" if age < self._terms.ttl_seconds or self._failing else "wait"
        if may_ask:
            return "wait"
        return "unknown" if self.has_keys(now) and not self._failing else "away"

    def succeeded(self, now: float, *, has_changed: bool) -> None:
        self._failing = False
        self._fetched_at = now
        self._rest(now, is_setback=not has_changed)

    def failed(self, now: float) -> None:
        self._failing = True
        self._rest(now, is_setback=True)

    def _rest(self, now: float, *, is_setback: bool) -> None:
        quiet = now - self._asked_at > 2 * self._terms.max_cooldown_seconds
        self._setbacks = 0 if quiet or not is_setback else self._setbacks + 1
        doubled = self._terms.cooldown_seconds * 2 ** min(self._setbacks, 32)
        self._asked_at = now
        self._may_ask_at = now + min(doubled, self._terms.max_cooldown_seconds)
