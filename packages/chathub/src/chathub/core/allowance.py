"""So many a minute of each, at once or spread: the generic cell rate algorithm (ITU-T I.371)."""

MINUTE_SECONDS = 60.0
MOST_DEBT_SECONDS = 2 * MINUTE_SECONDS
MOST_NAMES = 50_000
"""Beyond that who used nothing for the longest time starts anew."""


class Allowance:
    def __init__(self, a_minute: int) -> None:
        self._step = MINUTE_SECONDS / a_minute
        self._until: dict[str, float] = {}

    def wait(self, name: str, now: float) -> float:
        """Seconds until one more is allowed; 0 if it is now."""
        return max(0.0, round(self._until.get(name, now) + self._step - MINUTE_SECONDS - now, 6))

    def use(self, name: str, now: float) -> None:
        """Whether it is allowed or not: those that were under way together may all be used."""
        until = max(self._until.pop(name, now), now) + self._step
        self._until[name] = min(until, now + MOST_DEBT_SECONDS)
        if len(self._until) > MOST_NAMES:
            del self._until[next(iter(self._until))]
