import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from chathub.core.bus_messages import Amendment, Position, RoomMessage, Stored, amends, encode
from chathub.core.client_frames import Amend
from chathub.core.session import amendment
from chathub.persist import Backlog, DeadLetter, Pending, Persistence, Unstorable
from common.core.errors import UpstreamUnavailable
from tests.eventually import eventually

WHEN = datetime(2026, 1, 2, tzinfo=UTC)


def said(text: str) -> RoomMessage:
    return RoomMessage(owner_id="a", username="A", channel_id=1, channel="general", message=text, authored_at=WHEN)


def pending(sequence: int, text: str = "fine") -> Pending:
    return Pending(Position(1, sequence), "chat.in.room.1", encode(said(text)), f"receipt-{sequence}")


@dataclass
class Batches:
    """A log that hands out what it was given, and remembers what came back."""

    left: list[list[Pending]]
    lost: bool = False
    """Is lost as soon as all is handed out, and takes nothing back."""
    acknowledged: list[int] = field(default_factory=list[int])
    changed: list[tuple[int, Position]] = field(default_factory=list[tuple[int, Position]])
    """Messages whose superseded versions were to be erased, and in which log."""
    opened: int = 0

    @asynccontextmanager
    async def backlog(self) -> AsyncGenerator[Backlog]:
        self.opened += 1
        yield self

    async def erase_superseded(self, epoch: int, amendments: Sequence[Amendment]) -> None:
        self.changed += [(epoch, amends(amendment)) for amendment in amendments]

    async def fetch(self, _limit: int, _seconds: float) -> Sequence[Pending]:
        if self.left:
            return self.left.pop(0)
        if self.lost:
            raise UpstreamUnavailable("lost")
        await asyncio.sleep(0)
        return []

    async def done(self, batch: Sequence[Pending]) -> None:
        if self.lost:
            raise UpstreamUnavailable("lost")
        self.acknowledged += [pending.position.sequence for pending in batch]


@dataclass
class Shelf:
    """An archive that refuses what is called poison, and is away as often as it is told."""

    absences: int = 0
    waits: int = 0
    """So many that store wait for each other."""
    stored: list[int] = field(default_factory=list[int])
    buried: list[DeadLetter] = field(default_factory=list[DeadLetter])

    async def store(self, messages: Sequence[Stored]) -> None:
        if self.absences:
            self.absences -= 1
            raise UpstreamUnavailable("away")
        if self.waits:
            self.waits -= 1
            await eventually(self._all_are_here)
        if any(stored.message.message == "poison" for stored in messages):
            raise Unstorable("poison")
        self.stored += [stored.position.sequence for stored in messages]

    async def _all_are_here(self) -> bool:
        return self.waits == 0

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        self.buried += letters


async def persist(batches: Batches, shelf: Shelf) -> None:
    """Until all is acknowledged, or the log was lost and opened again."""
    handed = sum(len(batch) for batch in batches.left)

    async def count() -> bool:
        return len(batches.acknowledged) == handed or batches.opened > 1

    persisting = asyncio.create_task(Persistence(batches, shelf).run())
    await eventually(count)
    persisting.cancel()
    await asyncio.wait([persisting])


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
    unreadable = Pending(Position(1, 1), "chat.in.room.1", b"\xff", "receipt-1")
    batches, shelf = Batches([[unreadable, pending(2)]]), Shelf()
    await persist(batches, shelf)
    assert (shelf.stored, [letter.pending for letter in shelf.buried]) == ([2], [unreadable])


async def test_nothing_is_acknowledged_before_it_is_stored() -> None:
    batches, shelf = Batches([[pending(1)]]), Shelf(absences=1)
    await persist(batches, shelf)
    assert shelf.stored == batches.acknowledged == [1]


async def test_a_batch_is_stored_in_the_order_of_the_log_however_it_was_handed_out() -> None:
    batches, shelf = Batches([[pending(7), pending(9), pending(3)]]), Shelf()
    await persist(batches, shelf)
    assert shelf.stored == [3, 7, 9]


async def test_batches_are_stored_at_the_same_time() -> None:
    batches, shelf = Batches([[pending(1)], [pending(2)]]), Shelf(waits=2)
    await persist(batches, shelf)
    assert sorted(shelf.stored) == sorted(batches.acknowledged) == [1, 2]


async def test_what_was_handed_out_before_the_log_was_lost_is_stored_at_once() -> None:
    batches, shelf = Batches([[pending(1)], [pending(2)]], lost=True), Shelf(absences=1)
    await persist(batches, shelf)
    assert (sorted(shelf.stored), batches.acknowledged) == ([1, 2], [])


def deletion(sequence: int, target: Position) -> Pending:
    wanted = Amend(cache_id=target.sequence, message=None, client_msg_id=None)
    deleted = amendment(Stored(target, said("gone")), wanted, "a", WHEN)
    return Pending(Position(1, sequence), "chat.in.room.1", encode(deleted), f"receipt-{sequence}")


async def test_of_what_is_changed_the_log_is_to_keep_the_last_word_alone() -> None:
    batches = Batches([[deletion(8, Position(1, 5)), deletion(9, Position(7, 6)), deletion(10, Position(1, 5))]])
    await persist(batches, Shelf())
    assert batches.changed == [(1, Position(1, 5)), (1, Position(7, 6))]
