"""The official SDK, unchanged, where the gateway tells of changes itself: the same as from PocketBase directly."""

import httpx

from tests.differences import where_they_differ
from tests.integration.gateway.realtime.listener import until_own_streams
from tests.integration.gateway.test_sdk_calls import hall, with_own_page
from tests.servers import node
from tests.servers.gateway import GatewayServer
from tests.servers.natsync import Stack


async def test_every_call_of_the_sdk_gives_the_same(
    fed: Stack, fanning: GatewayServer, root: httpx.AsyncClient
) -> None:
    node.install()
    async with hall(fed.pocketbase, root.headers["Authorization"]) as place:
        await place.prepare("northern", "southern")
        _, told_directly, _ = await place.run(fed.pocketbase.url, "northern")
        await until_own_streams(fanning.url)
        _, told_through, _ = await place.run(fanning.url, "southern")
    expected = with_own_page(told_directly)
    assert told_through == expected, where_they_differ(expected, told_through)
    async with httpx.AsyncClient(base_url=fanning.operations_url) as operations:
        metrics = (await operations.get("/metrics")).text
    counted = [line for line in metrics.splitlines() if line.startswith("gateway_realtime_events_total")]
    assert sum(float(line.split()[-1]) for line in counted) > 0, "not one event was told by the gateway itself"
