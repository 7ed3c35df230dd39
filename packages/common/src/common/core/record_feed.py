"""The record feed: what changed in PocketBase, told to every process, and the proof that nothing was left out.

One publisher numbers its events within an epoch, an unbroken run of its view of PocketBase; whenever it may have missed
something it begins another. Heartbeats carry the last number, so that a reader notices the loss of the last event too,
and a fingerprint of the collections' definitions, for PocketBase tells nobody that these change.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from common.core.messages import Message, decode
from common.core.pocketbase_answers import Action
from common.core.subjects import RECORDS_HEARTBEAT


class RecordEvent(Message, frozen=True, kw_only=True):
    """One record was written; never its values. `collection` is the name, `collection_id` what outlives a renaming."""

    epoch: str
    sequence: int
    collection: str
    collection_id: str
    id: str
    action: Action


class RecordImage(Message, frozen=True, kw_only=True):
    """The record of the event with that epoch and number, as a superuser sees it: after a write, before a deletion.

    `record` is None where it has to be fetched, and `left_out` says why. Hidden fields are in it: it is to decide by,
    not to pass on.
    """

    epoch: str
    sequence: int
    collection: str
    collection_id: str
    id: str
    action: Action
    record: dict[str, Any] | None
    left_out: Literal["", "too_large", "secret"] = ""


class FeedHeartbeat(Message, frozen=True, kw_only=True):
    """The publisher lives, and `sequence` was the last event of this epoch (0: none yet).

    `secret` are the ids of collections whose images bear no records, whatever happens there.
    """

    epoch: str
    sequence: int
    schema: str
    secret: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Changed:
    """A record of a collection was written."""

    event: RecordEvent


@dataclass(frozen=True, slots=True)
class Alive:
    """All that happened until now is known. Another `run` than before: something may have been missed in between.
    Another `schema`: the collections are defined otherwise."""

    run: str
    schema: str


def read(subject: str, payload: bytes) -> RecordEvent | FeedHeartbeat:
    """What was said on a subject of the feed. Raises InvalidMessage."""
    return decode(FeedHeartbeat if subject == RECORDS_HEARTBEAT else RecordEvent, payload)


class FeedReader:
    """Follows one feed. After a break only the next heartbeat says that all is known again."""

    def __init__(self) -> None:
        self._epoch = ""
        self._sequence = 0
        self._breaks = 0

    def accept(self, message: RecordEvent | FeedHeartbeat) -> Changed | Alive:
        """What a message means here. Messages of one publisher are to be handed in as they arrived."""
        expected = self._sequence + isinstance(message, RecordEvent)
        if message.epoch != self._epoch or message.sequence != expected:
            self.miss()
        self._epoch, self._sequence = message.epoch, message.sequence
        if isinstance(message, RecordEvent):
            return Changed(message)
        return Alive(f"{self._epoch}.{self._breaks}", message.schema)

    def miss(self) -> None:
        """Something may have been said that was not heard."""
        self._breaks += 1


def fingerprint(collections: Iterable[Mapping[str, Any]]) -> str:
    """Another one whenever any collection is defined otherwise; the order they are listed in does not matter."""
    listed = sorted(msgspec.json.encode(dict(collection), order="deterministic") for collection in collections)
    return hashlib.sha256(b"\n".join(listed)).hexdigest()[:32]
