"""Two gateway processes over one Valkey, and what users do with their sessions there."""

import json
import secrets
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import jwt

from tests.eventually import eventually
from tests.servers.gateway import GatewayServer, User, base64url, gateway_server
from tests.servers.pocketbase import PocketBaseServer

USERS = "/api/collections/users"
RECORDS = f"{USERS}/records"
NOTES = "/api/collections/notes/records"
OPERATOR_KEY = "an operator's key of some length"
GRACE_SECONDS = 1
REFUSED: dict[str, Any] = {
    "data": {},
    "message": "The request requires valid record authorization token.",
    "status": 401,
}

WORKERS: Mapping[str, str] = {
    "GATEWAY_SIGNING_KEY": base64url(secrets.token_bytes(31).rjust(32, b"\1")),
    "GATEWAY_SESSION_KEY": base64url(secrets.token_bytes(32)),
    "GATEWAY_SESSION_GRACE_SECONDS": str(GRACE_SECONDS),
    "GATEWAY_MAX_SESSIONS": "4",
    "GATEWAY_OPERATOR_KEY": OPERATOR_KEY,
}
"""What processes have in common that are workers of one gateway."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two processes and their users; what is done here must count there."""

    here: httpx.AsyncClient
    there: httpx.AsyncClient
    servers: tuple[GatewayServer, GatewayServer]


@contextmanager
def two_gateways(
    guarded: PocketBaseServer, valkey_url: str, **changed: str
) -> Generator[tuple[GatewayServer, GatewayServer]]:
    environment = {**WORKERS, **changed}
    with (
        gateway_server(guarded, valkey_url, environment) as first,
        gateway_server(guarded, valkey_url, environment) as second,
    ):
        yield first, second


@asynccontextmanager
async def clients_of(servers: tuple[GatewayServer, GatewayServer]) -> AsyncGenerator[Pair]:
    async with (
        httpx.AsyncClient(base_url=servers[0].url, timeout=20) as here,
        httpx.AsyncClient(base_url=servers[1].url, timeout=20) as there,
    ):
        yield Pair(here, there, servers)


def claims_in(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


def session_in(token: str) -> str:
    return claims_in(token)["sid"]


def bearing(token: str) -> dict[str, str]:
    return {"Authorization": token}


def credentials(user: User) -> dict[str, str]:
    return {"identity": user.email, "password": user.password}


async def sign_in(client: httpx.AsyncClient, user: User, **headers: str) -> str:
    answer = await client.post(f"{USERS}/auth-with-password", json=credentials(user), headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()["token"]


async def refresh(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.post(f"{USERS}/auth-refresh", headers=bearing(token))


async def refreshed(client: httpx.AsyncClient, token: str) -> str:
    return (await refresh(client, token)).json()["token"]


async def counts_as(client: httpx.AsyncClient, token: str, user: User) -> str:
    """`users` may be viewed by their owner alone, so the answer says who PocketBase took the caller for."""
    answer = await client.get(f"{RECORDS}/{user.id}", headers=bearing(token))
    return {200: "owner", 404: "guest"}[answer.status_code]


async def becomes_a_guest(client: httpx.AsyncClient, token: str, user: User, *, seconds: float = 10) -> None:
    await eventually(lambda: counts_as(client, token, user), lambda told: told == "guest", seconds=seconds)


async def is_out_within_a_second(client: httpx.AsyncClient, token: str, user: User) -> None:
    """The process forgets the session, rather than leave it to PocketBase to refuse its token."""

    async def status() -> int:
        return (await client.get("/sessions", headers=bearing(token))).status_code

    await eventually(status, lambda status: status == 401, seconds=1)
    assert await counts_as(client, token, user) == "guest"


async def sessions(client: httpx.AsyncClient, token: str) -> list[dict[str, Any]]:
    answer = await client.get("/sessions", headers=bearing(token))
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return answer.json()["items"]


def audit_lines(servers: tuple[GatewayServer, ...], event: str, session_id: str) -> list[dict[str, Any]]:
    lines = [line for server in servers for line in server.log.read_text().splitlines() if session_id in line]
    return [line for line in map(json.loads, lines) if line["event"] == event]
