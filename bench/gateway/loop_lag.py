"""How late one process's event loop is for a timer, while 32 connections ask it for views from memory as fast as they
can: what anybody else who needs that loop has to wait at least."""

import statistics
from collections.abc import Mapping

import httpx

from bench.gateway.load import Target, turn
from bench.gateway.peers import bare_server
from bench.gateway.site import KEPT, checked, open_site
from bench.metric import ROUNDS, Metric


async def measure() -> list[Metric]:
    async with open_site(module="bench.gateway.lagging", workers=1) as site:
        path = site.view(KEPT)
        answer = await checked(site, path, "HIT")
        with bare_server(site.home, answer, is_watched=True) as bare:
            ours, least = site.from_gateway(path), site.from_peer("bare uvicorn ASGI app", bare, path)
            pairs = [(await lag_ms(ours), await lag_ms(least)) for _ in range(ROUNDS)]
    return [metric("loop_lag_p50", "p50", pairs), metric("loop_lag_p99", "p99", pairs)]


async def lag_ms(target: Target) -> Mapping[str, float]:
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        told = httpx.URL(target.url).join("/lag")
        await client.get(told)
        await turn(target)
        return (await client.get(told)).raise_for_status().json()


def metric(name: str, share: str, pairs: list[tuple[Mapping[str, float], Mapping[str, float]]]) -> Metric:
    mine, theirs = ([side[share] for side in sides] for sides in zip(*pairs, strict=True))
    ratio = statistics.median(ours / other for ours, other in zip(mine, theirs, strict=True))
    value, peer_value = statistics.median(mine), statistics.median(theirs)
    return Metric(name, value, f"ms late, {share}", "bare uvicorn ASGI app, one process", peer_value, ratio)
