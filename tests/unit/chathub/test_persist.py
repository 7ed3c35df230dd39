from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from chathub.core.bus_messages import Position, RoomMessage, Stored, encode
from chathub.persist import Backlog, DeadLetter, Pending, Persistence, Unstorable
from common.core.errors import UpstreamUnavailable

WHEN = datetime(2026, 1, 2, tzinfo=UTC)


def pending(sequence: int, text: str = "fine") -> Pending:
    message = RoomMessage(owner_id="a", username="A", channel_id=1, channel="general", message=text, authored_at=WHEN)
    return Pending(Position(1, sequence), "chat.in.room.1", encode(message))


class Finished(Exception):
    """The prepared batches have all been asked for."""


@dataclass
class Batches:
    """A log that hands out what it was given, and remembers what came back."""

    left: list[list[Pending]]
    acknowledged: list[int] = field(default_factory=list[int])

    @asynccontextmanager
    async def backlog(self) -> AsyncGenerator[Backlog]:
        yield self

    async def fetch(self, _limit: int, _seconds: float) -> Sequence[Pending]:
        if not self.left:
            raise Finished
        return self.left.pop(0)

    async def done(self, batch: Sequence[Pending]) -> None:
        self.acknowledged += [pending.position.sequence for pending in batch]


@dataclass
class Shelf:
    """An archive that refuses what is called poison, and is away as often as it is told."""

    absences: int = 0
    stored: list[int] = field(default_factory=list[int])
    buried: list[DeadLetter] = field(default_factory=list[DeadLetter])

    async def store(self, messages: Sequence[Stored]) -> None:
        if self.absences:
            self.absences -= 1
            raise UpstreamUnavailable("away")
        if any(stored.message.message == "poison" for stored in messages):
            raise Unstorable("poison")
        self.stored += [stored.position.sequence for stored in messages]

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        self.buried += letters


async def persist(batches: Batches, shelf: Shelf) -> None:
    with pytest.raises(Finished):
        await Persistence(batches, shelf).run()


async def test_a_batch_is_stored_and_acknowledged() -> None:
    batches, shelf = Batches([[pending(1), pending(2)]]), Shelf()
    await persist(batches, shelf)
    assert shelf.stored == batches.acknowledged == [1, 2]


async def test_poison_is_set_aside_and_the_rest_is_stored() -> None:
    batch = [pending(sequence, "poison" if sequence in {3, 8} else "fine") for sequence in range(1, 12)]
    batches, shelf = Batches([batch]), Shelf()
    await persist(batches, shelf)
    assert sorted(shelf.stored) == [1, 2, 4, 5, 6, 7, 9, 10, 11]
    assert [letter.pending.position.sequence for letter in shelf.buried] == [3, 8]
    assert batches.acknowledged == list(range(1, 12))


async def test_what_cannot_be_read_is_set_aside() -> None:
    unreadable = Pending(Position(1, 1), "chat.in.room.1", b"\xff")
    batches, shelf = Batches([[unreadable, pending(2)]]), Shelf()
    await persist(batches, shelf)
    assert (shelf.stored, [letter.pending for letter in shelf.buried]) == ([2], [unreadable])


async def test_nothing_is_acknowledged_before_it_is_stored() -> None:
    batches, shelf = Batches([[pending(1)]]), Shelf(absences=1)
    await persist(batches, shelf)
    assert shelf.stored == batches.acknowledged == [1]
