"""A view that may not be kept, so that PocketBase is asked each time."""

from bench.gateway.compare import taken_in_turns
from bench.gateway.peers import traefik_server
from bench.gateway.site import PASSED_ON, checked, open_site
from bench.metric import Metric

POCKETBASE, TRAEFIK = "PocketBase", "traefik"


async def measure() -> list[Metric]:
    async with open_site() as site:
        path = site.view(PASSED_ON)
        await checked(site, path, "BYPASS")
        ours, direct = site.from_gateway(path), site.from_pocketbase(path)
        with traefik_server(site.home, site.pocketbase_port) as traefik:
            through = site.from_peer(TRAEFIK, traefik, path)
            busy = await taken_in_turns(ours, direct, through)
            alone = await taken_in_turns(ours, direct, through, connections=1)
    return [
        busy.metric("passthrough_view_vs_pocketbase", POCKETBASE, bar=">= 0.5"),
        busy.metric("passthrough_view_vs_traefik", TRAEFIK),
        alone.metric("passthrough_p50_vs_pocketbase", POCKETBASE, "p50_ms", bar="<= 2.5"),
        alone.metric("passthrough_p50_vs_traefik", TRAEFIK, "p50_ms"),
    ]
