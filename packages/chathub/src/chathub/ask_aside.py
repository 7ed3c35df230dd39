"""Asks something that may take long to answer, and long to be cancelled, so that nobody has to wait for that.

It asks in a loop of its own, one question at a time; who wants an answer waits for no longer than it wants to.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from common.core.errors import UpstreamUnavailable


class AskingAside:
    def __init__(self, ask: Callable[[], Awaitable[None]], *, every_seconds: float | None = None) -> None:
        """`ask` keeps the answer itself, and raises UpstreamUnavailable. Without `every_seconds` it is asked on demand
        alone."""
        self._ask = ask
        self._every_seconds = every_seconds
        self._wanted = asyncio.Event()
        self._waiting: list[asyncio.Future[UpstreamUnavailable | None]] = []

    async def run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every_seconds):
                    await self._wanted.wait()
            self._wanted.clear()
            waiting, self._waiting = self._waiting, []
            failure = await self._failure()
            for one in waiting:
                if not one.done():
                    one.set_result(failure)

    async def anew(self, seconds: float) -> None:
        """Return once a question that was asked from now on is answered. Raises UpstreamUnavailable."""
        answer: asyncio.Future[UpstreamUnavailable | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        self._wanted.set()
        try:
            async with asyncio.timeout(seconds):
                failure = await answer
        except TimeoutError:
            raise UpstreamUnavailable("There was no answer in time.") from None
        if failure:
            raise UpstreamUnavailable(str(failure)) from failure

    async def _failure(self) -> UpstreamUnavailable | None:
        try:
            await self._ask()
        except UpstreamUnavailable as error:
            return error
        return None
