"""A PocketBase whose changes natsync tells, and a gateway of two workers in front of it."""

from collections.abc import AsyncGenerator

import httpx
import pytest

from tests.servers.gateway import GatewayServer
from tests.servers.natsync import Stack


@pytest.fixture
def fanning(two_workers: GatewayServer) -> GatewayServer:
    """Tells its clients itself."""
    return two_workers


@pytest.fixture
async def root(fed: Stack, fed_token: str) -> AsyncGenerator[httpx.AsyncClient]:
    """PocketBase itself, as its superuser."""
    headers = {"Authorization": fed_token}
    async with httpx.AsyncClient(base_url=fed.pocketbase.url, timeout=30, headers=headers) as client:
        yield client


@pytest.fixture
async def client(fanning: GatewayServer) -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=fanning.url, timeout=20) as client:
        yield client
