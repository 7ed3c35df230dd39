"""Takes messages from a JetStream consumer, as many as there are, without waiting for more than the first.

Source: docs.nats.io/reference/reference-protocols/nats_api_reference, ADR-37 (pull consumers).
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any, NamedTuple

import msgspec
from nats.js.api import ConsumerConfig

from common.adapters.nats_jetstream import ask
from common.adapters.nats_link import Link, deadline_in
from common.adapters.nats_subscriptions import Arrived, Change
from common.core import subjects
from common.core.errors import NoResponders, NotFound, ServiceError, UpstreamUnavailable
from common.core.nats_protocol import Delivered, read_delivered

SEND_SECONDS = 5.0
REST_SECONDS = 1.0
"""For what comes with the first message. A consumer is silent where too much of it is not acknowledged yet."""
GRACE_SECONDS = 2.0
"""By how much the server may be late with its word that nothing came."""
NOTHING_THERE = frozenset({"404", "408"})
HEARTBEAT = "100"


class Handed(NamedTuple):
    """A message and what its consumer says of it; to be acknowledged on `arrived.reply`."""

    arrived: Arrived
    delivered: Delivered


async def ensure_consumer(link: Link, stream: str, name: str, config: ConsumerConfig) -> int:
    """Make the consumer or bring it to that configuration; how many messages wait for it. Raises NotFound."""
    body = {"stream_name": stream, "config": config.as_dict()}
    told = await ask(link, subjects.consumer_request("CREATE", stream, name), body)
    return int(told.get("num_pending", 0))


class Pull:
    def __init__(self, link: Link, stream: str, consumer: str) -> None:
        self._link = link
        self._next = subjects.consumer_next(stream, consumer)
        self._inbox = link.new_inbox()
        self._requests = count(1)
        self._asked = ""
        self._came: asyncio.Queue[Arrived | ServiceError] = asyncio.Queue()
        self._failed: ServiceError | None = None

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator["Pull"]:
        async with self._link.subscribed(f"{self._inbox}.*", self._came.put_nowait, changed=self._changed):
            yield self

    async def fetch(self, limit: int, wait_seconds: float) -> list[Handed]:
        """What there is, up to `limit`; if nothing, the first that comes and what has come with it; perhaps none.

        Raises NotFound when the consumer is gone, UpstreamUnavailable after any loss, Forbidden.
        """
        if failed := self._failed:
            self._failed = None
            raise failed
        handed: list[Handed] = []
        try:
            await self._fetch(handed, limit, wait_seconds)
        except ServiceError as error:
            if not handed:
                raise
            self._failed = error  # told the next time, for what came before it is here
        return handed

    async def _fetch(self, handed: list[Handed], limit: int, wait_seconds: float) -> None:
        while len(handed) < limit and not self._came.empty():  # what was published while the last answer was read
            self._take(self._came.get_nowait(), handed)
        await self._pull({"no_wait": True}, handed, limit, SEND_SECONDS)
        if handed:
            return
        await self._pull({"expires": int(wait_seconds * 1e9)}, handed, 1, wait_seconds + GRACE_SECONDS)
        if handed and handed[0].delivered.pending:
            await self._pull({"no_wait": True}, handed, limit, REST_SECONDS)

    async def _pull(self, terms: Mapping[str, Any], handed: list[Handed], limit: int, seconds: float) -> None:
        """Ask, and add what comes to `handed` until it has `limit`."""
        if len(handed) >= limit:
            return
        body = msgspec.json.encode({"batch": limit - len(handed), **terms})
        self._asked = f"{self._inbox}.{next(self._requests):x}"
        await self._link.publish(self._next, body, {}, deadline=deadline_in(SEND_SECONDS), reply=self._asked)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds) as patience:
                while len(handed) < limit and not self._take(await self._came.get(), handed):
                    if len(handed) == 1:
                        patience.reschedule(deadline_in(REST_SECONDS))

    def _take(self, came: Arrived | ServiceError, handed: list[Handed]) -> bool:
        """Whether nothing more is to be expected of what was asked for last. What is handed out again does not say how
        much of it is still to come; after that the server says that there is no more."""
        if isinstance(came, ServiceError):
            raise came
        delivered = read_delivered(came.reply)
        if delivered is None:
            return self._ends(came)
        handed.append(Handed(came, delivered))
        return not delivered.pending and delivered.deliveries == 1

    def _ends(self, came: Arrived) -> bool:
        """Whether that is the end of what was asked for last; the ends of earlier ones come late."""
        status, values = came.headers
        if came.subject != self._asked or status == HEARTBEAT:
            return False
        if status in NOTHING_THERE:
            return True
        description = values.get("description", "")
        if status == "503":
            raise NoResponders(f"No consumer answers on {self._next}.")
        if "deleted" in description.lower():
            raise NotFound(f"The consumer behind {self._next} is gone.")
        raise UpstreamUnavailable(f"The consumer behind {self._next} does not deliver: {status} {description[:200]}.")

    def _changed(self, change: Change) -> None:
        if change == "lost":
            self._came.put_nowait(UpstreamUnavailable("NATS was lost while messages were awaited."))
        elif isinstance(change, ServiceError):
            self._came.put_nowait(change)
