"""The cache's broadcast over a real nats-server."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from uuid import uuid4

import pytest

from common.adapters.nats_bus import open_bus
from common.adapters.nats_invalidations import NatsInvalidations
from common.core.errors import UpstreamUnavailable
from tests.contracts.invalidations import Bench, InvalidationsContract, listening
from tests.eventually import eventually
from tests.servers.nats import nats_server
from tests.servers.process import free_port


class TestInvalidationsOverNats(InvalidationsContract):
    @pytest.fixture
    async def bench(self, nats_url: str) -> AsyncGenerator[Bench]:
        subject = uuid4().hex
        async with (
            open_bus(nats_url, name="one") as one,
            open_bus(nats_url, name="two") as two,
        ):
            yield Bench(NatsInvalidations(one, subject), NatsInvalidations(two, subject))


async def test_a_server_that_is_away_is_told_to_the_sender_and_waited_for_by_the_listener() -> None:
    port = free_port()
    async with open_bus(f"nats://127.0.0.1:{port}", name="one") as opened:
        bus = NatsInvalidations(opened)
        heard: list[bytes] = []
        task = asyncio.create_task(bus.listen(heard.append))
        with pytest.raises(UpstreamUnavailable, match="not connected"):
            await bus.publish(b"nobody")

        async def hears_itself() -> bool:
            with suppress(UpstreamUnavailable):
                await bus.publish(b"probe")
            return b"probe" in heard

        for _ in range(2):
            with nats_server(port=port):
                await eventually(hears_itself)
                heard.clear()
        assert not task.done()
        task.cancel()
        await asyncio.wait([task])


async def test_a_bus_that_was_closed_is_told_to_the_sender(nats_url: str) -> None:
    async with open_bus(nats_url, name="one") as opened:
        bus = NatsInvalidations(opened, uuid4().hex)
        async with listening(bus):
            pass
    with pytest.raises(UpstreamUnavailable, match="not connected"):
        await bus.publish(b"late")
