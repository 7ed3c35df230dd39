"""What becomes of requests while something the gateway stands on is away."""

import asyncio
import os
import signal
from pathlib import Path

import httpx
import pytest

from tests.eventually import eventually
from tests.servers.gateway import User, gateway_server, signed_up
from tests.servers.pocketbase import PocketBaseServer
from tests.servers.process import free_port
from tests.servers.valkey import valkey_server

USERS = "/api/collections/users"


@pytest.mark.usefixtures("superuser_token")
async def test_without_valkey_nobody_signs_in_and_nobody_turns_into_a_guest(guarded: PocketBaseServer) -> None:
    port = free_port()
    with gateway_server(guarded, f"redis://127.0.0.1:{port}/0") as gateway:
        async with httpx.AsyncClient(base_url=gateway.url, timeout=20) as client:
            with valkey_server(port):
                ann = await signed_up(client)
                assert (await client.get(f"{USERS}/records/{ann.id}", headers=ann.headers)).status_code == 200
            await check_refusals(client, ann)
            with valkey_server(port):
                await eventually(lambda: is_ready(client))
                assert (await client.get(f"{USERS}/records/{ann.id}", headers=ann.headers)).status_code == 404
                again = await client.post(f"{USERS}/auth-with-password", json=credentials(ann))
                assert again.status_code == 200


async def check_refusals(client: httpx.AsyncClient, ann: User) -> None:
    refused = [
        await client.post(f"{USERS}/auth-with-password", json=credentials(ann)),
        await client.get(f"{USERS}/records/{ann.id}", headers=ann.headers),
        await client.post(f"{USERS}/auth-refresh", headers=ann.headers),
    ]
    for answer in refused:
        assert answer.status_code == 503
        assert answer.json() == {"data": {}, "message": "Sessions are not available; please retry.", "status": 503}
        assert "eyJ" not in answer.text
    assert (await client.get(f"{USERS}/records")).status_code == 200, "a guest needs no session"
    await eventually(lambda: is_waiting(client, "valkey"))


def credentials(user: User) -> dict[str, str]:
    return {"identity": user.email, "password": user.password}


async def is_ready(client: httpx.AsyncClient) -> bool:
    return (await client.get("/readyz")).status_code == 200


async def is_waiting(client: httpx.AsyncClient, part: str) -> bool:
    answer = await client.get("/readyz")
    return answer.status_code == 503 and f"{part} waiting\n" in answer.text


async def test_without_pocketbase_everything_is_503_and_the_gateway_says_so(valkey_url: str) -> None:
    nobody = PocketBaseServer(f"http://127.0.0.1:{free_port()}", Path(), process_id=0)
    parts = {"GATEWAY_HEALTH_PARTS": f'{{"chathub": "http://127.0.0.1:{free_port()}/readyz"}}'}
    with gateway_server(nobody, valkey_url, parts) as gateway:
        async with httpx.AsyncClient(base_url=gateway.url, timeout=20) as client:
            for method, path in (
                ("GET", "/api/health"),
                ("GET", "/api/realtime"),
                ("GET", f"{USERS}/records"),
                ("POST", f"{USERS}/auth-with-password"),
                ("GET", "/api/collections/unknown/records"),
            ):
                answer = await client.request(method, path)
                assert answer.status_code == 503, path
                assert answer.json()["status"] == 503
                assert answer.headers["retry-after"] == "1"
            assert (await client.get("/api/settings")).status_code == 403
            ready = await client.get("/readyz")
            assert ready.status_code == 503
            assert ready.text == "gateway ok\npocketbase waiting\nvalkey ok\nchathub waiting\n"
            alive = await client.get("/healthz")
            assert (alive.status_code, alive.text) == (200, ready.text)
            told = (await client.get("/readyz", headers={"Accept": "application/json"})).json()
            assert told["parts"] == {
                "gateway": "ok",
                "pocketbase": "waiting",
                "valkey": "ok",
                "chathub": "waiting",
            }
            operations = await client.get(f"{gateway.operations_url}/readyz")
            assert operations.status_code == 503


async def test_open_streams_do_not_hold_up_the_end(guarded: PocketBaseServer, valkey_url: str) -> None:
    with gateway_server(guarded, valkey_url) as gateway:
        async with (
            httpx.AsyncClient(base_url=gateway.url, timeout=5) as client,
            client.stream("GET", "/api/realtime") as answer,
        ):
            lines = answer.aiter_lines()
            assert (await anext(lines)).startswith("id:")
            os.kill(gateway.process_id, signal.SIGTERM)
            async with asyncio.timeout(3):
                assert [line async for line in lines][-1] == ""

        async def log() -> str:
            return gateway.log.read_text()

        told = await eventually(log, lambda told: "Application shutdown complete." in told, seconds=3)
        assert "Traceback" not in told
