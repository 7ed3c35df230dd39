"""One PocketBase, one Valkey and one gateway for the session; a user of his own for each test."""

import asyncio
import json
from collections.abc import AsyncGenerator, Generator

import httpx
import pytest

from gateway.core.front_door.limits import DEFAULTS
from tests.integration.gateway.realtime.listener import until_told
from tests.servers.gateway import GatewayServer, User, gateway_server, prepare, signed_up
from tests.servers.natsync import CALM, Stack, hearing, running_stack
from tests.servers.pocketbase import PocketBaseServer, pocketbase_server
from tests.session_client import Pair, clients_of, two_gateways


@pytest.fixture(scope="package")
def guarded() -> Generator[PocketBaseServer]:
    """A PocketBase of the gateway's own, since its settings are changed."""
    with pocketbase_server() as running:
        yield running


@pytest.fixture(scope="package")
def superuser_token(guarded: PocketBaseServer) -> str:
    return prepare(guarded)


@pytest.fixture
async def superuser(guarded: PocketBaseServer, superuser_token: str) -> AsyncGenerator[httpx.AsyncClient]:
    """PocketBase itself, as its superuser; whatever it refuses is an error."""

    async def succeeded(answer: httpx.Response) -> None:
        answer.raise_for_status()

    headers, hooks = {"Authorization": superuser_token}, {"response": [succeeded]}
    async with httpx.AsyncClient(base_url=guarded.url, timeout=30, headers=headers, event_hooks=hooks) as client:
        yield client


@pytest.fixture(scope="package")
def gateway(guarded: PocketBaseServer, superuser_token: str, valkey_url: str) -> Generator[GatewayServer]:
    with gateway_server(guarded, valkey_url, {"GATEWAY_MAX_BODY_BYTES": "40000000"}) as running:
        yield running


@pytest.fixture
async def client(gateway: GatewayServer) -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=20) as client:
        yield client


@pytest.fixture
async def ann(client: httpx.AsyncClient) -> User:
    return await signed_up(client)


@pytest.fixture
async def bob(client: httpx.AsyncClient) -> User:
    return await signed_up(client, name="bob")


@pytest.fixture(scope="package")
def member(gateway: GatewayServer) -> User:
    """One user for all tests that do not change him: a password costs PocketBase a tenth of a second."""

    async def sign_up() -> User:
        async with httpx.AsyncClient(base_url=gateway.url, timeout=20) as client:
            return await signed_up(client)

    return asyncio.run(sign_up())


@pytest.fixture(scope="package")
def workers(
    guarded: PocketBaseServer, superuser_token: str, valkey_url: str
) -> Generator[tuple[GatewayServer, GatewayServer]]:
    """Two processes of one gateway, with a grace of a second."""
    with two_gateways(guarded, valkey_url) as running:
        yield running


@pytest.fixture
async def pair(workers: tuple[GatewayServer, GatewayServer]) -> AsyncGenerator[Pair]:
    async with clients_of(workers) as clients:
        yield clients


@pytest.fixture
async def user(pair: Pair) -> User:
    return await signed_up(pair.here)


@pytest.fixture(scope="package")
def fed() -> Generator[Stack]:
    """A PocketBase of which natsync tells what changes; its own tests leave its servers running."""
    with running_stack(**CALM) as running:
        yield running


@pytest.fixture(scope="package")
def fed_token(fed: Stack) -> str:
    """Once natsync has told of the collections that were made: whoever listens already is sent away by that."""
    token = prepare(fed.pocketbase)

    async def wait() -> None:
        url, headers = fed.pocketbase.url, {"Authorization": token}
        async with httpx.AsyncClient(base_url=url, timeout=30, headers=headers) as root:
            await until_told(root, fed)

    asyncio.run(wait())
    return token


@pytest.fixture(scope="package")
def two_workers(fed: Stack, fed_token: str, valkey_url: str) -> Generator[GatewayServer]:
    """One gateway of two workers that keeps answers; its limits count, and are far away."""
    limits = {name: {"limit": 1_000_000, "every": 60_000} for name in DEFAULTS}
    changed = {"GATEWAY_WORKERS": "2", "GATEWAY_RATE_LIMITS": json.dumps(limits), **hearing(fed)}
    with gateway_server(fed.pocketbase, valkey_url, changed) as running:
        yield running
