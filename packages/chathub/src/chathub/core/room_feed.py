"""Which of the log's messages comes next.

A node follows the whole log, every room and every whisper, so the sequences it sees are those of the stream itself
and stand in one order on every node; one number therefore says where a node or a client is. What the server sends
along as the previous sequence *of the same subject* would order each room by itself only, and is not used.
"""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Next:
    """It is the one awaited: deliver it."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """It was delivered before: drop it."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Read `first` to `last` from the log, deliver what is still there, call `skip_to(last)` and ask again."""

    first: int
    last: int


Verdict: TypeAlias = Next | Duplicate | Gap


@dataclass(slots=True)
class RoomFeed:
    position: int
    """Everything up to here has been delivered or is known to be gone."""

    def accept(self, sequence: int) -> Verdict:
        if sequence <= self.position:
            return Duplicate()
        if sequence > self.position + 1:
            return Gap(self.position + 1, sequence - 1)
        self.position = sequence
        return Next()

    def skip_to(self, sequence: int) -> None:
        """What was expected up to here is no longer in the log: it expired or was purged."""
        self.position = max(self.position, sequence)
