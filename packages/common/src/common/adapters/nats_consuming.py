"""Works off a stream with a durable consumer that all processes of a service share: at least once, nothing skipped.

A message is acknowledged after its handler has returned. One that fails is handed out again, alone, so that it holds
up no other; one that cannot be read, or fails too often, goes to `poison`, and is done with when that has returned.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Generic, TypeAlias

import structlog
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from common import correlation
from common.adapters.bus_metrics import Tally
from common.adapters.companion import cancelled_from_outside_only
from common.adapters.nats_link import Link, deadline_in
from common.adapters.nats_listening import Refusals
from common.adapters.nats_pulling import Handed, Pull, ensure_consumer
from common.core.errors import NotFound, ServiceError, UpstreamUnavailable
from common.core.messages import InvalidMessage, M, decode

logger = structlog.get_logger(__name__)

WAIT_SECONDS = 30.0
ACK_DEADLINE_SECONDS = 5.0
SHARE_OF_ACK_SECONDS = 0.8
"""A handler that takes longer than this share is stopped, before the message is handed to another process."""
LONGEST_PAUSE_SECONDS = 30.0
ACK = b"+ACK"
TERM = b"+TERM"


@dataclass(frozen=True, slots=True)
class Taken(Generic[M]):
    """A message of a stream. `sequence` is its place there; `deliveries` counts from 1."""

    subject: str
    message: M
    headers: Mapping[str, str]
    sequence: int
    deliveries: int

    def correlated(self) -> AbstractContextManager[str]:
        """Work on behalf of the request that the sender was working for."""
        return correlation.incoming(self.headers)


@dataclass(frozen=True, slots=True)
class Poison:
    """A message that is given up on, as it came, and why."""

    subject: str
    payload: bytes
    headers: Mapping[str, str]
    sequence: int
    reason: str


Work: TypeAlias = Callable[[Sequence[Taken[M]]], Awaitable[None]]
"""Handles a batch as a whole; may see a message again, so it has to tell by key or sequence."""
PoisonTaker: TypeAlias = Callable[[Poison], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class ConsumerTerms:
    """`ack_seconds`: how long one batch may take. `max_deliveries`: after so many failures a message is poison."""

    batch: int = 100
    ack_seconds: float = 30.0
    max_deliveries: int = 5
    deliver: DeliverPolicy = DeliverPolicy.ALL
    filter_subject: str | None = None

    def config(self, durable: str) -> ConsumerConfig:
        return ConsumerConfig(
            durable_name=durable,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self.ack_seconds,
            max_ack_pending=max(1000, self.batch * 10),
            max_deliver=-1,
            deliver_policy=self.deliver,
            filter_subject=self.filter_subject,
        )


class Consuming(Generic[M]):
    def __init__(
        self, link: Link, kind: type[M], work: Work[M], poison: PoisonTaker, *, stream: str, terms: ConsumerTerms
    ) -> None:
        self._link = link
        self._kind = kind
        self._work = work
        self._poison = poison
        self._stream = stream
        self._terms = terms
        self._refusals = Refusals()
        self._tally = Tally("consume")
        self._unsettled: set[str] = set()

    async def run(self, durable: str) -> None:
        """For ever. Raises Forbidden, InvalidRequest and StreamRefused: what time does not mend."""
        failures = 0
        while True:
            try:
                await ensure_consumer(self._link, self._stream, durable, self._terms.config(durable))
                async with Pull(self._link, self._stream, durable).opened() as pull:
                    while True:
                        await self._take(await pull.fetch(self._terms.batch, WAIT_SECONDS))
                        failures = 0
            except (UpstreamUnavailable, NotFound) as error:
                logger.warning("stream not read", stream=self._stream, consumer=durable, error=str(error))
                failures += 1
            await asyncio.sleep(min(0.1 * 2 ** min(failures, 10), 5.0))
            await self._link.until_connected()

    async def _take(self, handed: Sequence[Handed]) -> None:
        self._unsettled = {one.arrived.reply for one in handed}
        try:
            await self._sort(handed)
        except asyncio.CancelledError:  # we are leaving: another process may have them at once
            with suppress(ServiceError):
                for reply in self._unsettled:
                    self._link.send(reply, later(0), {})
            raise

    async def _sort(self, handed: Sequence[Handed]) -> None:
        fresh: list[tuple[Handed, Taken[M]]] = []
        for one in handed:
            taken = await self._read(one)
            if taken is None:
                continue
            if taken.deliveries > 1:
                await self._work_off([(one, taken)])
            else:
                fresh.append((one, taken))
        if fresh:
            await self._work_off(fresh)

    async def _read(self, one: Handed) -> Taken[M] | None:
        arrived, delivered = one
        try:
            message = decode(self._kind, arrived.payload)
        except InvalidMessage as error:
            self._refusals.tell(arrived.subject, error)
            await self._give_up(one, str(error))
            return None
        headers = arrived.headers.values
        return Taken(arrived.subject, message, headers, delivered.stream_sequence, delivered.deliveries)

    async def _work_off(self, batch: Sequence[tuple[Handed, Taken[M]]]) -> None:
        try:
            async with asyncio.timeout(self._terms.ack_seconds * SHARE_OF_ACK_SECONDS):
                await cancelled_from_outside_only(self._work([taken for _, taken in batch]))
        except Exception as error:  # noqa: BLE001 - told below; whatever a handler raises, the message is kept
            self._tally.failed(error)
            await self._failed([one for one, _ in batch], error)
        else:
            self._tally.done()
            await self._settle([one for one, _ in batch], ACK)

    async def _failed(self, batch: Sequence[Handed], error: Exception) -> None:
        first = batch[0].delivered
        told = {"stream": self._stream, "sequence": first.stream_sequence, "messages": len(batch)}
        if isinstance(error, ServiceError):
            logger.warning("messages not handled", error=str(error), **told)
        else:
            logger.error("messages not handled", exc_info=error, **told)
        spent = len(batch) == 1 and first.deliveries >= self._terms.max_deliveries
        if spent and not isinstance(error, UpstreamUnavailable):  # which is no fault of the message
            await self._give_up(batch[0], f"{type(error).__name__} after {first.deliveries} deliveries")
        else:
            await self._settle(batch, later(first.deliveries if len(batch) == 1 else 0))

    async def _give_up(self, one: Handed, reason: str) -> None:
        arrived, delivered = one
        try:
            headers, sequence = arrived.headers.values, delivered.stream_sequence
            await cancelled_from_outside_only(
                self._poison(Poison(arrived.subject, arrived.payload, headers, sequence, reason))
            )
        except Exception:  # then it is tried again later
            logger.exception("poison not taken", stream=self._stream, sequence=delivered.stream_sequence)
            await self._settle([one], later(delivered.deliveries))
        else:
            await self._settle([one], TERM)

    async def _settle(self, batch: Sequence[Handed], word: bytes) -> None:
        """All in one write, confirmed by the last. Raises UpstreamUnavailable: then they are handed out again."""
        self._unsettled.difference_update(one.arrived.reply for one in batch)
        *others, last = batch
        for one in others:
            self._link.send(one.arrived.reply, word, {})
        await self._link.publish(last.arrived.reply, word, {}, deadline=deadline_in(ACK_DEADLINE_SECONDS))


def later(deliveries: int) -> bytes:
    """A refusal that asks for the message again after a pause, which doubles each time; at once after a batch."""
    if not deliveries:
        return b"-NAK"
    seconds = min(0.25 * 2 ** min(deliveries, 10), LONGEST_PAUSE_SECONDS)
    return b'-NAK {"delay": %d}' % int(seconds * 1e9)
