"""A PocketBase that answers as it is told to, and keeps what it was asked."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from common.core.errors import UpstreamUnavailable
from gateway.core.front_door.exchange import UpstreamRequest


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Sequence[tuple[bytes, bytes]] = ()

    async def chunks(self) -> AsyncIterator[bytes]:
        yield b"{}"


class MemoryUpstream:
    """`status` decides by the Authorization header; 0 is a PocketBase that is away."""

    def __init__(self, status: Callable[[str], int]) -> None:
        self.asked: list[UpstreamRequest] = []
        self._status = status

    @asynccontextmanager
    async def exchange(self, request: UpstreamRequest) -> AsyncGenerator[Answer]:
        self.asked.append(request)
        status = self._status(dict(request.headers)["Authorization"])
        if not status:
            raise UpstreamUnavailable("PocketBase is away.")
        yield Answer(status)
