"""Real servers, one of each a session, on ports of their own."""

from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

from tests.servers.nats import nats_server
from tests.servers.pocketbase import PocketBaseServer, pocketbase_server
from tests.servers.postgres import postgres_server
from tests.servers.programs import fork_services
from tests.servers.valkey import valkey_server
from tests.thorough import examples

# How long one example takes says more of what else the machine does than of the code.
settings.register_profile(
    "any machine", max_examples=examples(50), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

fork_services()


@pytest.fixture(scope="session")
def pocketbase() -> Generator[PocketBaseServer]:
    with pocketbase_server() as running:
        yield running


@pytest.fixture(scope="session")
def nats_url() -> Generator[str]:
    """A nats-server without accounts, with JetStream."""
    with nats_server() as url:
        yield url


@pytest.fixture(scope="session")
def valkey_url() -> Generator[str]:
    with valkey_server() as url:
        yield url


@pytest.fixture(scope="session")
def postgres_url() -> Generator[str]:
    with postgres_server() as url:
        yield url
