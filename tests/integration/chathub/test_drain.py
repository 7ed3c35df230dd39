"""Ending in time, and clients that never read."""

import asyncio
import json
import socket
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.chat_client import ChatClient, chatting
from tests.eventually import eventually
from tests.servers import chathub
from tests.servers.chathub import Chathub
from tests.servers.issuer import Issuer

BIG = "x" * 2000


def never_reading(node: Chathub, token: str) -> socket.socket:
    """A WebSocket client that takes in as little as it can."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", node.port))
    client.sendall(
        f"GET /ws?token={token} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    assert client.recv(12) == b"HTTP/1.1 101"
    return client


async def test_sigterm_ends_in_time_with_a_client_that_never_reads(
    environment: dict[str, str], tokens: Issuer, log_file: Path, database_url: str
) -> None:
    with chathub.chathub(log_file, environment) as node:
        chathub.wait_until_ready(node)
        with never_reading(node, tokens.token("stone")):
            async with chatting(node.ws, tokens.token("henry")) as henry:
                for _ in range(300):
                    await henry.say(BIG)
                await henry.say("that is all")
                await henry.hear("that is all")
                asked = time.monotonic()
                await asyncio.to_thread(node.stop)
                assert time.monotonic() - asked < 8
                with pytest.raises(ConnectionClosed) as closed:
                    await henry.until("never")
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012
    connection = await asyncpg.connect(database_url)
    query = "select array_agg(user_id order by user_id) from chatserver.chat_sessions where user_id = any ($1)"
    assert await connection.fetchval(query, ["stone", "henry"]) == ["henry", "stone"]
    await connection.close()


async def test_while_a_node_ends_newcomers_are_sent_elsewhere_and_clients_told_where_to_go_on(
    environment: dict[str, str], node: Chathub, tokens: Issuer, log_file: Path
) -> None:
    with chathub.chathub(log_file, {**environment, "CHATHUB_DRAIN_SECONDS": "4"}) as ending:
        chathub.wait_until_ready(ending)
        async with AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(chatting(ending.ws, tokens.token(name), resume="new"))
                for name in ("ann", "bob", "carl", "dora")
            ]
            ending.process.terminate()
            told = [asyncio.create_task(reconnecting(client)) for client in clients]
            assert (
                await eventually(lambda: status_of(ending, tokens.token("late")), lambda status: status != 101) == 503
            )
            answers = await asyncio.gather(*told)
        assert await asyncio.to_thread(ending.process.wait, 10) == 0
    assert all(0 <= payload["after_ms"] < 1000 for payload, _ in answers)
    assert max(at for _, at in answers) - min(at for _, at in answers) > 0.1
    async with chatting(node.ws, tokens.token("ann"), resume=answers[0][0]["resume"]) as again:
        assert (await again.until("resumed"))["recovered"]


async def reconnecting(client: ChatClient) -> tuple[dict[str, Any], float]:
    """What it is told when it is sent away, and when."""
    payload, at = await client.until("reconnect"), time.monotonic()
    with pytest.raises(ConnectionClosed) as closed:
        await client.until("never")
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012
    return payload, at


async def status_of(node: Chathub, token: str) -> int:
    try:
        async with chatting(node.ws, token):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


async def test_a_client_that_falls_behind_is_closed_and_the_others_are_not_held_up(
    environment: dict[str, str], tokens: Issuer, log_file: Path
) -> None:
    with chathub.chathub(log_file, {**environment, "CHATHUB_OUTBOX_BYTES": "20000"}) as node:
        chathub.wait_until_ready(node)
        with never_reading(node, tokens.token("stone")):
            async with chatting(node.ws, tokens.token("henry")) as henry:
                await henry.until("connected_users", lambda payload: "stone" in json.dumps(payload))
                for number in range(200):
                    for _ in range(20):
                        await henry.say(BIG)
                    await henry.say(BIG, client_msg_id=f"flood-{number}")
                    if any(is_farewell(frame) for frame in henry.heard):
                        break
                    await henry.acked(f"flood-{number}")
                    henry.heard[:] = [frame for frame in henry.heard if is_farewell(frame)]
                assert [frame for frame in henry.heard if is_farewell(frame)]
                await henry.say("and on we go")
                await henry.hear("and on we go")


def is_farewell(frame: dict[str, object]) -> bool:
    return frame["type"] == "user_status" and frame["payload"] == {"username": "Stone", "id": "stone", "status": False}
