"""What 5,000 subscribers do to a write, and how many events are told for a second of the processor."""

import asyncio
from dataclasses import dataclass
from typing import NamedTuple

from bench.metric import Metric
from bench.realtime.stage import OWNED, PUBLIC, USERS, Stage, crowd, open_stage

SUBSCRIBERS = 5000
WRITES, WARMING_WRITES = 50, 50
APART_SECONDS = 0.1
SETTLE_SECONDS = 1.0
POCKETBASE = "PocketBase"


class Writes(NamedTuple):
    """Seconds a write, each sent when the one before was answered, and each sent when that has long been told."""

    at_once: float
    apart: float


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one rule, at one server."""

    alone: Writes
    watched: Writes
    events_a_cpu_second: float


async def measure() -> list[Metric]:
    async with open_stage() as stage:
        found = {
            (collection, through): await figures(stage, collection, through_gateway=through)
            for collection in (PUBLIC, OWNED)
            for through in (True, False)
        }
    return [
        *slower("write_latency_5000", found[PUBLIC, True], found[PUBLIC, False]),
        *slower("write_latency_5000_owner", found[OWNED, True], found[OWNED, False]),
        events("events_per_cpu_public_vs_pocketbase", found[PUBLIC, True], found[PUBLIC, False], bar=">= 2"),
        events("events_per_cpu_owner_vs_pocketbase", found[OWNED, True], found[OWNED, False], bar=">= 5"),
    ]


async def figures(stage: Stage, collection: str, *, through_gateway: bool) -> Figures:
    """Writes go to PocketBase itself, so that only what its subscribers do to it is seen."""
    url = stage.gateway.url if through_gateway else stage.pocketbase.url
    tokens = [caller.gateway_token if through_gateway else caller.pocketbase_token for caller in stage.callers]
    await stage.write_seconds(collection, WARMING_WRITES)
    alone = await writes(stage, collection)
    hearers = SUBSCRIBERS if collection == PUBLIC else SUBSCRIBERS // USERS
    async with crowd(url, SUBSCRIBERS, f"{collection}/*", tokens) as listening:
        await stage.write(collection, 0)
        await listening.heard(hearers)
        before = stage.cpu_seconds(through_gateway=through_gateway)
        watched = await writes(stage, collection)
        count, _ = await listening.heard(hearers * WRITES * len(watched))
        await asyncio.sleep(SETTLE_SECONDS)
        spent = stage.cpu_seconds(through_gateway=through_gateway) - before
    return Figures(alone, watched, count / spent)


async def writes(stage: Stage, collection: str) -> Writes:
    at_once = await stage.write_seconds(collection, WRITES)
    return Writes(at_once, await stage.write_seconds(collection, WRITES, apart_seconds=APART_SECONDS))


def slower(name: str, ours: Figures, peer: Figures) -> list[Metric]:
    return [
        times(f"{name}_vs_0", ours.watched.at_once / ours.alone.at_once, peer.watched.at_once / peer.alone.at_once),
        times(f"{name}_vs_0_apart", ours.watched.apart / ours.alone.apart, peer.watched.apart / peer.alone.apart),
    ]


def times(name: str, ours: float, peer: float) -> Metric:
    return Metric(name, ours, "times", POCKETBASE, peer, ours / peer, bar="value <= 2")


def events(name: str, ours: Figures, peer: Figures, *, bar: str) -> Metric:
    mine, theirs = ours.events_a_cpu_second, peer.events_a_cpu_second
    return Metric(name, mine, "events/CPU s", POCKETBASE, theirs, mine / theirs, bar=bar)
