"""A connection to the system account of nats-servers that trust the tests' own operator."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress

from common.core.errors import UpstreamUnavailable
from natsync.adapters.nats_servers import NatsServers, open_servers
from natsync.core.servers.server_choice import ConnectionTerms, RetryTerms, Timeouts
from tests.eventually import eventually
from tests.servers.nats_cluster import Cluster, Trust
from tests.servers.nats_operator import Operator
from tests.servers.process import directory

TERMS = ConnectionTerms(RetryTerms(1, 0.01, 0.1), connect_timeout_seconds=1, failback_interval_seconds=0.2)


def trust_in(operator: Operator, *, allow_delete: bool = True, limit: int = 100_000) -> Trust:
    system = operator.system
    preload = {system.public_key: operator.account(system)}
    return Trust(operator.token, system.public_key, preload, allow_delete=allow_delete, limit=limit)


@asynccontextmanager
async def connecting(addresses: Sequence[str], operator: Operator) -> AsyncGenerator[NatsServers]:
    """It is handed over at once, connected or not."""
    with directory() as home:
        creds = home / "sys.creds"
        creds.write_text(operator.system_creds())
        async with open_servers(addresses, creds, TERMS, Timeouts()) as servers:
            yield servers


@asynccontextmanager
async def joined(cluster: Cluster, operator: Operator) -> AsyncGenerator[NatsServers]:
    """Handed over when all servers that run are known."""
    async with connecting([node.url for node in cluster.nodes], operator) as servers:

        async def all_there() -> bool:
            with suppress(UpstreamUnavailable):
                await servers.call_roll()
            return len(servers.roster.present) == len(cluster.running())

        await eventually(all_there)
        yield servers
