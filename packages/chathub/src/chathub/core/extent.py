"""How far logs have come.

A place in the log is given out once: what was delivered from there, or stored under it, is never another message. A log
that ends before such a place was set back, by an older copy of it or by the loss of its newest entries, and would give
places out again.
"""

from typing import NamedTuple

from chathub.core.bus_messages import Position
from chathub.core.resume import LogBounds


class Extent(NamedTuple):
    """`last` is the last known place of the newest log, `highest` the highest sequence in any."""

    last: Position
    highest: int


NOTHING = Extent(Position(0, 0), 0)


def reaching(extent: Extent, position: Position) -> Extent:
    return Extent(max(extent.last, position), max(extent.highest, position.sequence))


def joined(one: Extent, other: Extent) -> Extent:
    return Extent(max(one.last, other.last), max(one.highest, other.highest))


def end_of(log: LogBounds) -> Position:
    return Position(log.epoch, log.last)


def is_set_back(log: LogBounds, extent: Extent) -> bool:
    """Also where it is an earlier one than was known."""
    return end_of(log) < extent.last
