"""What every implementation of the cache's broadcast does."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from common.cache import Invalidations
from common.core.errors import UpstreamUnavailable
from tests.eventually import eventually

PROBE = b"probe "


@dataclass(frozen=True, slots=True)
class Bench:
    """Two processes on one bus."""

    one: Invalidations
    two: Invalidations


@dataclass(slots=True)
class Ear:
    heard: list[bytes | None] = field(default_factory=list[bytes | None])
    probes: set[bytes] = field(default_factory=set[bytes])

    def hear(self, data: bytes | None) -> None:
        """Probes are no messages: how many of them there were, and when the last arrives, is left to chance."""
        if data is not None and data.startswith(PROBE):
            self.probes.add(data)
        else:
            self.heard.append(data)

    async def has_heard(self, number: int) -> list[bytes | None]:
        async def ask() -> list[bytes | None]:
            return self.heard

        return await eventually(ask, lambda heard: len(heard) >= number)


@asynccontextmanager
async def listening(bus: Invalidations) -> AsyncGenerator[Ear]:
    """Listens once it has heard itself."""
    ear, probe = Ear(), PROBE + b"%d" % id(bus)
    task = asyncio.create_task(bus.listen(ear.hear))

    async def hears_itself() -> bool:
        with suppress(UpstreamUnavailable):
            await bus.publish(probe)
        await asyncio.sleep(0.01)
        return probe in ear.probes

    await eventually(hears_itself)
    ear.heard.clear()
    yield ear
    task.cancel()
    await asyncio.wait([task])


class InvalidationsContract:
    """A test module derives from it and gives it a fixture `bench`."""

    async def test_a_sender_hears_itself_and_so_do_the_others(self, bench: Bench) -> None:
        async with listening(bench.one) as one, listening(bench.two) as two:
            one.heard.clear()
            await bench.one.publish(b"bump")
            assert await one.has_heard(1) == await two.has_heard(1) == [b"bump"]

    async def test_all_hear_every_sender_in_order(self, bench: Bench) -> None:
        async with listening(bench.one) as one, listening(bench.two) as two:
            for number in range(200):
                await bench.one.publish(b"one %d" % number)
                await bench.two.publish(b"two %d" % number)
            for heard in (await one.has_heard(400), await two.has_heard(400)):
                for sender in (b"one", b"two"):
                    assert [data for data in heard if data and data.startswith(sender)] == [
                        sender + b" %d" % number for number in range(200)
                    ]

    async def test_messages_published_at_once_are_sent_in_the_order_of_the_calls(self, bench: Bench) -> None:
        async with listening(bench.one) as one:
            async with asyncio.TaskGroup() as group:
                for number in range(50):
                    group.create_task(bench.one.publish(b"%d" % number))
            assert await one.has_heard(50) == [b"%d" % number for number in range(50)]

    async def test_who_no_longer_listens_hears_no_more(self, bench: Bench) -> None:
        async with listening(bench.one) as one, listening(bench.two):
            pass
        async with listening(bench.two) as two:
            before = len(one.heard)
            await bench.two.publish(b"later")
            await two.has_heard(1)
            assert len(one.heard) == before
