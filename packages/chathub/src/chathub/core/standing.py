"""Where a client stands in the log, and what it makes of the frames that it is sent.

A client that comes back names the place up to which it has been told everything. Whatever is sent again from before
that place is dropped here, so that what comes out is in order, nothing twice, and nothing left out without saying so.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias, cast

import msgspec

NEW = "new"


class UnexpectedFrame(ValueError):
    """What came is no frame of this protocol."""


@dataclass(frozen=True, slots=True)
class Said:
    """In a channel, to everybody in it. `is_history` tells what was said before the client came from what it heard."""

    cache_id: int
    owner_id: str
    username: str
    channel: str
    message: str
    authored_at: datetime
    is_history: bool = False


@dataclass(frozen=True, slots=True)
class Whispered:
    cache_id: int
    owner_id: str
    username: str
    recipient_id: str
    recipient: str
    message: str
    authored_at: datetime
    is_history: bool = False


@dataclass(frozen=True, slots=True)
class Edited:
    cache_id: int
    message: str


@dataclass(frozen=True, slots=True)
class Deleted:
    cache_id: int


@dataclass(frozen=True, slots=True)
class Missed:
    """What was said between the place where the client stood and what follows cannot be given to it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Told:
    """Any other frame: who is there, which channels there are, who writes."""

    type: str
    payload: dict[str, Any]


Event: TypeAlias = Said | Whispered | Edited | Deleted | Missed | Told


class Placed(NamedTuple):
    """An event, and the place of whoever has handled it."""

    event: Event
    place: str


_KINDS: dict[str, type[Said] | type[Whispered]] = {"chat_message": Said, "private_chat_message": Whispered}
_HISTORIES: dict[str, type[Said] | type[Whispered]] = {
    "bulk_chat_messages": Said,
    "bulk_private_messages": Whispered,
}


class Frame(msgspec.Struct):
    type: str
    payload: dict[str, Any] = {}


_decoder = msgspec.json.Decoder(Frame)


def read_frame(text: str | bytes) -> Frame:
    """Raises UnexpectedFrame."""
    try:
        return _decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise UnexpectedFrame(str(error)) from error


class Standing:
    def __init__(self, place: str = NEW) -> None:
        """`place` is what `place` said before, `new` for whoever begins."""
        epoch, _, sequence = place.partition(".")
        self._epoch = "" if place == NEW else epoch
        self._sequence = int(sequence or 0)
        self._welcomed = False
        self._leads_to: tuple[str, int] | None = None
        self._held: list[Event] | None = None

    @property
    def place(self) -> str:
        """Up to where everything was told, for the next connect."""
        return f"{self._epoch}.{self._sequence}" if self._epoch else NEW

    def take_placed(self, frame: Frame) -> list[Placed]:
        """As `take`; of what came together only the last moves the place."""
        before = self.place
        events = self.take(frame)
        earlier, last = events[:-1], events[-1:]
        return [*(Placed(event, before) for event in earlier), *(Placed(event, self.place) for event in last)]

    def take(self, frame: Frame) -> list[Event]:
        """What is news in it. Raises UnexpectedFrame."""
        try:
            events = self._take(frame)
        except (KeyError, TypeError, ValueError, msgspec.ValidationError) as error:
            raise UnexpectedFrame(f"A frame of the type {frame.type!r} lacks something.") from error
        if self._held is None:
            return events
        self._held += events
        return []

    def disconnected(self) -> None:
        """A welcome that was not heard to its end counts for nothing."""
        self._welcomed, self._leads_to, self._held = False, None, None

    def _take(self, frame: Frame) -> list[Event]:
        payload = frame.payload
        match frame.type:
            case "resumed":
                return self._resumed(payload)
            case "chat_message" | "private_chat_message":
                message = message_of(_KINDS[frame.type], payload)
                return [message] if self._passes(message.cache_id) else []
            case "bulk_chat_messages" | "bulk_private_messages":
                return self._history(_HISTORIES[frame.type], payload)
            case "message_edited":
                return [Edited(payload["cacheID"], payload["message"])] if self._passes(payload["sequence"]) else []
            case "message_deleted":
                return [Deleted(payload["cacheID"])] if self._passes(payload["sequence"]) else []
            case _:
                return self._moved_by(frame)

    def _moved_by(self, frame: Frame) -> list[Event]:
        if frame.type == "reconnect":
            self._move_to(*str(frame.payload["resume"]).split("."))
        told = Told(frame.type, frame.payload)
        return [*self._welcome_ended(), told] if frame.type == "connected_users" else [told]

    def _resumed(self, payload: dict[str, Any]) -> list[Event]:
        """Of a welcome the first frame: where it leads to counts once all has come. Later it says what was lost."""
        place = (str(payload["epoch"]), int(payload["cacheID"]))
        lost: list[Event] = [] if payload["recovered"] or payload["reason"] == NEW else [Missed(str(payload["reason"]))]
        if self._welcomed:
            self._move_to(*place)
            return lost
        self._leads_to = place
        if not payload["recovered"]:
            self._held = []
        return lost

    def _welcome_ended(self) -> list[Event]:
        held, self._held = self._held or [], None
        if self._leads_to:
            self._move_to(*self._leads_to)
        self._welcomed, self._leads_to = True, None
        return held

    def _move_to(self, epoch: str, sequence: str | int) -> None:
        self._sequence = max(self._sequence, int(sequence)) if epoch == self._epoch else int(sequence)
        self._epoch = epoch

    def _passes(self, sequence: int) -> bool:
        """Whether it is new; the client stands there from now on."""
        if self._held is not None:
            return True
        if sequence <= self._sequence:
            return False
        self._sequence = sequence
        return True

    def _history(self, kind: type[Said] | type[Whispered], payload: dict[str, Any]) -> list[Event]:
        """Without what was told before: it may reach back further than where the client stood."""
        messages = [message_of(kind, message, is_history=True) for message in cast(list[Any], payload["messages"])]
        is_same_log = self._leads_to is not None and self._leads_to[0] == self._epoch
        return [message for message in messages if not is_same_log or message.cache_id > self._sequence]


def message_of(
    kind: type[Said] | type[Whispered], payload: dict[str, Any], *, is_history: bool = False
) -> Said | Whispered:
    known = {"cache_id": payload["cacheID"], "is_history": is_history}
    return msgspec.convert({**payload, **known}, kind)
