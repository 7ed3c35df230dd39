"""The latest messages of channels as Valkey keeps them, for nodes that begin: what is written there, and what is read.

It holds, of each channel, the newest by their place in the log, and up to where in the log it is complete. Writing the
same twice changes nothing, and who finds it incomplete or gone writes it anew from what a node remembers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from chathub.core.bus_messages import (
    Amendment,
    Position,
    RoomMessage,
    Stored,
    Unreadable,
    encode,
    read_message,
)


class Step(NamedTuple):
    """What one entry of the log changes; `text` is the whole message, or of an edit its new wording. `clear` is of all
    channels, `whole` says that nothing of a log that was before would have to be there too."""

    kind: Literal["add", "clear", "delete", "edit", "whole"]
    channel_id: int
    sequence: int
    text: bytes


CLEAR = Step("clear", 0, 0, b"")
WHOLE = Step("whole", 0, 0, b"")


@dataclass(frozen=True, slots=True)
class Mirrored:
    upto: int
    is_whole: bool
    messages: Sequence[Stored]


def steps(entries: Iterable[Stored]) -> list[Step]:
    """Of whispers none."""
    found = [step(stored) for stored in entries]
    return [one for one in found if one]


def step(stored: Stored) -> Step | None:
    message = stored.message
    if isinstance(message, RoomMessage):
        return Step("add", message.channel_id, stored.position.sequence, encode(message))
    if isinstance(message, Amendment) and message.channel_id is not None:
        return amending(message, message.channel_id, stored.position.epoch)
    return None


def amending(amendment: Amendment, channel_id: int, epoch: int) -> Step | None:
    """None for what is about a log that was before: nothing of it is kept there."""
    if amendment.target_epoch != epoch:
        return None
    if amendment.message is None:
        return Step("delete", channel_id, amendment.target, b"")
    return Step("edit", channel_id, amendment.target, amendment.message.encode())


def read_back(epoch: int, kept: Iterable[tuple[int, bytes]]) -> list[Stored]:
    """In the log's order; without what cannot be read, since whatever is there can be had elsewhere too."""
    found: list[Stored] = []
    for sequence, data in sorted(kept):
        try:
            found.append(Stored(Position(epoch, sequence), read_message(data)))
        except Unreadable:
            continue
    return found
