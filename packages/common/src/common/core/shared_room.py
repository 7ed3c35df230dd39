"""How much of a tier that others need as well one process takes up. Times are seconds of one clock."""

import heapq

ENTRY_BYTES = 512
"""What an entry takes there besides its value and its key: its stamp, its tags, the tables that hold it."""


class SharedRoom:
    """What is put there leaves by itself when its time is over, and takes room until then."""

    def __init__(self, limit_bytes: int) -> None:
        self._left = limit_bytes
        self._held: dict[str, tuple[float, int]] = {}
        self._ends: list[tuple[float, str]] = []

    def has_room(self, key: str, value_bytes: int, now: float) -> bool:
        """For a value in place of what is there under the key."""
        while self._ends and self._ends[0][0] <= now:
            end, ended = heapq.heappop(self._ends)
            if self._held.get(ended, (None, 0))[0] == end:
                self._left += self._held.pop(ended)[1]
        return self._size(key, value_bytes) <= self._left + self._held.get(key, (0.0, 0))[1]

    def hold(self, key: str, value_bytes: int, until: float) -> None:
        _, before = self._held.get(key, (0.0, 0))
        size = self._size(key, value_bytes)
        self._left += before - size
        self._held[key] = until, size
        heapq.heappush(self._ends, (until, key))

    @staticmethod
    def _size(key: str, value_bytes: int) -> int:
        return ENTRY_BYTES + len(key) + value_bytes
