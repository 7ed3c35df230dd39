"""A view and a list of 30 rows from memory for a user who has signed in: his session is checked, his use counted."""

from bench.gateway.compare import taken_in_turns
from bench.gateway.peers import bare_server, nginx_server
from bench.gateway.site import KEPT, Site, checked, open_site
from bench.metric import Metric

BARE, NGINX, POCKETBASE = "bare uvicorn ASGI app", "nginx proxy_cache", "PocketBase"


async def measure() -> list[Metric]:
    async with open_site() as site:
        return [*await of_view(site), *await of_list(site)]


async def of_view(site: Site) -> list[Metric]:
    path = site.view(KEPT)
    ours, direct = site.from_gateway(path), site.from_pocketbase(path)
    answer = await checked(site, path, "HIT")
    with bare_server(site.home, answer) as bare, nginx_server(site.home, site.pocketbase_port) as nginx:
        cached, least = site.from_peer(NGINX, nginx, path), site.from_peer(BARE, bare, path)
        turns = await taken_in_turns(ours, direct, cached, least)
    return [
        turns.metric("cached_view_vs_pocketbase", POCKETBASE, bar=">= 3"),
        turns.metric("cached_view_p99_vs_pocketbase", POCKETBASE, "p99_ms", bar="<= 1"),
        turns.metric("cached_view_vs_nginx", NGINX),
        turns.metric("cached_view_vs_bare_asgi", BARE),
        turns.metric("cached_view_cpu_vs_bare_asgi", BARE, "cpu_us_a_request", bar="<= 1.5"),
    ]


async def of_list(site: Site) -> list[Metric]:
    path = site.list(KEPT)
    await checked(site, path, "HIT")
    with nginx_server(site.home, site.pocketbase_port) as nginx:
        cached = site.from_peer(NGINX, nginx, path)
        turns = await taken_in_turns(site.from_gateway(path), site.from_pocketbase(path), cached)
    return [
        turns.metric("cached_list_vs_pocketbase", POCKETBASE, bar=">= 8"),
        turns.metric("cached_list_p99_vs_pocketbase", POCKETBASE, "p99_ms", bar="<= 1"),
        turns.metric("cached_list_vs_nginx", NGINX),
    ]
