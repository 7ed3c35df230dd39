"""A whole node over NATS, PostgreSQL and Valkey: what a message takes to 1,000 clients, how many are acknowledged and
persisted beside bare JetStream, what a connection takes of memory, and how a node with 10,000 of them ends."""

import asyncio
import json
import statistics
import time
from itertools import count
from typing import NamedTuple

import asyncpg
import nats
from nats.js.api import StorageType, StreamConfig
from nats.js.client import JetStreamContext

from bench.chathub.site import Site, open_site
from bench.metric import Metric, side_by_side
from tests.chat_client import ChatClient, chatting

CLIENTS = 1000
A_SECOND = 100
LISTEN_SECONDS = 10.0
IN_FLIGHT = 128
MESSAGES = 6400
ROUNDS = 3
MANY = 10_000
FRAME_TEXT = "x" * 140
PAYLOAD = FRAME_TEXT.encode() * 2
BARE = StreamConfig(name="BARE", subjects=["bare.>"], storage=StorageType.FILE, max_msgs=200_000)
COUNT = "select count(*) from chatserver.chat_messages"


class Delays(NamedTuple):
    p99_ms: float
    p50_ms: float
    heard: int


async def measure() -> list[Metric]:
    return await asyncio.to_thread(figures)


def figures() -> list[Metric]:
    with open_site() as site:
        found = [*asyncio.run(acknowledged(site)), asyncio.run(end_to_end(site))]
    with open_site() as site:
        return [*found, *asyncio.run(ten_thousand(site))]


async def acknowledged(site: Site) -> list[Metric]:
    """As many in flight on both sides; each of ours has a client of its own, which waits for its acknowledgement."""
    bare, database = await nats.connect(site.nats_url), await asyncpg.connect(site.database_url)
    await bare.jetstream().add_stream(BARE)
    persisted: list[float] = []
    with site.crowd(IN_FLIGHT, "sender") as crowd:

        async def ours() -> float:
            before, begun = await database.fetchval(COUNT), time.perf_counter()
            seconds: float = (await asyncio.to_thread(crowd.ask, f"say {MESSAGES}"))["seconds"]
            while await database.fetchval(COUNT) < before + MESSAGES:  # noqa: ASYNC110 - PostgreSQL tells nobody
                await asyncio.sleep(0.02)
            persisted.append(seconds / (time.perf_counter() - begun))
            return MESSAGES / seconds

        figures = await side_by_side(ours, lambda: bare_rate(bare.jetstream()), rounds=ROUNDS)
    await database.close()
    await bare.close()
    says, share = f"nats-py JetStream publish, fsynced, {IN_FLIGHT} in flight", statistics.median(persisted)
    return [
        Metric("acked_vs_bare_jetstream", figures[0], "messages/s", says, figures[1], figures[2], ">= 0.4"),
        Metric("persisted_vs_acked", share * figures[0], "messages/s", "acknowledged", figures[0], share, ">= 0.9"),
    ]


async def bare_rate(stream: JetStreamContext) -> float:
    async def some() -> None:
        for _ in range(MESSAGES // IN_FLIGHT):
            await stream.publish("bare.x", PAYLOAD)

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(IN_FLIGHT):
            tasks.create_task(some())
    return MESSAGES / (time.perf_counter() - begun)


async def end_to_end(site: Site) -> Metric:
    """From before it is sent by one client to when it is read by each of the others."""
    rounds = [await delays(site) for _ in range(ROUNDS)]
    middle = statistics.median_high(rounds)
    says = f"p50 of the same {middle.heard:,} deliveries, the middle one of {ROUNDS} rounds"
    return Metric("e2e_p99_ms", middle.p99_ms, "ms", says, middle.p50_ms, middle.p99_ms / middle.p50_ms, "value <= 50")


async def delays(site: Site) -> Delays:
    with site.crowd(CLIENTS) as crowd:
        async with chatting(site.node.ws, site.issuer.token("speaker")) as speaker:
            crowd.tell(f"listen {LISTEN_SECONDS}")
            telling = asyncio.create_task(tell(speaker))
            heard = json.loads(await asyncio.to_thread(crowd.line))
            telling.cancel()
    return Delays(heard["p99_ms"], heard["p50_ms"], heard["heard"])


async def tell(speaker: ChatClient) -> None:
    begun = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(read_all(speaker))
        for number in count():
            await asyncio.sleep(begun + number / A_SECOND - time.monotonic())
            await speaker.say(f"t={time.monotonic_ns()} {FRAME_TEXT}")


async def read_all(client: ChatClient) -> None:
    while True:
        await client.socket.recv(decode=False)


async def ten_thousand(site: Site) -> list[Metric]:
    before = site.resident_kib()
    with site.crowd(MANY) as crowd:
        each = (site.resident_kib() - before) / MANY
        crowd.ask("deaf 1")
        begun = time.perf_counter()
        site.node.process.terminate()
        closes = crowd.ask("closes")
        site.node.process.wait(30)
        seconds = time.perf_counter() - begun
    told = closes.get("1012", 0) / (MANY - 1)
    return [
        Metric("kib_per_connection", each, "KiB", f"resident, {MANY:,} open", before, each / before, "value <= 25"),
        Metric("drain_10000_s", seconds, "s", "one reads nothing; told to come again", told, told, "value <= 14"),
    ]
