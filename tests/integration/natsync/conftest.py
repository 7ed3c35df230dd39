"""One bootstrapped platform for the tests that do not stop its servers."""

from collections.abc import AsyncGenerator, Generator

import pytest

from tests.servers.issuer import ISSUER, Issuer, RealmKey, issuer
from tests.servers.natsync import Stack, Tenants, running_stack, tenants_of


@pytest.fixture(scope="package")
def platform_issuer() -> Generator[Issuer]:
    with issuer() as running:
        yield running


@pytest.fixture(scope="package")
def realm_key() -> RealmKey:
    return RealmKey()


@pytest.fixture(scope="package")
def realm(realm_key: RealmKey) -> Generator[Issuer]:
    """A second issuer, found by discovery, that signs as a Keycloak realm does."""
    with issuer() as running:
        running.publication.keys.append(dict(realm_key.public_jwk))
        yield running


@pytest.fixture(scope="package")
def natsync(platform_issuer: Issuer, realm: Issuer) -> Generator[Stack]:
    with running_stack(issuer=ISSUER, jwks_url=platform_issuer.jwks_url, NATSYNC_OIDC_ISSUERS=realm.url) as running:
        yield running


@pytest.fixture
async def tenants(natsync: Stack) -> AsyncGenerator[Tenants]:
    async with tenants_of(natsync) as made:
        yield made
