"""A gateway of its own process, on free ports, in front of servers that are given."""

import base64
import json
import secrets
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from gateway.core.front_door.limits import DEFAULTS
from tests.servers.pocketbase import PocketBaseServer
from tests.servers.process import directory, free_port, server

ISSUER = "http://localhost:8080"
PASSWORD = "correct-horse"
SESSION_KEY = secrets.token_bytes(32)
"""Gateways of one platform share it, or each would take the other's sessions for broken ones and end them."""

VALKEY_DATABASES = 16
PLATFORMS: dict[str, int] = {}
"""PocketBases whose changes gateways hear of, each with a Valkey database of its own."""

UNLIMITED = json.dumps({name: {"limit": 0} for name in DEFAULTS})


@dataclass(frozen=True, slots=True)
class GatewayServer:
    url: str
    operations_url: str
    signing_key: bytes
    session_key: bytes
    log: Path
    process_id: int
    spool: Path

    def workers(self) -> set[int]:
        """The processes that it has started."""
        children = f"/proc/{self.process_id}/task/{self.process_id}/children"
        return set(map(int, Path(children).read_text().split()))


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def own_database(valkey_url: str, pocketbase: PocketBaseServer) -> str:
    """Gateways that hear of changes ask their PocketBase about every session that is kept: one platform's alone."""
    number = PLATFORMS.setdefault(pocketbase.url, 1 + len(PLATFORMS) % (VALKEY_DATABASES - 1))
    return urlsplit(valkey_url)._replace(path=f"/{number}").geturl()


@contextmanager
def gateway_server(
    pocketbase: PocketBaseServer,
    valkey_url: str,
    changed: Mapping[str, str] | None = None,
    *,
    module: str = "gateway",
    port: int = 0,
) -> Generator[GatewayServer]:
    port, operations_port = port or free_port(), free_port()
    signing_key, session_key = secrets.token_bytes(31).rjust(32, b"\1"), SESSION_KEY
    changed = {**(changed or {})}
    if "NATS_URL" in changed:
        changed = {"VALKEY_URL": own_database(valkey_url, pocketbase), **changed}
    environment = {
        "POCKETBASE_URL": pocketbase.url,
        "VALKEY_URL": valkey_url,
        "GATEWAY_PORT": str(port),
        "GATEWAY_OPERATIONS_PORT": str(operations_port),
        "GATEWAY_ISSUER": ISSUER,
        "GATEWAY_SIGNING_KEY": base64url(signing_key),
        "GATEWAY_SESSION_KEY": base64url(session_key),
        "GATEWAY_POCKETBASE_EMAIL": pocketbase.email,
        "GATEWAY_POCKETBASE_PASSWORD": pocketbase.password,
        "GATEWAY_RATE_LIMITS": UNLIMITED,
        **changed,
    }
    with directory() as home:
        log, spool = home / "gateway.log", home / "spool"
        spool.mkdir()
        command = [sys.executable, "-m", module, "serve"]
        environment = {"GATEWAY_SPOOL_DIRECTORY": str(spool), **environment}
        with server(command, port=port, log=log, environment=environment) as process:
            yield GatewayServer(
                url=f"http://127.0.0.1:{port}",
                operations_url=f"http://127.0.0.1:{operations_port}",
                signing_key=signing_key,
                session_key=session_key,
                log=log,
                process_id=process.pid,
                spool=spool,
            )


def prepare(pocketbase: PocketBaseServer) -> str:
    """What the gateway's tests need in PocketBase; returns a superuser's token."""
    with httpx.Client(base_url=pocketbase.url, timeout=30) as control:
        return configured(control, pocketbase)


def configured(control: httpx.Client, pocketbase: PocketBaseServer) -> str:
    credentials = {"identity": pocketbase.email, "password": pocketbase.password}
    token = control.post("/api/collections/_superusers/auth-with-password", json=credentials).json()["token"]
    control.headers["Authorization"] = token
    for method, path, body in PREPARATION:
        control.request(method, path, json=body).raise_for_status()
    users = control.get("/api/collections/users").json()
    roles = {"name": "roles", "type": "json", "hidden": True}
    others = [field for field in users["fields"] if field["name"] != "roles"]  # natsync may have made it already
    control.patch("/api/collections/users", json={"fields": [*others, roles]}).raise_for_status()
    return token


OWN = "@request.auth.id != '' && owner = @request.auth.id"
PREPARATION: list[tuple[str, str, dict[str, Any]]] = [
    (
        "PATCH",
        "/api/settings",
        {"trustedProxy": {"headers": ["X-Forwarded-For"], "useLeftmostIP": False}, "batch": {"enabled": True}},
    ),
    (
        "POST",
        "/api/collections",
        {
            "name": "notes",
            "type": "base",
            "fields": [
                {"name": "title", "type": "text"},
                {"name": "owner", "type": "text"},
                {"name": "attachment", "type": "file", "maxSize": 100_000_000},
            ],
            "listRule": OWN,
            "viewRule": OWN,
            "createRule": OWN,
            "updateRule": OWN,
            "deleteRule": OWN,
        },
    ),
    (
        "POST",
        "/api/collections",
        {
            "name": "devices",
            "type": "auth",
            "fields": [{"name": "roles", "type": "json"}, {"name": "nats_username", "type": "text"}],
        },
    ),
]


@dataclass(frozen=True, slots=True)
class User:
    id: str
    email: str
    password: str
    token: str
    record: dict[str, Any]

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": self.token}


async def signed_up(client: httpx.AsyncClient, **fields: Any) -> User:
    email = f"{secrets.token_hex(6)}@example.com"
    body = {"email": email, "password": PASSWORD, "passwordConfirm": PASSWORD, "name": "ann", **fields}
    (await client.post("/api/collections/users/records", json=body)).raise_for_status()
    credentials = {"identity": email, "password": PASSWORD}
    answer = await client.post("/api/collections/users/auth-with-password", json=credentials)
    answer.raise_for_status()
    told = answer.json()
    return User(told["record"]["id"], email, PASSWORD, told["token"], told["record"])
