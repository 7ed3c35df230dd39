"""A chat log that is an older copy of itself, or made anew: no place in it is given out twice, nothing is silent."""

import asyncio
import shutil
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import asyncpg
import httpx
import nats
import pytest
from websockets.exceptions import InvalidStatus

from tests.chat_client import ChatClient, chatting
from tests.eventually import eventually
from tests.servers import chathub
from tests.servers.chathub import Chathub
from tests.servers.issuer import Issuer
from tests.servers.nats import nats_server
from tests.servers.process import free_port

STORED = "select array_agg(message order by cache_id) from chatserver.chat_messages"


class Bus:
    """NATS over a store that can be put back to what it was."""

    def __init__(self, home: Path) -> None:
        self._port = free_port()
        self._store, self._copy = home / "jetstream", home / "copy"
        self._configuration = home / "nats.conf"
        self._configuration.write_text(f'jetstream {{ store_dir: "{self._store}", sync_interval: always }}\n')
        self._running = ExitStack()
        self.url = f"nats://127.0.0.1:{self._port}"

    def start(self) -> None:
        self._running.enter_context(nats_server(self._configuration, self._port))

    def stop(self) -> None:
        self._running.close()

    def keep(self) -> None:
        self.stop()
        shutil.copytree(self._store, self._copy)
        self.start()

    def put_back(self) -> None:
        self.stop()
        shutil.rmtree(self._store)
        shutil.copytree(self._copy, self._store)
        self.start()


@pytest.fixture
def bus(tmp_path: Path) -> Generator[Bus]:
    running = Bus(tmp_path)
    running.start()
    yield running
    running.stop()


@contextmanager
def ready_node(log_file: Path, environment: dict[str, str]) -> Generator[Chathub]:
    with chathub.chathub(log_file, environment) as node:
        chathub.wait_until_ready(node)
        yield node


async def environment_of(database_url: str, bus: Bus, tokens: Issuer) -> dict[str, str]:
    await asyncio.to_thread(chathub.migrated, database_url)
    return chathub.environment(database_url=database_url, nats_url=bus.url, issuer=tokens)


async def log_probe(node: Chathub) -> str:
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(node.readyz)
    return f"{answer.status_code} {answer.json()['probes']['log']}"


async def say(client: ChatClient, text: str, attempt: int = 0) -> int:
    """Its place. Raises AssertionError while it is refused."""
    key = f"{text}-{attempt}".replace(" ", "-")
    await client.say(text, client_msg_id=key)
    while True:
        frame = await client.next()
        if frame["payload"] and frame["payload"].get("client_msg_id") == key:
            assert frame["type"] == "ack", frame["payload"]["code"]
            return frame["payload"]["cacheID"]


async def said_again(client: ChatClient, text: str) -> int:
    attempts = iter(range(1000))
    return await eventually(lambda: say(client, text, next(attempts)), seconds=30)


async def stored(database_url: str, count: int) -> list[str]:
    connection = await asyncpg.connect(database_url)
    try:
        return await eventually(lambda: connection.fetchval(STORED), lambda rows: len(rows or ()) == count, seconds=30)
    finally:
        await connection.close()


async def test_a_log_that_is_set_back_takes_nothing_says_so_and_is_made_anew_on_demand(
    empty_database_url: str, tokens: Issuer, bus: Bus, tmp_path: Path
) -> None:
    environment = await environment_of(empty_database_url, bus, tokens)
    with ready_node(tmp_path / "one", environment) as node:
        async with chatting(node.ws, tokens.token("ann"), resume="new") as ann:
            assert await said_again(ann, "in the copy") == 1
            await stored(empty_database_url, 1)
            await asyncio.to_thread(bus.keep)
            await said_again(ann, "later one")
            await said_again(ann, "later two")
            await stored(empty_database_url, 3)
            await asyncio.to_thread(bus.put_back)
            refusal = await eventually(lambda: refused(ann), lambda code: code != "upstream_unavailable", seconds=30)
            assert refusal == "log_set_back"
            probe = await eventually(lambda: log_probe(node), lambda probe: "renew-log" in probe)
            assert probe.startswith("503 LogSetBack: The chat log was set back: it ends at ")
            with pytest.raises(InvalidStatus) as turned_away:
                async with chatting(node.ws, tokens.token("bob")):
                    pass
            assert turned_away.value.response.status_code == 503
            assert b'"log_set_back"' in (turned_away.value.response.body or b"")
            with chathub.chathub(tmp_path / "two", environment) as other:
                await eventually(lambda: log_probe(other), lambda probe: "renew-log" in probe)
            assert await last_of_the_log(bus) == 1, "nothing was taken"
            done = await asyncio.to_thread(chathub.run, "renew-log", environment=environment)
            assert (done.returncode, done.stderr) == (0, "")
            assert await said_again(ann, "in the new log") == 4, "behind those that were given out"
            await ann.until("resumed", lambda told: told["reason"] == "other_log")
        expected = ["in the copy", "later one", "later two", "in the new log"]
        assert await stored(empty_database_url, 4) == expected
        assert (await log_probe(node)).startswith("200")


async def refused(client: ChatClient) -> str:
    try:
        await say(client, "into the old log")
    except AssertionError as error:
        return str(error).partition("\n")[0]
    return "taken"


async def last_of_the_log(bus: Bus) -> int:
    connection = await nats.connect(bus.url)
    info = await connection.jetstream().stream_info("CHAT")
    await connection.close()
    return info.state.last_seq


async def test_a_log_that_is_deleted_goes_on_behind_the_places_that_were_given_out(
    empty_database_url: str, tokens: Issuer, bus: Bus, tmp_path: Path
) -> None:
    environment = await environment_of(empty_database_url, bus, tokens)
    with ready_node(tmp_path / "one", environment) as node:
        async with chatting(node.ws, tokens.token("ann")) as ann:
            places = [await said_again(ann, f"first {number}") for number in range(5)]
        assert places == [1, 2, 3, 4, 5]
        await stored(empty_database_url, 5)
        done = await asyncio.to_thread(chathub.run, "renew-log", environment=environment)
        assert (done.returncode, "not set back" in done.stderr) == (1, True)
    connection = await nats.connect(bus.url)
    await connection.jetstream().delete_stream("CHAT")
    await connection.close()
    with ready_node(tmp_path / "two", environment) as node:
        async with chatting(node.ws, tokens.token("ann")) as ann:
            assert await said_again(ann, "second") == 6
    with ready_node(tmp_path / "three", environment) as node:
        async with chatting(node.ws, tokens.token("ann")) as ann:
            assert await said_again(ann, "third") == 7
            await ann.hear("third")
            assert [place for place, _ in ann.messages()] == [1, 2, 3, 4, 5, 6, 7]
        await stored(empty_database_url, 7)
        status = await asyncio.to_thread(chathub.run, "reconcile", environment=environment)
        assert status.returncode == 0
