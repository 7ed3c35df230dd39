"""How many frames one socket may send, whatever they hold: a bucket that fills again with time."""

import math
from typing import Literal, TypeAlias

Verdict: TypeAlias = Literal["pass", "drop", "close"]


class Flow:
    """Lets `burst` frames through at once and `per_second` on; who goes on for another burst is to be closed."""

    __slots__ = ("_at", "_burst", "_left", "_per_second")

    def __init__(self, *, per_second: float, burst: int, now: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left = float(burst)
        self._at = now

    def judge(self, now: float) -> Verdict:
        self._left = min(self._left + (now - self._at) * self._per_second, self._burst)
        self._at = now
        self._left -= 1
        if self._left >= 0:
            return "pass"
        return "drop" if self._left >= -self._burst else "close"

    def wait_ms(self) -> int:
        """Until a frame passes again."""
        return max(1, math.ceil((1 - self._left) / self._per_second * 1000))
