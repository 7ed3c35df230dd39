"""One bootstrapped platform for the tests that do not stop its servers."""

from collections.abc import AsyncGenerator, Generator

import pytest

from tests.servers.issuer import ISSUER, Issuer, issuer
from tests.servers.natsync import Stack, Tenants, running_stack, tenants_of


@pytest.fixture(scope="package")
def platform_issuer() -> Generator[Issuer]:
    with issuer() as running:
        yield running


@pytest.fixture(scope="package")
def natsync(platform_issuer: Issuer) -> Generator[Stack]:
    with running_stack(issuer=ISSUER, jwks_url=platform_issuer.jwks_url) as running:
        yield running


@pytest.fixture
async def tenants(natsync: Stack) -> AsyncGenerator[Tenants]:
    async with tenants_of(natsync) as made:
        yield made
