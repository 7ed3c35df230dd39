"""The events of realtime over a WebSocket."""

import asyncio
import json
from typing import Any

import httpx
import pytest
import websockets

from tests.integration.gateway.realtime.listener import until_own_streams
from tests.servers.gateway import GatewayServer, signed_up

NOTES = "/api/collections/notes/records"
PATH = "/api/realtime/ws"


def socket_url(gateway: GatewayServer, path: str = PATH) -> str:
    return gateway.url.replace("http:", "ws:") + path


async def received(socket: websockets.ClientConnection) -> tuple[str, Any]:
    async with asyncio.timeout(10):
        told = json.loads(await socket.recv())
    return told["event"], told["data"]


async def test_a_socket_is_told_what_a_stream_is_told(
    fanning: GatewayServer, client: httpx.AsyncClient, root: httpx.AsyncClient
) -> None:
    await until_own_streams(fanning.url)
    ann = await signed_up(client)
    async with websockets.connect(socket_url(fanning)) as socket:
        event, data = await received(socket)
        assert event == "PB_CONNECT"
        assert data["clientId"].startswith("gw-")
        await socket.send(json.dumps({"subscriptions": ["notes/*"], "token": ann.token}))
        assert await received(socket) == ("PB_SUBSCRIPTIONS", {"count": 1})
        await root.post(NOTES, json={"title": "of nobody"})
        await root.post(NOTES, json={"title": "of ann", "owner": ann.id})
        event, data = await received(socket)
        assert (event, data["action"], data["record"]["title"]) == ("notes/*", "create", "of ann")
        sessions = (await client.get("/sessions", headers=ann.headers)).json()["items"]
        await client.delete(f"/sessions/{sessions[0]['id']}", headers=ann.headers)
        with pytest.raises(websockets.ConnectionClosed):
            await received(socket)
        assert socket.close_code == 1012


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("no JSON", 400),
        ('{"subscriptions": [1]}', 400),
        ('{"subscriptions": [], "more": 1}', 400),
        ('{"subscriptions": ["notes/*\\n"]}', 400),
    ],
)
async def test_what_cannot_be_wanted_is_said_so_and_the_socket_stays(
    fanning: GatewayServer, said: str, status: int
) -> None:
    await until_own_streams(fanning.url)
    async with websockets.connect(socket_url(fanning)) as socket:
        await received(socket)
        await socket.send(said)
        event, data = await received(socket)
        assert (event, data["status"]) == ("PB_ERROR", status)
        await socket.send('{"subscriptions": []}')
        assert await received(socket) == ("PB_SUBSCRIPTIONS", {"count": 0})


async def test_a_socket_may_be_subscribed_by_a_request_as_a_stream_is(
    fanning: GatewayServer, client: httpx.AsyncClient, root: httpx.AsyncClient
) -> None:
    await until_own_streams(fanning.url)
    ann = await signed_up(client)
    async with websockets.connect(socket_url(fanning)) as socket:
        _, data = await received(socket)
        body = {"clientId": data["clientId"], "subscriptions": ["notes/*"]}
        assert (await client.post("/api/realtime", json=body, headers=ann.headers)).status_code == 204
        await root.post(NOTES, json={"title": "of ann", "owner": ann.id})
        assert (await received(socket))[0] == "notes/*"


async def test_no_other_path_takes_a_socket(fanning: GatewayServer) -> None:
    with pytest.raises(websockets.InvalidStatus):
        async with websockets.connect(socket_url(fanning, "/api/realtime")):
            pass
