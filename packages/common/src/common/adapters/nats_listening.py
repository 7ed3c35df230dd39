"""Messages as they are published, with word of every gap: core NATS delivers what a listener is there for, once."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Generic, Literal

import structlog

from common import correlation
from common.adapters.bus_metrics import GAPS, REFUSED
from common.adapters.nats_link import Link
from common.adapters.nats_subscriptions import Arrived, Change
from common.core.errors import ServiceError
from common.core.messages import InvalidMessage, M, MessageTooLarge, UnknownVersion, decode

logger = structlog.get_logger(__name__)

BACKLOG_MESSAGES = 1024
BACKLOG_BYTES = 16 * 1024 * 1024
COMPLAINT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Received(Generic[M]):
    """A message and where it was published; the names of headers are in lower case."""

    subject: str
    message: M
    headers: Mapping[str, str]

    def correlated(self) -> AbstractContextManager[str]:
        """Work on behalf of the request that the sender was working for."""
        return correlation.incoming(self.headers)


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages may have been missed before this point.

    `lost`: the connection is gone, and nothing arrives until further notice. `restored`: what is published from now
    on arrives again, so that what was missed can be read elsewhere. `overflow`: this listener was too slow, and
    `missed` messages were dropped. Gaps that follow each other are told as one, the latest.
    """

    reason: Literal["lost", "restored", "overflow"]
    missed: int = 0


class Refusals:
    """Counts every message that cannot be read and logs one in a while, so that no sender fills the log."""

    def __init__(self) -> None:
        self._silent_until = 0.0
        self._silent = 0

    def tell(self, subject: str, error: InvalidMessage) -> None:
        REFUSED.labels(reason_of(error)).inc()
        now = asyncio.get_running_loop().time()
        if now < self._silent_until:
            self._silent += 1
            return
        logger.warning("message left out", subject=subject, error=str(error), left_out_since=self._silent)
        self._silent_until, self._silent = now + COMPLAINT_SECONDS, 0


def reason_of(error: InvalidMessage) -> str:
    match error:
        case UnknownVersion():
            return "unknown_version"
        case MessageTooLarge():
            return "too_large"
        case _:
            return "malformed"


class Backlog:
    """What has arrived and was not taken yet, bounded; what does not fit is dropped and told as a gap."""

    def __init__(self, *, messages: int, size_bytes: int) -> None:
        self._items: deque[Arrived | Gap] = deque()
        self._messages = messages
        self._size_bytes = size_bytes
        self._error: ServiceError | None = None
        self._filled = asyncio.Event()

    def put(self, arrived: Arrived) -> None:
        if self._messages <= 0 or self._size_bytes <= 0:
            self.put_gap(Gap("overflow", 1))
            return
        self._messages -= 1
        self._size_bytes -= len(arrived.payload)
        self._items.append(arrived)
        self._filled.set()

    def put_gap(self, gap: Gap) -> None:
        last = self._items[-1] if self._items else None
        if isinstance(last, Gap):
            self._items[-1] = replace(gap, missed=last.missed + gap.missed)
        else:
            GAPS.labels(gap.reason).inc()
            self._items.append(gap)
        self._filled.set()

    def changed(self, change: Change) -> None:
        if isinstance(change, ServiceError):
            self._error = change
            self._filled.set()
        else:
            self.put_gap(Gap("restored" if change == "in_place" else "lost"))

    async def take(self) -> Arrived | Gap:
        """The next in order; at the end the error, if the subscription was taken away."""
        while not self._items:
            if self._error:
                raise self._error
            self._filled.clear()
            await self._filled.wait()
        return self._taken()

    def here(self) -> Arrived | Gap | None:
        """The same, if it does not have to be waited for."""
        return self._taken() if self._items else None

    def _taken(self) -> Arrived | Gap:
        item = self._items.popleft()
        if isinstance(item, Arrived):
            self._messages += 1
            self._size_bytes += len(item.payload)
        return item


class Listening(Generic[M]):
    """Iterates for ever. Raises Forbidden when the right to listen is taken away."""

    def __init__(self, kind: type[M], backlog: Backlog) -> None:
        self._kind = kind
        self._backlog = backlog
        self._refusals = Refusals()

    def __aiter__(self) -> "Listening[M]":
        return self

    async def __anext__(self) -> Received[M] | Gap:
        while True:
            if read := self._read(await self._backlog.take()):
                return read

    def here(self) -> Received[M] | Gap | None:
        """The next, if it does not have to be waited for: waiting with a deadline costs more than many messages do."""
        while item := self._backlog.here():
            if read := self._read(item):
                return read
        return None

    def _read(self, item: Arrived | Gap) -> Received[M] | Gap | None:
        """None for what cannot be read."""
        if isinstance(item, Gap):
            return item
        try:
            return Received(item.subject, decode(self._kind, item.payload), item.headers.values)
        except InvalidMessage as error:
            self._refusals.tell(item.subject, error)
            return None


@asynccontextmanager
async def listening(
    link: Link, subject: str, kind: type[M], *, queue: str, messages: int, size_bytes: int
) -> AsyncGenerator[Listening[M]]:
    backlog = Backlog(messages=messages, size_bytes=size_bytes)
    async with link.subscribed(subject, backlog.put, queue=queue, changed=backlog.changed):
        yield Listening(kind, backlog)
