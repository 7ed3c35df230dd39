"""So many log lines a second and no more, however often others give cause for one."""


class Sparing:
    def __init__(self, a_second: int) -> None:
        self._a_second = a_second
        self._second = 0.0
        self._said = 0
        self._left_out = 0

    def admits(self, now: float) -> int | None:
        """How many were left out before this one; None when it is to be left out as well. `now` is in seconds."""
        if now - self._second >= 1:
            self._second, self._said = now, 0
        if self._said >= self._a_second:
            self._left_out += 1
            return None
        self._said += 1
        left_out, self._left_out = self._left_out, 0
        return left_out
