"""What others tell of ended sessions and banned users, none of it missed: a stream keeps it for who was not there."""

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import suppress

import structlog
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, StreamConfig, StreamInfo

from common.adapters.nats_bus import Bus
from common.adapters.nats_jetstream import stream_info
from common.adapters.nats_pulling import Handed, Pull, ensure_consumer
from common.core import subjects
from common.core.errors import NotFound, ServiceError
from common.core.messages import InvalidMessage, decode
from common.core.notices import KINDS, Batch, Told

logger = structlog.get_logger(__name__)

KEPT_SECONDS = 14 * 24 * 3600
"""No access token that is in use lives longer."""
KEPT_BYTES = 64 * 1024 * 1024
BATCH = 500
WAIT_SECONDS = 30.0
IDLE_SECONDS = 60.0
PAUSE_SECONDS = 0.5

STREAM = StreamConfig(
    name=subjects.NOTICES_STREAM,
    subjects=list(KINDS),
    max_age=KEPT_SECONDS,
    max_bytes=KEPT_BYTES,
    max_msg_size=64 * 1024,
)


class NoticeStream:
    """Of a service that listens under a name. Who is its keeper brings the stream to its terms, where they changed;
    others make it if it is not there, and need no right to more."""

    def __init__(self, bus: Bus, reader: str, *, is_keeper: bool = False) -> None:
        self._bus = bus
        self._reader = reader
        self._is_keeper = is_keeper
        self._next = 1

    async def batches(self) -> AsyncGenerator[Batch]:
        """For ever, from the oldest that is kept; what was handed over before a loss of the connection is not again."""
        while True:
            await self._bus.ready()
            try:
                async for batch in self._read():
                    yield batch
            except ServiceError as error:
                logger.warning("notices are not heard", error=str(error))
            await asyncio.sleep(PAUSE_SECONDS)

    async def _read(self) -> AsyncGenerator[Batch]:
        if (await self._there()).state.last_seq < self._next - 1:  # made anew meanwhile
            self._next = 1
        name = f"{self._reader}-{secrets.token_hex(8)}"
        waiting = await ensure_consumer(self._bus.link, subjects.NOTICES_STREAM, name, self._consumer(name))
        async with Pull(self._bus.link, subjects.NOTICES_STREAM, name).opened() as pull:
            if not waiting:
                yield Batch((), is_latest=True)
            while True:
                handed = await pull.fetch(BATCH, WAIT_SECONDS)
                told = [one for one in map(read, handed) if one]
                if handed:
                    self._next = handed[-1].delivered.stream_sequence + 1
                yield Batch(tuple(told), is_latest=not handed or handed[-1].delivered.pending == 0)

    async def _there(self) -> StreamInfo:
        if not self._is_keeper:
            with suppress(NotFound):
                return await stream_info(self._bus.link, subjects.NOTICES_STREAM)
        return await self._bus.ensure_stream(STREAM)

    def _consumer(self, name: str) -> ConsumerConfig:
        return ConsumerConfig(
            name=name,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=self._next,
            ack_policy=AckPolicy.NONE,
            inactive_threshold=IDLE_SECONDS,
            mem_storage=True,
            num_replicas=1,
        )


def read(handed: Handed) -> Told | None:
    """None for what cannot be read: it is logged and left out."""
    kind = KINDS.get(handed.arrived.subject)
    if kind is None:
        return None
    try:
        return Told(decode(kind, handed.arrived.payload), said_at(handed.arrived.reply))
    except InvalidMessage as error:
        logger.warning("notice left out", subject=handed.arrived.subject, error=str(error))
        return None


def said_at(reply: str) -> float:
    """When the stream took it, in Unix seconds: ADR-15, in the form with a domain or without."""
    parts = reply.split(".")
    nanoseconds = parts[9] if len(parts) > 9 else parts[7] if len(parts) > 7 else ""
    return int(nanoseconds) / 1e9 if nanoseconds.isdigit() else 0.0
