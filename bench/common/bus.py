"""Acknowledged publications a second: the bus beside bare nats-py, over the same server, from as many tasks.

Both sides send the same bytes with a request id and a message id, and count a publication when its acknowledgement is
there: JetStream's for the durable ones, the server's PONG for the others. The stream is in memory, so that the disk
does not hide what the clients cost.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from itertools import count

import nats
from nats.aio.client import Client
from nats.js.api import StorageType, StreamConfig

from bench.metric import Metric, side_by_side
from common import correlation
from common.adapters.nats_bus import Bus, open_bus
from common.core.messages import Message, encode
from tests.servers.nats import nats_server

TASKS = 256
PUBLICATIONS = 8_000
REQUEST_ID = "bench-0123456789"
STREAM = StreamConfig(name="BENCH", subjects=["bench.>"], storage=StorageType.MEMORY, max_msgs=400_000)
DURABLE = "bench.durable"
HEARD_BY_NONE = "core.bench"


class Said(Message, frozen=True):
    room: str
    author: str
    text: str


SAID = Said(room="12", author="0123456789abcde", text="x" * 220)


async def rate(publish: Callable[[], Awaitable[object]]) -> float:
    """Confirmed calls a second."""

    async def some() -> None:
        for _ in range(PUBLICATIONS // TASKS):
            await publish()

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(TASKS):
            tasks.create_task(some())
    return PUBLICATIONS // TASKS * TASKS / (time.perf_counter() - begun)


async def durable(bus: Bus, client: Client) -> Metric:
    stream, numbers, payload = client.jetstream(), count(), encode(SAID)

    async def peer() -> None:
        headers = {"X-Request-Id": REQUEST_ID, "Nats-Msg-Id": f"peer.{next(numbers)}"}
        await stream.publish(DURABLE, payload, headers=headers)

    figures = await side_by_side(lambda: rate(lambda: bus.publish_durable(DURABLE, SAID)), lambda: rate(peer))
    return metric("bus_publish_vs_nats_py", "JetStreamContext.publish", *figures)


async def core(bus: Bus, client: Client) -> Metric:
    payload = encode(SAID)

    async def peer() -> None:
        await client.publish(HEARD_BY_NONE, payload, headers={"X-Request-Id": REQUEST_ID})
        await client.flush()

    figures = await side_by_side(lambda: rate(lambda: bus.publish(HEARD_BY_NONE, SAID)), lambda: rate(peer))
    return metric("bus_core_publish_vs_nats_py", "Client.publish and flush", *figures)


def metric(name: str, peer: str, ours: float, theirs: float, ratio: float) -> Metric:
    return Metric(name, ours, "confirmed/s", f"nats-py {peer}, {TASKS} tasks", theirs, ratio, ">= 0.8")


async def measure() -> list[Metric]:
    with nats_server() as url, correlation.incoming({"x-request-id": REQUEST_ID}):
        async with open_bus(url, name="bench") as bus:
            client = await nats.connect(url)
            try:
                await bus.ready()
                await bus.ensure_stream(STREAM)
                return [await durable(bus, client), await core(bus, client)]
            finally:
                await client.close()
