"""Bans and pardons as all services hear of them."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from common.adapters.nats_bus import Bus
from common.adapters.nats_listening import Gap, Listening
from common.core import subjects
from common.core.errors import ServiceError, UpstreamUnavailable
from common.core.notices import UserBanned, UserPardoned, subject_of

TELL_SECONDS = 2.0


class NatsBans:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def tell(self, notice: UserBanned | UserPardoned) -> None:
        """Returns once the stream has it that keeps it for who is away. Raises UpstreamUnavailable."""
        try:
            await self._bus.publish_durable(
                subject_of(notice), notice, stream=subjects.NOTICES_STREAM, deadline_seconds=TELL_SECONDS
            )
        except UpstreamUnavailable:
            raise
        except ServiceError as error:
            raise UpstreamUnavailable(f"The notice was not taken: {error}") from error

    @asynccontextmanager
    async def heard(self) -> AsyncGenerator[AsyncIterator[UserBanned | None]]:
        async with self._bus.listening(subjects.USER_BANNED, UserBanned) as listening:
            yield bans(listening)


async def bans(listening: Listening[UserBanned]) -> AsyncIterator[UserBanned | None]:
    async for received in listening:
        yield None if isinstance(received, Gap) else received.message
