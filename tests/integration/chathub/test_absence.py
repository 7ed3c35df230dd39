"""Servers that go away and come back: nothing acknowledged is lost, and nobody has to help."""

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import httpx
import nats

from chathub.deliver import CHECK_SECONDS
from common.ending import ended
from tests.chat_client import ChatClient, chatting
from tests.eventually import eventually
from tests.servers import chathub
from tests.servers.chathub import Chathub
from tests.servers.gate import gate
from tests.servers.issuer import Issuer
from tests.servers.nats import nats_server
from tests.servers.process import free_port
from tests.thorough import IS_THOROUGH

HANDED_OUT_AGAIN_SECONDS = 5 + 15
"""What was handed out to be stored when NATS went away comes again after a while (`nats_log.PERSIST_SECONDS`)."""
AWAY_SECONDS = 10.0 if IS_THOROUGH else 1.0
AT_ONCE_SECONDS = 1.0
LOOKS_AT_THE_LOG = 3
MESSAGES_A_LOOK = 4
ROWS = "select array_agg(message order by cache_id) from chatserver.chat_messages where message like $1"


async def ready(node: Chathub) -> dict[str, str]:
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.get(node.readyz)).json()["probes"]


async def is_ready(node: Chathub) -> bool:
    return set((await ready(node)).values()) == {"ok"}


async def said(client: ChatClient, message: str, attempt: int) -> bool:
    """Try once; whether it was acknowledged or refused, there is an answer."""
    key = f"{message}-{attempt}".replace(" ", "-")
    await client.say(message, client_msg_id=key)

    def concerns(payload: dict[str, str]) -> bool:
        return payload.get("client_msg_id") == key

    while True:
        frame = await client.next()
        if frame["type"] in {"ack", "error"} and concerns(frame["payload"]):
            return frame["type"] == "ack"


async def test_nats_restarts_and_every_acknowledged_message_is_heard_and_kept(
    empty_database_url: str, tokens: Issuer, tmp_path: Path, log_file: Path
) -> None:
    await asyncio.to_thread(chathub.migrated, empty_database_url)
    port, configuration = free_port(), tmp_path / "nats.conf"
    configuration.write_text(f'jetstream {{ store_dir: "{tmp_path}/jetstream", sync_interval: always }}\n')
    with ExitStack() as servers:
        bus = servers.enter_context(ExitStack())
        url = bus.enter_context(nats_server(configuration, port))
        environment = chathub.environment(database_url=empty_database_url, nats_url=url, issuer=tokens)
        node = servers.enter_context(chathub.chathub(log_file, environment))
        chathub.wait_until_ready(node)
        async with chatting(node.ws, tokens.token("ann")) as ann, chatting(node.ws, tokens.token("bob")) as bob:
            await ann.say("before", client_msg_id="before")
            await ann.acked("before")
            bus.close()
            assert not await said(ann, "while it is away", 0)
            assert "ok" not in (await eventually(lambda: ready(node), lambda probes: probes["nats"] != "ok"))["nats"]
            bus.enter_context(nats_server(configuration, port))
            await eventually(lambda: is_ready(node))
            assert await said(ann, "after", 1)
            await bob.hear("after")
            assert [text for _, text in bob.messages()] == ["before", "after"]
        connection = await asyncpg.connect(empty_database_url)
        await eventually(lambda: connection.fetchval(ROWS, "%"), lambda rows: rows == ["before", "after"])
        await connection.close()


async def test_while_postgres_is_away_chat_goes_on_and_the_rows_come_later_once_each(
    empty_database_url: str, own_log_url: str, tokens: Issuer, log_file: Path
) -> None:
    await asyncio.to_thread(chathub.migrated, empty_database_url)
    parts = urlsplit(empty_database_url)
    async with gate(parts.port or 5432) as relay:
        through_gate = parts._replace(netloc=parts.netloc.replace(str(parts.port), str(relay.port))).geturl()
        environment = chathub.environment(database_url=through_gate, nats_url=own_log_url, issuer=tokens)
        with chathub.chathub(log_file, environment) as node:
            await eventually(lambda: is_ready(node))
            async with chatting(node.ws, tokens.token("ann")) as ann, chatting(node.ws, tokens.token("bob")) as bob:
                relay.shut()
                for number in range(20):
                    await ann.say(f"kept {number}", client_msg_id=f"kept-{number}")
                await ann.acked("kept-19")
                await bob.hear("kept 19")
                await ann.whisper("bob", "kept too", client_msg_id="whisper")
                await ann.acked("whisper")
                probes = await eventually(lambda: ready(node), lambda probes: probes["postgres"] != "ok")
                assert probes["nats"] == "ok"
                await relay.open()
                await eventually(lambda: is_ready(node))
            connection = await asyncpg.connect(empty_database_url)
            expected = [f"kept {number}" for number in range(20)]
            await eventually(lambda: connection.fetchval(ROWS, "kept %"), lambda rows: rows == expected)
            assert await connection.fetchval("select count(*) from chatserver.private_messages") == 1
            await connection.close()


async def test_while_postgres_takes_connections_and_is_silent_everything_is_heard_at_once(
    empty_database_url: str, own_log_url: str, tokens: Issuer, log_file: Path
) -> None:
    await asyncio.to_thread(chathub.migrated, empty_database_url)
    parts = urlsplit(empty_database_url)
    async with gate(parts.port or 5432) as relay:
        through_gate = parts._replace(netloc=parts.netloc.replace(str(parts.port), str(relay.port))).geturl()
        environment = chathub.environment(database_url=through_gate, nats_url=own_log_url, issuer=tokens)
        with chathub.chathub(log_file, environment) as node:
            await eventually(lambda: is_ready(node))
            async with chatting(node.ws, tokens.token("ann")) as ann, chatting(node.ws, tokens.token("bob")) as bob:
                relay.mute = True
                for number in range(LOOKS_AT_THE_LOG * MESSAGES_A_LOOK):
                    await ann.say(f"heard {number}")
                    async with asyncio.timeout(AT_ONCE_SECONDS):
                        await bob.hear(f"heard {number}")
                    await asyncio.sleep(CHECK_SECONDS / MESSAGES_A_LOOK)
                relay.shut()


async def test_each_server_is_away_under_load_and_what_was_acknowledged_is_heard_and_kept(
    empty_database_url: str, valkey_url: str, tokens: Issuer, tmp_path: Path, log_file: Path
) -> None:
    await asyncio.to_thread(chathub.migrated, empty_database_url)
    configuration, rows = tmp_path / "nats.conf", urlsplit(empty_database_url)
    configuration.write_text(f'jetstream {{ store_dir: "{tmp_path}/jetstream", sync_interval: always }}\n')
    port = free_port()
    async with gate(rows.port or 5432) as postgres, gate(urlsplit(valkey_url).port or 6379) as valkey:
        database_url = rows._replace(netloc=rows.netloc.replace(str(rows.port), str(postgres.port))).geturl()
        with ExitStack() as servers:
            bus = servers.enter_context(ExitStack())
            url = bus.enter_context(nats_server(configuration, port))
            given = chathub.environment(database_url=database_url, nats_url=url, issuer=tokens)
            given = {**given, "VALKEY_URL": f"redis://127.0.0.1:{valkey.port}/0"}
            node = servers.enter_context(chathub.chathub(log_file, given))
            await eventually(lambda: is_ready(node))
            async with chatting(node.ws, tokens.token("ann")) as ann, chatting(node.ws, tokens.token("bob")) as bob:
                async with Load(ann, bob).running() as load:
                    for relay in (postgres, valkey):
                        relay.shut()
                        await asyncio.sleep(AWAY_SECONDS)
                        await relay.open()
                        await load.goes_on()
                    bus.close()
                    await asyncio.sleep(AWAY_SECONDS)
                    bus.enter_context(nats_server(configuration, port))
                    await load.goes_on()
                    await eventually(lambda: is_ready(node))
                assert load.refused, "while NATS was away"
                await load.all_heard()
            connection = await asyncpg.connect(empty_database_url)
            kept = await eventually(
                lambda: connection.fetchval(ROWS, "load %"),
                lambda kept: set(load.acknowledged) <= set(kept or ()),
                seconds=HANDED_OUT_AGAIN_SECONDS,
            )
            assert len(set(kept)) == len(kept)
            await connection.close()


class Load:
    """One who speaks without pause, and one who listens; every message is answered, one way or the other."""

    def __init__(self, speaker: ChatClient, listener: ChatClient) -> None:
        self._speaker = speaker
        self._listener = listener
        self.acknowledged: list[str] = []
        self.refused: list[str] = []
        self.heard: list[str] = []

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["Load"]:
        listening = asyncio.create_task(self._listen())
        speaking = asyncio.create_task(self._speak())
        try:
            yield self
            speaking.cancel()
            await eventually(self._count_heard, lambda heard: heard >= len(self.acknowledged))
        finally:
            await ended([speaking, listening])

    async def goes_on(self) -> None:
        """By itself."""
        before = len(self.acknowledged)
        await eventually(self._count, lambda count: count > before + 10)

    async def all_heard(self) -> None:
        assert [text for text in self.heard if text in set(self.acknowledged)] == self.acknowledged
        assert len(set(self.heard)) == len(self.heard)

    async def _count(self) -> int:
        return len(self.acknowledged)

    async def _count_heard(self) -> int:
        return len(set(self.heard) & set(self.acknowledged))

    async def _speak(self) -> None:
        for number in itertools.count():
            text = f"load {number}"
            answered = await said(self._speaker, text, 0)
            (self.acknowledged if answered else self.refused).append(text)

    async def _listen(self) -> None:
        while True:
            frame = json.loads(await self._listener.socket.recv())
            if frame["type"] == "chat_message":
                self.heard.append(frame["payload"]["message"])


async def test_a_node_cut_off_from_nats_catches_up_with_what_the_others_said(
    environment: dict[str, str], node: Chathub, tokens: Issuer, log_file: Path
) -> None:
    async with gate(urlsplit(environment["NATS_URL"]).port or 4222) as relay:
        through_gate = {**environment, "NATS_URL": f"nats://127.0.0.1:{relay.port}"}
        with chathub.chathub(log_file, through_gate) as cut_off:
            await eventually(lambda: is_ready(cut_off))
            async with chatting(node.ws, tokens.token("ann")) as ann, chatting(cut_off.ws, tokens.token("bob")) as bob:
                await ann.say("missed: not yet")
                await bob.hear("missed: not yet")
                relay.shut()
                await eventually(lambda: ready(cut_off), lambda probes: probes["nats"] != "ok")
                for number in range(600):
                    await ann.say(f"missed {number}")
                await ann.hear("missed 599")
                await relay.open()
                await bob.hear("missed 599")
                missed = [text for _, text in bob.messages() if text.startswith("missed ")]
                assert missed == [f"missed {number}" for number in range(600)]
            await asyncio.to_thread(cut_off.stop)


async def test_a_log_that_is_deleted_is_made_anew_and_chat_goes_on(
    empty_database_url: str, own_log_url: str, tokens: Issuer, log_file: Path
) -> None:
    await asyncio.to_thread(chathub.migrated, empty_database_url)
    environment = chathub.environment(database_url=empty_database_url, nats_url=own_log_url, issuer=tokens)
    with chathub.chathub(log_file, environment) as node:
        await eventually(lambda: is_ready(node))
        async with chatting(node.ws, tokens.token("ann")) as ann:
            await ann.say("in the first log")
            await ann.hear("in the first log")
            connection = await asyncpg.connect(empty_database_url)
            await eventually(lambda: connection.fetchval(ROWS, "%"))
            bus = await nats.connect(own_log_url)
            await bus.jetstream().delete_stream("CHAT")
            await bus.close()
            attempts = iter(range(1000))
            await eventually(lambda: said(ann, "in the second log", next(attempts)))
            await ann.hear("in the second log")
            expected = {"in the first log", "in the second log"}
            rows = await eventually(lambda: connection.fetchval(ROWS, "%"), lambda rows: len(rows) == 2)
            assert set(rows) == expected
            await connection.close()
        async with chatting(node.ws, tokens.token("bob")) as bob:
            assert [text for _, text in bob.messages()] == ["in the first log", "in the second log"]


async def test_a_node_that_starts_before_everything_else_finds_its_way(
    empty_database_url: str, tokens: Issuer, tmp_path: Path, log_file: Path
) -> None:
    port = free_port()
    environment = chathub.environment(
        database_url=empty_database_url, nats_url=f"nats://127.0.0.1:{port}", issuer=tokens
    )
    with chathub.chathub(log_file, environment) as node:
        probes = await eventually(lambda: ready(node))
        assert probes["issuer"] == "ok"
        missing = {"nats", "postgres", "log", "channels", "notices"}
        assert {name for name, answer in probes.items() if answer != "ok"} == missing
        await asyncio.to_thread(chathub.migrated, empty_database_url)
        with nats_server(port=port):
            await eventually(lambda: is_ready(node))
            async with chatting(node.ws, tokens.token("ann")) as ann:
                await ann.say("at last")
                await ann.hear("at last")
