"""How long a conversation may go on: until its token expires, or nothing is heard for too long."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Due: TypeAlias = Literal["warning", "token_expired", "idle"]


@dataclass(frozen=True, slots=True)
class Patience:
    """In seconds: how long before a token's end its client is warned, how long it may stay after that, and how long it
    may be silent; 0 for as long as it likes."""

    warning: float
    grace: float
    idle: float


class Lifetime:
    __slots__ = ("_expires_at", "_heard_at", "_patience", "_warned")

    def __init__(self, patience: Patience, *, expires_at: float, now: float) -> None:
        """Times are of the clock that the methods are told."""
        self._patience = patience
        self._expires_at = expires_at
        self._heard_at = now
        self._warned = False

    @property
    def next_at(self) -> float:
        """When to ask again what is due."""
        next_at = self._ends_at if self._warned else self._expires_at - self._patience.warning
        return min(next_at, self._heard_at + self._patience.idle) if self._patience.idle else next_at

    def heard(self, now: float) -> None:
        self._heard_at = now

    def refreshed(self, expires_at: float) -> None:
        self._expires_at = expires_at
        self._warned = False

    def seconds_left(self, now: float) -> int:
        """Of the token; never less than 0."""
        return max(0, round(self._expires_at - now))

    def due(self, now: float) -> Due | None:
        if now >= self._ends_at:
            return "token_expired"
        if self._patience.idle and now >= self._heard_at + self._patience.idle:
            return "idle"
        if not self._warned and now >= self._expires_at - self._patience.warning:
            self._warned = True
            return "warning"
        return None

    @property
    def _ends_at(self) -> float:
        return self._expires_at + self._patience.grace
