"""Whether what was read then still stands now: every tag has an epoch, and a bump ends it."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import TypeAlias

EVERYTHING = "*"
"""The tag that every entry bears."""

Tags: TypeAlias = tuple[str, ...]
Stamp: TypeAlias = tuple[int, ...]
"""The epochs that held when something was read: of EVERYTHING, then of each tag in its order."""


class EpochTable:
    """The current epoch of each tag, in this process.

    Epochs are numbers that are never given twice, so an epoch that is gone cannot come back. The table is bounded:
    a tag that it had to forget gets a new epoch when next asked for, which kills what bore the old one.

    `generation` moves whenever something that held may have ceased to hold: while it stands still, nothing did.
    """

    def __init__(self, capacity: int) -> None:
        self.generation = 0
        self._capacity = capacity
        self._given = 0
        self._everything = self._new()
        self._epochs: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._epochs)

    def stamp(self, tags: Tags) -> Stamp:
        """To be taken before reading; `holds` tells afterwards whether the reading still counts."""
        return (self._everything, *[self._epoch(tag) for tag in tags])

    def holds(self, tags: Tags, stamp: Stamp) -> bool:
        return self.ended(tags, stamp) is None

    def ended(self, tags: Tags, stamp: Stamp) -> str | None:
        """The first tag whose epoch is no longer the stamped one."""
        if stamp[0] != self._everything:
            return EVERYTHING
        current = self._epochs.get
        return next((tag for tag, epoch in zip(tags, stamp[1:], strict=True) if current(tag) != epoch), None)

    def bump(self, tags: Iterable[str]) -> None:
        for tag in tags:
            if tag == EVERYTHING:
                self._everything = self._new()
                self._epochs.clear()
            else:
                self._epochs.pop(tag, None)
        self.generation += 1

    def _epoch(self, tag: str) -> int:
        epoch = self._epochs.get(tag)
        if epoch is not None:
            self._epochs.move_to_end(tag)
            return epoch
        epoch = self._epochs[tag] = self._new()
        if len(self._epochs) > self._capacity:
            self._epochs.popitem(last=False)
            self.generation += 1
        return epoch

    def _new(self) -> int:
        self._given += 1
        return self._given
