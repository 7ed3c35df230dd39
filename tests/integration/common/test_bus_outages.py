"""NATS cut, stopped, killed and brought back while the bus is used: errors that say so, and recovery alone."""

import asyncio
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import nats.errors
import pytest
from nats.js.api import StreamConfig

from common.adapters.nats_bus import Bus, open_bus
from common.adapters.nats_connections import open_nats
from common.adapters.nats_consuming import Poison, Taken
from common.adapters.nats_jetstream import stream_info
from common.adapters.nats_link import deadline_in
from common.adapters.nats_listening import Gap, Listening, Received
from common.core.errors import DeadlineExceeded, ServiceError, UpstreamUnavailable
from common.core.messages import Done, Message
from tests.eventually import eventually
from tests.servers.gate import Gate, gate
from tests.servers.nats import nats_process, open_configuration
from tests.servers.process import directory, free_port
from tests.servers.programs import Process


class Said(Message, frozen=True):
    number: int


class Server:
    """A nats-server that keeps its port and what it stored."""

    def __init__(self, home: Path, stack: ExitStack) -> None:
        self._home = home
        self._configuration = open_configuration(home)
        self._stack = stack
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self.process: Process
        self.start()

    def start(self) -> None:
        self.process = self._stack.enter_context(nats_process(self._configuration, self.port, self._home / "log"))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    @asynccontextmanager
    async def stopped(self) -> AsyncGenerator[None]:
        """It neither reads nor answers, and its connections stand."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            await eventually(partial(asyncio.to_thread, self._stands_still))
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def _stands_still(self) -> bool:
        """The signal reaches its threads one after the other."""
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/stat")
        return all(thread.read_text().rpartition(")")[2].split()[0] == "T" for thread in threads)


@pytest.fixture
def server() -> Generator[Server]:
    with directory() as home, ExitStack() as stack:
        yield Server(home, stack)


@asynccontextmanager
async def repeated(call: Callable[[int], Awaitable[None]], *, tasks: int) -> AsyncGenerator[set[int]]:
    """Calls with growing numbers, from so many tasks; the numbers that were confirmed. Only ServiceErrors may come."""
    confirmed: set[int] = set()
    last = 0
    ended = False

    async def go_on() -> None:
        nonlocal last
        while not ended:
            last += 1
            number = last
            try:
                await call(number)
                confirmed.add(number)
            except ServiceError:
                await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        for _ in range(tasks):
            group.create_task(go_on())
        yield confirmed
        ended = True


async def more_than(numbers: set[int], count: int) -> None:
    wanted = len(numbers) + count

    async def size() -> int:
        return len(numbers)

    await eventually(size, lambda now: now >= wanted)


async def test_every_confirmed_publication_arrived_however_often_the_senders_connection_was_cut(
    server: Server,
) -> None:
    received: set[int] = set()

    async def listen(bus: Bus, listening: asyncio.Event) -> None:
        async with bus.listening("load", Said, messages=10_000_000, size_bytes=2**40) as messages:
            listening.set()
            async for item in messages:
                assert isinstance(item, Received)
                received.add(item.message.number)

    async with (
        gate(server.port) as relay,
        open_bus(server.url, name="bob") as hearing,
        open_bus(f"nats://127.0.0.1:{relay.port}", name="ann") as bus,
        asyncio.TaskGroup() as tasks,
    ):
        ready = asyncio.Event()
        listener = tasks.create_task(listen(hearing, ready))
        await ready.wait()
        await bus.ready()
        async with repeated(lambda n: bus.publish("load", Said(number=n)), tasks=50) as confirmed:
            for _ in range(3):
                await more_than(confirmed, 2000)
                await cut(relay)
            await more_than(confirmed, 500)
        await hearing.answers()
        await eventually(lambda: missing(confirmed, received), lambda count: count == 0)
        listener.cancel()


async def test_what_is_confirmed_after_a_kill_arrives_from_when_the_listener_is_told_so(server: Server) -> None:
    received: set[int] = set()
    told: list[str] = []

    async def listen(bus: Bus) -> None:
        async with bus.listening("load", Said, messages=10_000_000, size_bytes=2**40) as messages:
            async for item in messages:
                if isinstance(item, Gap):
                    told.append(item.reason)
                else:
                    received.add(item.message.number)

    async def restored() -> bool:
        return "restored" in told

    async with (
        open_bus(server.url, name="bob") as hearing,
        open_bus(server.url, name="ann") as bus,
        asyncio.TaskGroup() as tasks,
    ):
        listener = tasks.create_task(listen(hearing))
        async with repeated(lambda n: bus.publish("load", Said(number=n)), tasks=50) as confirmed:
            await more_than(confirmed, 1000)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            await eventually(restored)
            before = set(confirmed)
            await more_than(confirmed, 1000)
        await eventually(lambda: missing(confirmed - before, received), lambda count: count == 0)
        listener.cancel()


async def cut(relay: Gate) -> None:
    relay.shut()
    await relay.open()


async def missing(wanted: set[int], there: set[int]) -> int:
    return len(wanted - there)


async def test_what_a_stream_acknowledged_outlives_kills_and_is_there_once(server: Server) -> None:
    async with open_bus(server.url, name="ann") as bus:
        await bus.ready()
        await bus.ensure_stream(StreamConfig(name="LOAD", subjects=["load"]))

        async def store(number: int) -> None:
            await bus.publish_durable("load", Said(number=number), message_id=str(number), deadline_seconds=20)

        async with repeated(store, tasks=50) as confirmed:
            for _ in range(2):
                await more_than(confirmed, 500)
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
            await more_than(confirmed, 500)
        stored: list[int] = []

        async def work(batch: Sequence[Taken[Said]]) -> None:
            stored.extend(taken.message.number for taken in batch)

        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(bus.consume("LOAD", "reader", Said, work, poison=never))
            held = (await stream_info(bus.link, "LOAD")).state.messages
            await eventually(lambda: missing(set(range(held)), set(range(len(stored)))), lambda count: count == 0)
            reading.cancel()
        assert confirmed <= set(stored)
        assert len(stored) == len(set(stored))


async def never(poison: Poison) -> None:
    raise AssertionError(poison)


async def next_item(listening: Listening[Said]) -> Received[Said] | Gap:
    async with asyncio.timeout(10):
        return await anext(listening)


async def test_a_listener_is_told_of_the_gap_and_hears_again(server: Server) -> None:
    async with open_bus(server.url, name="ann") as bus, bus.listening("s", Said) as listening:
        await asyncio.to_thread(server.kill)
        assert await next_item(listening) == Gap("lost")
        await asyncio.to_thread(server.start)
        assert await next_item(listening) == Gap("restored")
        await bus.publish("s", Said(number=1))
        item = await next_item(listening)
        assert isinstance(item, Received)
        assert item.message.number == 1


async def test_answering_goes_on_after_an_outage(server: Server) -> None:
    async def echo(said: Said) -> Said:
        return said

    async with open_bus(server.url, name="ann") as bus, bus.answering("q", Said, echo, queue="q"):
        assert (await bus.request("q", Said(number=1), Said)).number == 1
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        await bus.ready()
        assert (await bus.request("q", Said(number=2), Said)).number == 2


async def test_a_request_does_not_outwait_the_connection(server: Server) -> None:
    asked = asyncio.Event()

    async def silent(_: Said) -> None:
        asked.set()
        await asyncio.Event().wait()

    async with open_bus(server.url, name="ann") as bus, bus.answering("q", Said, silent, drain_seconds=0):
        request = asyncio.create_task(bus.request("q", Said(number=1), Done, deadline_seconds=60))
        await asked.wait()
        await asyncio.to_thread(server.kill)
        with pytest.raises(UpstreamUnavailable, match="lost"):
            await asyncio.wait_for(request, 5)
        with pytest.raises(UpstreamUnavailable, match="nothing was sent"):
            await bus.request("q", Said(number=1), Done)


async def test_a_server_that_comes_later_is_waited_for(server: Server) -> None:
    await asyncio.to_thread(server.kill)
    async with open_bus(server.url, name="ann") as bus:
        with pytest.raises(UpstreamUnavailable, match="nothing was sent"):
            await bus.publish("s", Said(number=1))
        with pytest.raises(DeadlineExceeded):
            await bus.publish_durable("s", Said(number=1), deadline_seconds=0.1)
        with pytest.raises(UpstreamUnavailable):
            await bus.answers()
        entered = asyncio.create_task(heard_one(bus))
        await asyncio.to_thread(server.start)
        await bus.ready()
        await eventually(lambda: said_until_heard(bus, entered))


async def heard_one(bus: Bus) -> int:
    async with bus.listening("s", Said) as listening:
        item = await next_item(listening)
        assert isinstance(item, Received)
        return item.message.number


async def said_until_heard(bus: Bus, heard: asyncio.Task[int]) -> bool:
    await bus.publish("s", Said(number=1))
    return heard.done() and heard.result() == 1


async def test_a_server_that_answers_late_is_believed_late(server: Server) -> None:
    """A PONG or an answer whose waiter has given up disturbs nothing."""
    async with open_bus(server.url, name="ann") as bus, bus.listening("s", Said) as listening:
        async with server.stopped():
            with pytest.raises(DeadlineExceeded):
                await bus.publish("s", Said(number=1), deadline_seconds=0.1)
            with pytest.raises(DeadlineExceeded):
                await bus.request("nobody", Said(number=1), Said, deadline_seconds=0.1)
            with pytest.raises(nats.errors.TimeoutError):
                await bus.link.connection.flush(timeout=0.1)  # pyright: ignore[reportArgumentType] - seconds
        await bus.publish("s", Said(number=2))
        items = [await next_item(listening) for _ in range(2)]
        numbers = [item.message.number for item in items if isinstance(item, Received)]
        assert numbers == [1, 2]
        assert bus.link.connection.stats["reconnects"] == 0


async def test_memory_is_bounded_when_the_server_stops_reading(server: Server) -> None:
    payload = b"x" * 500_000
    failures: list[ServiceError] = []

    async def publish(bus: Bus) -> None:
        try:
            await bus.publish("s", payload, deadline_seconds=0.3)
        except ServiceError as error:
            failures.append(error)

    async with open_bus(server.url, name="ann") as bus:
        await bus.ready()
        async with server.stopped():
            for _ in range(3):
                async with asyncio.TaskGroup() as tasks:
                    for _ in range(40):
                        tasks.create_task(publish(bus))
            assert len(failures) == 120
            assert bus.link._outgoing._unread_bytes <= 16 * 1024 * 1024
        await bus.answers()
        await bus.publish("s", payload)


async def test_waiting_for_room_has_a_deadline_and_room_comes_back(server: Server) -> None:
    async with open_bus(server.url, name="ann") as bus:
        await bus.ready()
        async with server.stopped():
            full = [asyncio.create_task(bus.publish("s", b"x" * 900_000, deadline_seconds=10)) for _ in range(9)]
            await asyncio.sleep(0)
            with pytest.raises(DeadlineExceeded, match="Too much is under way"):
                await bus.publish("s", b"x" * 900_000, deadline_seconds=0.1)
        for one in full:
            await one
        await bus.publish("s", b"x" * 900_000)


async def test_a_flush_is_a_barrier_for_who_uses_the_client_itself(server: Server) -> None:
    async with (
        open_nats(server.url, name="ann", creds=None) as one,
        open_nats(server.url, name="bob", creds=None) as two,
    ):
        for client in (one, two):
            await eventually(lambda client=client: stands(client.is_connected))
        for number in range(200):
            subscription = await one.subscribe(f"s.{number}")
            await one.flush()
            await two.publish(f"s.{number}", b"x")
            await two.flush()
            assert (await subscription.next_msg(5)).data == b"x"
            await subscription.unsubscribe()


async def stands(connected: bool) -> bool:
    return connected


async def test_leaving_does_not_wait_for_a_server_that_is_gone(server: Server) -> None:
    async with open_bus(server.url, name="ann") as bus, bus.listening("s", Said):
        await asyncio.to_thread(server.kill)
        begun = deadline_in(0)
    assert deadline_in(0) - begun < 5


async def test_a_consumer_goes_on_after_an_outage(server: Server) -> None:
    seen: set[int] = set()

    async def work(batch: Sequence[Taken[Said]]) -> None:
        seen.update(taken.message.number for taken in batch)

    async with open_bus(server.url, name="ann") as bus, asyncio.TaskGroup() as tasks:
        await bus.ready()
        await bus.ensure_stream(StreamConfig(name="S", subjects=["s"]))
        consuming = tasks.create_task(bus.consume("S", "c", Said, work, poison=never))
        await bus.publish_durable("s", Said(number=1))
        await eventually(lambda: missing({1}, seen), lambda count: count == 0)
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        await bus.publish_durable("s", Said(number=2))
        await eventually(lambda: missing({2}, seen), lambda count: count == 0)
        consuming.cancel()
