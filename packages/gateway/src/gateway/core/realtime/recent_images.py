"""The last images of the feed, so that a client who was away for a moment can be told what it missed.

Of each record only the last image is told again, for that is the state whose rules hold now: what somebody could have
seen meanwhile, and may not see any more, is not told again.
"""

import re
from collections import deque
from dataclasses import dataclass

from common.core.record_feed import RecordImage

MOST_IMAGES = 2000
MOST_BYTES = 4 * 1024 * 1024
_CURSOR = re.compile(r"([0-9a-f]{1,64})\.([0-9]{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the feed."""

    epoch: str
    sequence: int

    def __str__(self) -> str:
        return f"{self.epoch}.{self.sequence}"


def read_cursor(text: str) -> Cursor | None:
    found = _CURSOR.fullmatch(text)
    return Cursor(found[1], int(found[2])) if found else None


class RecentImages:
    def __init__(self, *, most_images: int = MOST_IMAGES, most_bytes: int = MOST_BYTES) -> None:
        self._images: deque[tuple[RecordImage, int]] = deque()
        self._most_images = most_images
        self._left_bytes = most_bytes
        self._newest = Cursor("", 0)
        self._oldest = 0  # everything after it is here

    @property
    def newest(self) -> Cursor:
        return self._newest

    def add(self, image: RecordImage, size_bytes: int) -> None:
        """In the order of the feed, without a gap within an epoch."""
        if image.epoch != self._newest.epoch:
            self.begin(Cursor(image.epoch, image.sequence - 1))
        self._newest = Cursor(image.epoch, image.sequence)
        self._images.append((image, size_bytes))
        self._left_bytes -= size_bytes
        while self._images and (self._left_bytes < 0 or len(self._images) > self._most_images):
            dropped, size = self._images.popleft()
            self._left_bytes += size
            self._oldest = dropped.sequence

    def begin(self, at: Cursor) -> None:
        """What came before was not all heard."""
        self._left_bytes += sum(size for _, size in self._images)
        self._images.clear()
        self._newest, self._oldest = at, at.sequence

    def since(self, cursor: Cursor, collection_id: str) -> list[RecordImage] | None:
        """The last image of each record that was written since, in order; None where that is not known any more."""
        if cursor.epoch != self._newest.epoch or not self._oldest <= cursor.sequence <= self._newest.sequence:
            return None
        last: dict[str, RecordImage] = {}
        for image, _ in self._images:
            if image.sequence > cursor.sequence and image.collection_id == collection_id:
                last.pop(image.id, None)
                last[image.id] = image
        return list(last.values())
