"""A database and a log of their own, and nodes over them."""

import asyncio
from collections.abc import Generator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from tests.eventually import eventually
from tests.servers import chathub
from tests.servers.chathub import Chathub
from tests.servers.issuer import Issuer, issuer
from tests.servers.nats import nats_server


@pytest.fixture(scope="package")
def tokens() -> Generator[Issuer]:
    with issuer() as running:
        yield running


async def create_database(server_url: str) -> str:
    async def connect() -> asyncpg.Connection:
        try:
            return await asyncpg.connect(server_url)
        except asyncpg.CannotConnectNowError as error:  # it listens before it is up
            raise ConnectionError from error

    name = f"chat_{uuid4().hex}"
    connection = await eventually(connect)
    await connection.execute(f"create database {name}")
    await connection.close()
    return urlsplit(server_url)._replace(path=f"/{name}").geturl()


@pytest.fixture(scope="package")
def database_url(postgres_url: str) -> str:
    """Migrated."""
    url = asyncio.run(create_database(postgres_url))
    chathub.migrated(url)
    return url


@pytest.fixture
def empty_database_url(postgres_url: str) -> str:
    return asyncio.run(create_database(postgres_url))


@pytest.fixture(scope="package")
def log_url() -> Generator[str]:
    """NATS with a chat log of these tests' own."""
    with nats_server() as url:
        yield url


@pytest.fixture
def own_log_url() -> Generator[str]:
    with nats_server() as url:
        yield url


@pytest.fixture(scope="package")
def environment(database_url: str, log_url: str, valkey_url: str, tokens: Issuer) -> dict[str, str]:
    given = chathub.environment(database_url=database_url, nats_url=log_url, issuer=tokens)
    return {**given, "VALKEY_URL": valkey_url}


@pytest.fixture(scope="package")
def node(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Generator[Chathub]:
    with chathub.chathub(tmp_path_factory.mktemp("chathub") / "log", environment) as running:
        chathub.wait_until_ready(running)
        yield running


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    return tmp_path / "chathub.log"
