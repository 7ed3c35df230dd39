"""A gateway of two workers with a folder for uploads."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import httpx
import pytest

from tests.servers.gateway import GatewayServer, User, gateway_server, signed_up
from tests.servers.pocketbase import PocketBaseServer

GIBIBYTE = 1024**3
PICTURES = ["image/png", "image/jpeg"]


@pytest.fixture(scope="package")
def uploading(guarded: PocketBaseServer, superuser_token: str, valkey_url: str) -> Generator[GatewayServer]:
    own = "owner = @request.auth.id"
    fields = [
        {"name": "title", "type": "text", "max": 20},
        {"name": "owner", "type": "text"},
        {"name": "large", "type": "file", "maxSize": 2 * GIBIBYTE},
        {"name": "many", "type": "file", "maxSelect": 5, "maxSize": 1_000_000},
        {"name": "picture", "type": "file", "mimeTypes": PICTURES},
        {"name": "secret", "type": "file", "protected": True},
    ]
    rules = dict.fromkeys(("viewRule", "createRule", "updateRule"), own)
    collection = {"name": "papers", "type": "base", "fields": fields, **rules}
    with httpx.Client(base_url=guarded.url, headers={"Authorization": superuser_token}, timeout=60) as control:
        control.post("/api/collections", json=collection).raise_for_status()
        with gateway_server(
            guarded, valkey_url, {"GATEWAY_WORKERS": "2", "GATEWAY_MAX_USER_UPLOADS": "300"}
        ) as running:
            yield running
        control.delete("/api/collections/papers").raise_for_status()


@pytest.fixture
async def client(uploading: GatewayServer) -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=uploading.url, timeout=30) as client:
        yield client


@pytest.fixture(scope="package")
def people(uploading: GatewayServer) -> tuple[User, User]:
    """For all tests that do not change them: a password costs PocketBase a tenth of a second."""

    async def sign_up() -> tuple[User, User]:
        async with httpx.AsyncClient(base_url=uploading.url, timeout=120) as client:
            return await signed_up(client), await signed_up(client, name="bob")

    return asyncio.run(sign_up())


@pytest.fixture
def ann(people: tuple[User, User]) -> User:
    return people[0]


@pytest.fixture
def bob(people: tuple[User, User]) -> User:
    return people[1]


@pytest.fixture
def folder(uploading: GatewayServer) -> Path:
    return uploading.spool / "pocketwire-uploads"
