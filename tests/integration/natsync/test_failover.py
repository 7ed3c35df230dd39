"""The system connection: to the primary whenever it is there, to a backup while it is not."""

from collections.abc import Generator

import pytest

from common.core.errors import UpstreamUnavailable
from natsync.adapters.nats_servers import NatsServers
from natsync.adapters.nats_system_account import NatsSystemAccount
from tests.eventually import eventually
from tests.servers.nats_cluster import Cluster, nats_cluster
from tests.servers.nats_operator import Operator, Tenant
from tests.servers.system_connection import connecting, trust_in


@pytest.fixture(scope="module")
def operator() -> Operator:
    return Operator()


@pytest.fixture
def cluster(operator: Operator) -> Generator[Cluster]:
    with nats_cluster(trust_in(operator), nodes=2) as running:
        yield running


async def until_on(servers: NatsServers, address: str) -> None:
    async def there() -> bool:
        return servers.connection.server == address

    await eventually(there)


async def test_the_primary_comes_first_a_backup_when_it_is_gone_and_the_primary_again(
    cluster: Cluster, operator: Operator
) -> None:
    primary, backup = cluster.nodes
    async with connecting([primary.url, backup.url], operator) as servers:
        await until_on(servers, primary.url)
        assert servers.connection.on_primary
        primary.stop()
        await until_on(servers, backup.url)
        assert not servers.connection.on_primary
        tenant = Tenant("tenant")
        system = NatsSystemAccount(servers)
        assert (await system.publish(tenant.public_key, operator.account(tenant))).is_verified
        cluster.start(primary)
        await until_on(servers, primary.url)
        assert tenant.public_key in (await system.observed()).tokens


async def test_a_primary_that_stands_still_is_left_for_a_backup(cluster: Cluster, operator: Operator) -> None:
    primary, backup = cluster.nodes
    async with connecting([primary.url, backup.url], operator) as servers:
        await until_on(servers, primary.url)
        primary.freeze()
        try:
            await until_on(servers, backup.url)
            assert (await NatsSystemAccount(servers).observed()).servers == ("n2",)
        finally:
            primary.thaw()
        await until_on(servers, primary.url)


async def test_nats_may_come_later_and_until_then_nobody_waits_for_it(cluster: Cluster, operator: Operator) -> None:
    for node in cluster.nodes:
        node.stop()
    async with connecting([node.url for node in cluster.nodes], operator) as servers:
        with pytest.raises(UpstreamUnavailable, match="not connected"):
            await servers.connection.answers()
        with pytest.raises(UpstreamUnavailable, match="not connected"):
            await NatsSystemAccount(servers).observed()
        cluster.start()
        await until_on(servers, cluster.nodes[0].url)
        await servers.connection.answers()


async def test_a_question_that_is_under_way_when_the_server_dies_fails_at_once(
    cluster: Cluster, operator: Operator
) -> None:
    primary, _ = cluster.nodes
    async with connecting([primary.url], operator) as servers:
        await until_on(servers, primary.url)
        await servers.present()
        primary.freeze()
        with pytest.raises(UpstreamUnavailable, match="lost before it answered"):
            await NatsSystemAccount(servers).observed()
        primary.thaw()


async def test_a_server_that_refuses_the_login_is_not_the_end(cluster: Cluster, operator: Operator) -> None:
    stranger = Operator()
    async with connecting([node.url for node in cluster.nodes], stranger) as servers:
        with pytest.raises(UpstreamUnavailable):
            await servers.connection.answers()
    assert servers.connection.server == ""
