"""Whether every image of the record feed was heard, and in its order.

Images come by another way than the heartbeats that say how many there were: one of the two may be ahead by an instant.
What was missed cannot be made up for, so that whoever was listening has to begin anew.
"""

from typing import Literal, TypeAlias

SILENCE_SECONDS = 3.0
BEHIND_SECONDS = 1.5
"""How long an image may take that a heartbeat has spoken of."""

Heard: TypeAlias = Literal["next", "old", "gap"]


class ImageReader:
    """Times are seconds of any one clock. `schema` is the fingerprint of the collections that were last told of."""

    def __init__(self) -> None:
        self.schema = ""
        self._epoch = ""
        self._sequence = 0
        self._beat_at = float("-inf")
        self._behind_since: float | None = None
        self._is_proven = True

    @property
    def position(self) -> tuple[str, int]:
        """Epoch and number of what was heard last."""
        return self._epoch, self._sequence

    def is_current(self, now: float) -> bool:
        """Does everything that is written arrive here? A publisher that gives no images does not count."""
        return bool(self._epoch) and self._is_proven and now - self._beat_at < SILENCE_SECONDS

    def image(self, epoch: str, sequence: int) -> Heard:
        if epoch == self._epoch and sequence == self._sequence + 1:
            self._sequence, self._behind_since, self._is_proven = sequence, None, True
            return "next"
        if epoch == self._epoch and sequence <= self._sequence:
            return "old"
        self._begin(epoch, sequence)
        return "gap"

    def beat(self, epoch: str, sequence: int, schema: str, now: float) -> Heard:
        self._beat_at = now
        is_other_schema, self.schema = schema != self.schema, schema
        if epoch != self._epoch:
            self._begin(epoch, sequence)
            return "gap"
        if self._is_behind(sequence, now):
            self._begin(epoch, sequence)
            self._is_proven = False
            return "gap"
        return "gap" if is_other_schema else "old"

    def miss(self) -> None:
        """Something may have been said that was not heard."""
        self._begin("", 0)

    def _begin(self, epoch: str, sequence: int) -> None:
        self._epoch, self._sequence, self._behind_since = epoch, sequence, None

    def _is_behind(self, sequence: int, now: float) -> bool:
        if sequence <= self._sequence:
            self._behind_since = None
            return False
        if self._behind_since is None:
            self._behind_since = now
        return now - self._behind_since >= BEHIND_SECONDS
