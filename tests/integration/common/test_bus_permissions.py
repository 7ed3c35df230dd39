"""What NATS does not allow is told to the call that asked for it, and to no other."""

import asyncio
import signal
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from nats.js.api import StreamConfig

from common.adapters.nats_bus import Bus, open_bus
from common.adapters.nats_leases import Leases
from common.adapters.nats_listening import Gap, Listening
from common.core import subjects
from common.core.errors import Forbidden, UpstreamUnavailable
from common.core.messages import Done, Message
from tests.eventually import eventually
from tests.servers.nats import nats_process
from tests.servers.process import directory, free_port
from tests.servers.programs import Process

ANN = 'publish: ["open.>", "stored.>"], subscribe: ["open.>", "_INBOX.ann.>"]'
DEAF = 'publish: ["open.>"], subscribe: ["open.>"]'
CONFIGURATION = """
jetstream {{ store_dir: "{home}/jetstream" }}
authorization {{ users = [
  {{ user: boss, password: "{password}" }}
  {{ user: ann, password: "{password}", permissions: {{ {ann} }} }}
  {{ user: deaf, password: "{password}", permissions: {{ {deaf} }} }}
] }}
"""


class Said(Message, frozen=True):
    number: int


class Server:
    def __init__(self, home: Path, port: int) -> None:
        self.configuration = home / "nats.conf"
        self._home = home
        self.port = port
        self.process: Process | None = None
        self.configure()

    def configure(self, *, password: str = "pw", ann: str = ANN) -> None:
        """As the server reads it when it starts, and again when it is told to."""
        text = CONFIGURATION.format(home=self._home, password=password, ann=ann, deaf=DEAF)
        self.configuration.write_text(text)
        if self.process:
            self.process.send_signal(signal.SIGHUP)

    def url(self, user: str, password: str = "pw") -> str:
        return f"nats://{user}:{password}@127.0.0.1:{self.port}"


@pytest.fixture
def server() -> Generator[Server]:
    port = free_port()
    with directory() as home:
        configured = Server(home, port)
        with nats_process(configured.configuration, port, home / "log") as configured.process:
            yield configured


async def echo(said: Said) -> Said:
    return said


async def test_a_publication_that_is_not_allowed_is_forbidden_and_its_neighbours_are_not(server: Server) -> None:
    async with open_bus(server.url("ann"), name="ann") as bus:
        await bus.ready()
        outcomes: dict[str, int] = {"forbidden": 0, "done": 0}

        async def publish(number: int) -> None:
            try:
                await bus.publish("open.a" if number % 2 else "Closed.A", Said(number=number))
                outcomes["done"] += 1
            except Forbidden:
                outcomes["forbidden"] += 1

        async with asyncio.TaskGroup() as tasks:
            for number in range(100):
                tasks.create_task(publish(number))
        assert outcomes == {"forbidden": 50, "done": 50}
        with pytest.raises(Forbidden, match=r"Closed\.A"):
            await bus.publish("Closed.A", Done())


async def test_a_durable_publication_that_is_not_allowed_is_forbidden_at_once(server: Server) -> None:
    async with open_bus(server.url("ann"), name="ann") as bus:
        await bus.ready()
        with pytest.raises(Forbidden):
            await bus.publish_durable("closed.a", Done(), deadline_seconds=60)


async def test_a_request_that_is_not_allowed_is_forbidden_at_once(server: Server) -> None:
    async with (
        open_bus(server.url("ann"), name="ann") as bus,
        open_bus(server.url("boss"), name="boss") as boss,
        boss.answering("open.q", Said, echo),
    ):
        await bus.ready()
        with pytest.raises(Forbidden):
            await bus.request("closed.q", Said(number=1), Said, deadline_seconds=60)
        assert (await bus.request("open.q", Said(number=1), Said)).number == 1


async def test_who_may_not_hear_answers_is_told_at_once(server: Server) -> None:
    async with (
        open_bus(server.url("deaf"), name="deaf") as bus,
        open_bus(server.url("boss"), name="boss") as boss,
        boss.answering("open.q", Said, echo),
    ):
        await bus.ready()
        for _ in range(2):
            with pytest.raises(Forbidden, match="receive an answer"):
                await bus.request("open.q", Said(number=1), Said, deadline_seconds=60)
        await bus.publish("open.a", Done())


async def test_listening_and_answering_where_it_is_not_allowed_is_forbidden(server: Server) -> None:
    async with open_bus(server.url("ann"), name="ann") as bus:
        for subject in ("closed.a", "closed.>", "*.a"):
            with pytest.raises(Forbidden):
                async with bus.listening(subject, Said):
                    pass
        with pytest.raises(Forbidden):
            async with bus.listening("Closed.A", Said, queue="Q"):
                pass
        with pytest.raises(Forbidden):
            async with bus.answering("closed.q", Said, echo, queue="q"):
                pass
        async with bus.listening("open.*", Said):
            pass


async def test_jetstream_that_is_not_allowed_is_forbidden(server: Server) -> None:
    async with open_bus(server.url("ann"), name="ann") as bus:
        await bus.ready()
        with pytest.raises(Forbidden):
            await bus.ensure_stream(StreamConfig(name="S", subjects=["stored.>"]))
        with pytest.raises(Forbidden):
            await bus.key_value("b", Said)
        with pytest.raises(Forbidden):
            async with Leases(bus).hold("x"):
                pass


async def test_the_grants_of_a_bucket_suffice_for_leases(server: Server) -> None:
    publish = ", ".join(f'"{subject}"' for subject in subjects.bucket_api(subjects.LEASES_BUCKET))
    keys = subjects.bucket_keys(subjects.LEASES_BUCKET)
    await asyncio.to_thread(server.configure, ann=f'publish: [{publish}], subscribe: ["{keys}", "_INBOX.ann.>"]')
    async with open_bus(server.url("ann"), name="ann") as bus:
        await eventually(lambda: leads(bus))


async def leads(bus: Bus) -> bool:
    with suppress(Forbidden):  # until the server has read its configuration
        async with Leases(bus).hold("x") as lease:
            return lease.held()
    return False


async def test_a_right_that_is_taken_away_ends_the_listening(server: Server) -> None:
    async with open_bus(server.url("ann"), name="ann") as bus, bus.listening("open.a", Said) as listening:
        await asyncio.to_thread(server.configure, ann='publish: ["open.>"], subscribe: ["_INBOX.ann.>"]')
        with pytest.raises(Forbidden):
            await asyncio.wait_for(gaps_only(listening), 10)


async def gaps_only(listening: Listening[Said]) -> None:
    async for item in listening:
        assert isinstance(item, Gap)


async def test_a_right_that_is_taken_away_ends_the_answering(server: Server) -> None:
    async def answer_for_ever(bus: Bus) -> None:
        async with bus.answering("open.q", Said, echo):
            await asyncio.to_thread(server.configure, ann='publish: ["open.>"], subscribe: ["_INBOX.ann.>"]')
            await asyncio.Event().wait()

    async with open_bus(server.url("ann"), name="ann") as bus:
        with pytest.raises(Forbidden):
            await asyncio.wait_for(answer_for_ever(bus), 10)


async def test_a_login_that_is_refused_for_a_while_is_tried_until_it_is_good_again(server: Server) -> None:
    """nats-py closes its client for good at such an error of a running connection."""
    async with open_bus(server.url("ann"), name="ann") as bus, bus.listening("open.a", Said) as listening:
        await asyncio.to_thread(server.configure, password="another")
        assert await anext(listening) == Gap("lost")
        with pytest.raises(UpstreamUnavailable):
            await bus.answers()
        await asyncio.to_thread(server.configure)
        assert await anext(listening) == Gap("restored")
        await bus.publish("open.a", Said(number=1))


async def test_refused_logins_leave_no_socket_open(server: Server) -> None:
    async with open_bus(server.url("ann", "wrong"), name="ann"):
        refused = 0

        async def refusals() -> int:
            nonlocal refused
            refused = (server.configuration.parent / "log").read_text().count("authentication error")
            return refused

        async def sockets() -> int:
            ours = psutil.Process().net_connections(kind="tcp")
            return len([one for one in ours if one.raddr and one.raddr.port == server.port])

        await eventually(refusals, lambda count: count >= 3, seconds=15)
        await eventually(sockets, lambda count: count <= 1)
