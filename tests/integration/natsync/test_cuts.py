"""Connections that are to end, on whichever server they are."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack

import pytest
from nats.aio.client import Client

from natsync.adapters.nats_live_connections import NatsLiveConnections
from natsync.adapters.nats_servers import NatsServers
from natsync.adapters.nats_system_account import NatsSystemAccount
from natsync.core.claims.keys import KeyKind
from natsync.core.servers.live_connections import NOBODY_STAYS, LiveConnection
from natsync.cut_connections import CutConnections, NotCut
from tests.servers.nats_cluster import Cluster, nats_cluster
from tests.servers.nats_operator import Operator, Tenant, new_key
from tests.servers.natsync import Connection, connected_with
from tests.servers.process import directory
from tests.servers.system_connection import joined, trust_in

ISSUED = 1_700_000_000


@pytest.fixture(scope="module")
def operator() -> Operator:
    return Operator()


@pytest.fixture(scope="module")
def cluster(operator: Operator) -> Generator[Cluster]:
    with nats_cluster(trust_in(operator)) as running:
        yield running


@pytest.fixture
async def servers(cluster: Cluster, operator: Operator) -> AsyncGenerator[NatsServers]:
    async with joined(cluster, operator) as there:
        yield there


@pytest.fixture
async def tenant(servers: NatsServers, operator: Operator) -> Tenant:
    made = Tenant("tenant")
    assert (await NatsSystemAccount(servers).publish(made.public_key, operator.account(made))).is_verified
    return made


@pytest.fixture
async def opened() -> AsyncGenerator[AsyncExitStack]:
    async with AsyncExitStack() as connections:
        yield connections


def cutting(servers: NatsServers, *, patience_seconds: float = 5) -> CutConnections:
    return CutConnections(NatsLiveConnections(servers), patience_seconds=patience_seconds)


async def everywhere(cluster: Cluster, creds: str, opened: AsyncExitStack) -> list[Connection]:
    return [await opened.enter_async_context(connected_with(node.url, creds)) for node in cluster.nodes]


async def test_a_users_older_logins_end_on_every_server_and_newer_ones_stay(
    cluster: Cluster, servers: NatsServers, tenant: Tenant, opened: AsyncExitStack
) -> None:
    user, neighbour = new_key(KeyKind.USER), new_key(KeyKind.USER)
    old = await everywhere(cluster, tenant.user(user, issued_at=ISSUED), opened)
    new = await everywhere(cluster, tenant.user(user, issued_at=ISSUED + 1), opened)
    other = await everywhere(cluster, tenant.user(neighbour, issued_at=ISSUED), opened)
    cut = await cutting(servers).users(tenant.public_key, {user.public_key: ISSUED})
    assert (cut.kicked, cut.left) == (3, 0)
    for connection in old:
        await connection.is_cut()
    for connection in (*new, *other):
        await connection.client.flush(timeout=2)


async def test_everybody_of_an_account_is_found_however_many_they_are(
    cluster: Cluster, servers: NatsServers, tenant: Tenant, opened: AsyncExitStack
) -> None:
    for _ in range(2):
        await everywhere(cluster, tenant.user(new_key(KeyKind.USER)), opened)
    extra = [await everywhere(cluster, tenant.user(new_key(KeyKind.USER)), opened) for _ in range(2)]
    live = NatsLiveConnections(servers, page_size=2)
    assert len(await live.of(tenant.public_key)) == await live.count(tenant.public_key) == 12
    cut = await CutConnections(live, patience_seconds=5).after_publication(tenant.public_key, "everybody", NOBODY_STAYS)
    assert (cut.kicked, cut.left) == (12, 0)
    for connection in extra[-1]:
        await connection.is_cut()


class Returning(NatsLiveConnections):
    """Whoever is ended here is back before he is looked for again."""

    def __init__(self, servers: NatsServers) -> None:
        super().__init__(servers)
        self._is_back = asyncio.Event()

    async def kick(self, connection: LiveConnection) -> None:
        self._is_back.clear()
        await super().kick(connection)
        async with asyncio.timeout(10):
            await self._is_back.wait()

    async def came_back(self) -> None:
        self._is_back.set()


async def test_who_comes_back_again_and_again_is_reported(
    cluster: Cluster, servers: NatsServers, tenant: Tenant
) -> None:
    user, connections = new_key(KeyKind.USER), Returning(servers)
    with directory() as home:
        creds = home / "user.creds"
        creds.write_text(tenant.user(user, issued_at=ISSUED))
        client = Client()

        async def quiet(_: Exception) -> None:
            pass

        await client.connect(
            cluster.nodes[0].url, user_credentials=str(creds), reconnect_time_wait=0, max_reconnect_attempts=-1,
            error_cb=quiet, reconnected_cb=connections.came_back,
        )  # fmt: skip
        try:
            with pytest.raises(NotCut, match="still open"):
                await CutConnections(connections, patience_seconds=1).users(
                    tenant.public_key, {user.public_key: ISSUED}
                )
        finally:
            await client.close()


async def test_removing_an_account_leaves_nobody_connected(
    cluster: Cluster, servers: NatsServers, operator: Operator, tenant: Tenant, opened: AsyncExitStack
) -> None:
    live = await everywhere(cluster, tenant.user(new_key(KeyKind.USER)), opened)
    await NatsSystemAccount(servers).remove(tenant.public_key, operator.deletion(tenant.public_key))
    cut = await cutting(servers).after_removal(tenant.public_key)
    assert cut.left == 0
    for connection in live:
        await connection.is_cut()


async def test_an_account_without_anybody_has_nothing_to_cut(servers: NatsServers, tenant: Tenant) -> None:
    nobody = new_key(KeyKind.USER).public_key
    assert (await cutting(servers).users(tenant.public_key, {nobody: ISSUED})).kicked == 0
    assert (await cutting(servers).after_publication(tenant.public_key, "nobody", NOBODY_STAYS)).seconds == 0
