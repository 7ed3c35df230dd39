"""Frames that wait for one client, bounded in bytes."""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple


class Frame(NamedTuple):
    """One text frame, encoded once for all who get it; `size` is its length in bytes."""

    text: str
    size: int


class Outbox:
    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self._frames: deque[Frame] = deque()

    def put(self, frame: Frame) -> bool:
        """False when the client has fallen too far behind: the frame was not taken, and it must be closed."""
        if self.size + frame.size > self.limit:
            return False
        self.size += frame.size
        self._frames.append(frame)
        return True

    def welcome(self, frames: Sequence[Frame]) -> None:
        """What a client is owed on connecting comes on top of the limit: history must not close who asks for it."""
        self.limit += sum(frame.size for frame in frames)
        for frame in frames:
            self.put(frame)

    def take(self) -> Frame | None:
        if not self._frames:
            return None
        frame = self._frames.popleft()
        self.size -= frame.size
        return frame

    def clear(self) -> None:
        self._frames.clear()
        self.size = 0
