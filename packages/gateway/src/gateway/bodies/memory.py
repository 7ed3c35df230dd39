"""What bodies may hold in memory, each and all together."""

from gateway.bodies.aside import aside
from gateway.core.bodies.json_count import values_in
from gateway.core.body_refusals import NoRoom
from gateway.core.refusals import TooLarge

TOO_LARGE = "Request entity too large."
BUSY = "Too many requests are being taken in; please retry."

VALUE_BYTES = 64
"""What a value of JSON takes at least once it is parsed, however little of the text it is."""


class Memory:
    """What all bodies together may hold in memory; files are not counted here."""

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes

    def reserve(self, size: int) -> None:
        """Raises NoRoom."""
        if size > self._left:
            raise NoRoom(BUSY)
        self._left -= size

    def release(self, size: int) -> None:
        self._left += size


class Share:
    """One request's part of the memory."""

    def __init__(self, memory: Memory, max_bytes: int) -> None:
        self._memory = memory
        self._max_bytes = max_bytes
        self._held = 0

    def take(self, size: int) -> None:
        """Raises TooLarge, NoRoom."""
        if self._held + size > self._max_bytes:
            raise TooLarge(TOO_LARGE)
        self._memory.reserve(size)
        self._held += size

    @property
    def values_left(self) -> int:
        return (self._max_bytes - self._held) // VALUE_BYTES

    def take_values(self, count: int) -> None:
        """Raises TooLarge, NoRoom."""
        self.take(VALUE_BYTES * count)

    def give_back(self) -> None:
        self._memory.release(self._held)
        self._held = 0


async def weigh(text: bytes, share: Share) -> None:
    """Take what will become of the text if it is JSON. Raises TooLarge, NoRoom."""
    share.take_values(await aside(len(text), values_in, text, share.values_left))
