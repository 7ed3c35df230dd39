"""What is refused of an upload that comes in piece by piece.

Conflict
├── TakenOver
└── Moved
"""

from common.core.errors import Conflict


class TakenOver(Conflict):
    """The upload goes on over another connection."""

    code = "taken_over"

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class Moved(Conflict):
    """The upload is at another offset."""

    code = "moved"

    def __init__(self) -> None:
        super().__init__(self.__doc__)
