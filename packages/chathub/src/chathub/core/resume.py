"""Whether a client that was away can be given all it missed, or has to be told that this is not possible.

A client stands at one place of the log, and the log has one order on every node. All that lies behind the place is
what the client missed; it is provable exactly as long as the log still begins no later than right behind it.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, TypeAlias

from chathub.core.bus_messages import Amendment, Position, Stored, amended, amends, prevailing
from common.core.errors import InvalidRequest

MAX_MISSED = 10_000
"""Places of the log that are read for one client; who was away longer starts from the history as a new one does."""

Loss: TypeAlias = Literal["new", "other_log", "expired", "unknown", "too_far"]

_TEXT = re.compile(r"(?P<epoch>[0-9]{1,18})\.(?P<sequence>[0-9]{1,18})")


class LogBounds(NamedTuple):
    """`first` and `last` are sequences; `last` is `first - 1` while the log is empty."""

    epoch: int
    first: int
    last: int


def read_position(text: str) -> Position | None:
    """`<epoch>.<cacheID>` as a client gives it; None for `new`. Raises InvalidRequest."""
    if text == "new":
        return None
    if not (found := _TEXT.fullmatch(text)):
        raise InvalidRequest("resume is `new` or `<epoch>.<cacheID>`.")
    return Position(int(found["epoch"]), int(found["sequence"]))


def loss(position: Position | None, log: LogBounds) -> Loss | None:
    """Why not all that came after the place can be proved to be there; None if it can."""
    if position is None:
        return "new"
    if position.epoch != log.epoch:
        return "other_log"
    if position.sequence > log.last:
        return "unknown"
    if position.sequence + 1 < log.first:
        return "expired"
    if log.last - position.sequence > MAX_MISSED:
        return "too_far"
    return None


def latest_amendments(entries: Iterable[Stored]) -> dict[Position, Amendment]:
    """What a stretch of the log makes of messages, by their places."""
    last: dict[Position, Amendment] = {}
    for _, message in entries:
        if isinstance(message, Amendment):
            last[amends(message)] = prevailing(last.get(amends(message)), message)
    return last


def as_it_stands(missed: Sequence[Stored]) -> list[Stored]:
    """A stretch of the log without what was deleted within it, and with the last wording alone of what was edited."""
    last = latest_amendments(missed)
    found: list[Stored] = []
    for stored in missed:
        message, amendment = stored.message, last.get(stored.position)
        if isinstance(message, Amendment) and last[amends(message)] is not message:
            continue
        now = amended(stored, amendment) if amendment else stored
        if now is not None:
            found.append(now)
    return found
