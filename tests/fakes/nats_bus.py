"""The bus that the gateway needs, in a few lines over nats-py: real NATS, little comfort."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

import nats
import nats.errors
from nats.aio.client import Client
from nats.aio.subscription import Subscription

from common.core.errors import UpstreamUnavailable
from common.core.messages import Message, decode, encode

M = TypeVar("M", bound=Message)


class NatsBus:
    def __init__(self) -> None:
        self.client = Client()
        self.connections = 0

    async def regained(self) -> None:
        self.connections += 1

    async def publish(self, subject: str, message: Message) -> None:
        await self.answers()
        await self.client.publish(subject, encode(message))
        await self.answers()

    @asynccontextmanager
    async def listen(self, subject: str, kind: type[M]) -> AsyncGenerator[AsyncIterator[M]]:
        subscription = await self.client.subscribe(subject)
        yield messages(subscription, kind)

    async def answers(self) -> None:
        if not self.client.is_connected:  # nats-py's flush would return at once
            raise UpstreamUnavailable("NATS is not connected.")
        try:
            await self.client.flush(timeout=1)
        except (nats.errors.Error, TimeoutError, OSError) as error:
            raise UpstreamUnavailable("NATS does not answer.") from error


async def messages(subscription: Subscription, kind: type[M]) -> AsyncIterator[M]:
    async for message in subscription.messages:
        yield decode(kind, message.data)


@asynccontextmanager
async def nats_bus(url: str) -> AsyncGenerator[NatsBus]:
    async def ignore(_error: Exception) -> None:
        await asyncio.sleep(0)

    bus = NatsBus()
    await bus.client.connect(url, reconnected_cb=bus.regained, error_cb=ignore, max_reconnect_attempts=-1)
    bus.client.options["reconnect_time_wait"] = 0.05
    bus.connections = 1
    try:
        yield bus
    finally:
        await bus.client.close()
