"""Notices between the gateway's own processes, carried by the Valkey that keeps the sessions.

A session cannot be ended in the store without this channel being told in the same step, and a process that cannot
hear the channel cannot reach the store either.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, cast

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from common.core.messages import InvalidMessage, decode, encode
from common.core.notices import KINDS, Notice, subject_of
from gateway.adapters.valkey_sessions import answering
from gateway.core.sessions.notices import Hearer
from gateway.sessions.hear_revocations import BEAT_SECONDS, STALE_SECONDS

logger = structlog.get_logger(__name__)

RETRY_SECONDS = 0.1


class ValkeyRevocations:
    """Valkey answers a PING on the listening connection behind everything that it published before."""

    def __init__(self, client: Redis, *, prefix: str = "gateway", clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._kinds = {f"{prefix}:{subject}": kind for subject, kind in KINDS.items()}
        self._prefix = prefix
        self._clock = clock
        self.heard_until = 0.0

    async def publish(self, notice: Notice) -> None:
        async with answering():
            await self._client.publish(f"{self._prefix}:{subject_of(notice)}", encode(notice))

    async def listen(self, *hearers: Hearer) -> None:
        is_told = False
        while True:
            try:
                await self._listen_once(hearers)
            except Exception as error:  # noqa: BLE001 - whatever the reason, the next try may succeed
                if self.heard_until or not is_told:
                    logger.warning("endings of sessions are not heard of", error=f"{type(error).__name__}: {error}")
                is_told = True
            finally:
                self.heard_until = 0.0
            await asyncio.sleep(RETRY_SECONDS)

    async def _listen_once(self, hearers: tuple[Hearer, ...]) -> None:
        async with self._client.pubsub() as subscription:
            await subscription.subscribe(*self._kinds)
            connection = cast(Any, subscription.connection)
            connection.retry = Retry(NoBackoff(), 0)  # a connection made anew behind our back would hide what it missed
            while True:
                await self._beat(subscription, hearers)

    async def _beat(self, subscription: PubSub, hearers: tuple[Hearer, ...]) -> None:
        """Raises TimeoutError unless Valkey answers in time."""
        sent_at = self._clock()
        await subscription.ping()
        ends_at = sent_at + STALE_SECONDS
        while (left_seconds := ends_at - self._clock()) > 0:
            message = cast(dict[str, Any] | None, await subscription.get_message(timeout=left_seconds))
            match message:
                case {"type": "pong"}:
                    self._answered(sent_at, hearers)
                    ends_at = sent_at + BEAT_SECONDS
                case {"type": "message", "channel": bytes() as channel, "data": bytes() as data}:
                    self._hand_on(channel.decode(), data, hearers)
                case _:
                    pass
        if self.heard_until < sent_at + STALE_SECONDS:
            raise TimeoutError("Valkey is silent.")

    def _answered(self, sent_at: float, hearers: tuple[Hearer, ...]) -> None:
        if not self.heard_until:
            logger.info("endings of sessions are heard of")
            for hearer in hearers:
                hearer.missed()
        self.heard_until = sent_at + STALE_SECONDS

    def _hand_on(self, channel: str, data: bytes, hearers: tuple[Hearer, ...]) -> None:
        try:
            notice = decode(self._kinds[channel], data)
        except InvalidMessage as error:
            logger.error("a notice cannot be read", channel=channel, error=str(error))
            for hearer in hearers:
                hearer.missed()
            return
        for hearer in hearers:
            hearer.heard(notice)
