"""The claims protocol against one server and against three, each of which may be behind, frozen or gone."""

import asyncio
import signal
import time
from collections.abc import AsyncGenerator, Generator
from dataclasses import replace

import pytest

from common.core.errors import UpstreamUnavailable
from natsync.adapters.nats_servers import NatsServers
from natsync.adapters.nats_system_account import DeletionOff, NatsSystemAccount
from natsync.core.claims.keys import KeyKind
from natsync.core.servers.servers_said import DIFFERING
from tests.eventually import eventually
from tests.servers.nats_cluster import Cluster, nats_cluster
from tests.servers.nats_operator import Operator, Tenant, new_key
from tests.servers.natsync import refused
from tests.servers.system_connection import joined, trust_in

NOW = int(time.time())


@pytest.fixture(scope="module")
def operator() -> Operator:
    return Operator()


@pytest.fixture
def cluster(operator: Operator) -> Generator[Cluster]:
    with nats_cluster(trust_in(operator)) as running:
        yield running


@pytest.fixture
async def servers(cluster: Cluster, operator: Operator) -> AsyncGenerator[NatsServers]:
    async with joined(cluster, operator) as there:
        yield there


async def test_an_account_is_verified_on_every_server_and_removed_from_every_one(
    cluster: Cluster, servers: NatsServers, operator: Operator
) -> None:
    system, tenant = NatsSystemAccount(servers), Tenant("tenant")
    token = operator.account(tenant)
    told = await system.publish(tenant.public_key, token)
    assert (told.is_verified, told.asked, told.accepted) == (True, ("n1", "n2", "n3"), ("n1", "n2", "n3"))
    observed = await system.observed()
    assert observed.tokens[tenant.public_key] == token
    assert observed.servers == ("n1", "n2", "n3")
    creds = tenant.user(new_key(KeyKind.USER))
    for node in cluster.nodes:
        assert not await refused(node.url, creds)
    await system.remove(tenant.public_key, operator.deletion(tenant.public_key))
    assert tenant.public_key not in (await system.observed()).tokens
    for node in cluster.nodes:
        assert await refused(node.url, creds)


async def test_what_one_server_lacks_or_has_otherwise_is_seen(
    cluster: Cluster, servers: NatsServers, operator: Operator
) -> None:
    system = NatsSystemAccount(servers)
    lost, stale, same = Tenant("lost"), Tenant("stale"), Tenant("same")
    keys = [tenant.public_key for tenant in (lost, stale, same)]
    old = operator.account(stale, issued_at=NOW - 10)
    for tenant in (lost, stale, same):
        assert (await system.publish(tenant.public_key, operator.account(tenant, issued_at=NOW))).is_verified
    (cluster.nodes[1].resolver / f"{lost.public_key}.jwt").unlink()
    (cluster.nodes[2].resolver / f"{stale.public_key}.jwt").write_text(old)
    observed = await system.observed()
    assert [observed.tokens[key] == DIFFERING for key in keys] == [True, True, False]
    for tenant in (lost, stale):
        told = await system.publish(tenant.public_key, operator.account(tenant, issued_at=NOW + 1))
        assert told.is_verified
    observed = await system.observed()
    assert DIFFERING not in [observed.tokens[key] for key in keys]


async def test_a_frozen_server_holds_nobody_up_for_long_and_is_noticed_when_it_is_back(
    cluster: Cluster, servers: NatsServers, operator: Operator
) -> None:
    system, tenant = NatsSystemAccount(servers), Tenant("tenant")
    cluster.nodes[2].freeze()
    try:
        told = await system.publish(tenant.public_key, operator.account(tenant))
        assert (told.is_verified, told.asked, told.silent) == (True, ("n1", "n2"), ("n3",))
        begun = time.monotonic()
        assert (await system.observed()).silent == ("n3",)
        assert time.monotonic() - begun < 0.5
    finally:
        cluster.nodes[2].thaw()
    back = asyncio.Event()
    servers.changed = back.set
    async with asyncio.timeout(5):
        await back.wait()
    assert servers.roster.names(servers.roster.present) == ("n1", "n2", "n3")


async def test_a_server_that_was_killed_and_lost_its_accounts_is_known_by_its_new_process(
    cluster: Cluster, servers: NatsServers, operator: Operator
) -> None:
    system, tenant = NatsSystemAccount(servers), Tenant("tenant")
    token = operator.account(tenant, issued_at=NOW)
    await system.publish(tenant.public_key, token)
    node = cluster.nodes[2]
    node.stop(signal.SIGKILL)
    node.wipe()
    changed = asyncio.Event()
    servers.changed = changed.set
    cluster.start(node)
    async with asyncio.timeout(5):
        await changed.wait()

    async def seen() -> bool:
        observed = await system.observed()
        return observed.tokens[tenant.public_key] == DIFFERING and observed.servers == ("n1", "n2", "n3")

    await eventually(seen)
    assert (await system.publish(tenant.public_key, operator.account(tenant, issued_at=NOW + 1))).is_verified
    assert not await refused(node.url, tenant.user(new_key(KeyKind.USER)))


async def test_what_somebody_else_tells_the_servers_is_heard(
    cluster: Cluster, servers: NatsServers, operator: Operator
) -> None:
    told = asyncio.Event()
    servers.changed = told.set
    async with joined(cluster, operator) as others:
        told.clear()
        tenant = Tenant("foreign")
        await NatsSystemAccount(others).publish(tenant.public_key, operator.account(tenant))
        async with asyncio.timeout(2):
            await told.wait()


async def test_where_accounts_cannot_be_removed_that_is_said(operator: Operator) -> None:
    with nats_cluster(trust_in(operator, allow_delete=False), nodes=1) as cluster:
        async with joined(cluster, operator) as servers:
            system, tenant = NatsSystemAccount(servers), Tenant("tenant")
            await system.publish(tenant.public_key, operator.account(tenant))
            with pytest.raises(DeletionOff, match="delete must be enabled"):
                await system.remove(tenant.public_key, operator.deletion(tenant.public_key))


async def test_a_server_that_keeps_no_accounts_is_said_to_be_none_for_natsync(operator: Operator) -> None:
    with nats_cluster(replace(trust_in(operator), resolver="MEMORY"), nodes=1) as cluster:
        async with joined(cluster, operator) as servers:
            with pytest.raises(UpstreamUnavailable, match="type full"):
                await NatsSystemAccount(servers).observed()


async def test_without_nats_every_question_fails_at_once(cluster: Cluster, servers: NatsServers) -> None:
    for node in cluster.nodes:
        node.stop(signal.SIGKILL)
    system = NatsSystemAccount(servers)

    async def away() -> bool:
        with pytest.raises(UpstreamUnavailable, match="not connected"):
            await system.observed()
        return True

    await eventually(away)
