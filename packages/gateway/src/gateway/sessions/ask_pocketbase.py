"""Asks PocketBase whether it still takes a session's token; so many at once and no more."""

import asyncio
from typing import Protocol
from urllib.parse import quote

from common.core.errors import UpstreamUnavailable
from gateway.core.front_door.exchange import Upstream, UpstreamRequest
from gateway.core.sessions.session import Held
from gateway.core.sessions.token_word import Word, word_of

MOST_AT_ONCE = 32
ANSWER_SECONDS = 2.0


class Asking(Protocol):
    async def ask(self, held: Held) -> Word: ...


class TokenQuestions:
    """PocketBase limits sign-ins by address, and a refresh is one: it is told the session's own."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._turns = asyncio.Semaphore(MOST_AT_ONCE)

    async def ask(self, held: Held) -> Word:
        if not held.pocketbase_token:
            return "refused"
        try:
            async with asyncio.timeout(ANSWER_SECONDS), self._turns:
                return await self._asked(held)
        except (UpstreamUnavailable, TimeoutError):
            return "away"

    async def _asked(self, held: Held) -> Word:
        target = f"/api/collections/{quote(held.owner.collection_id, safe='')}/auth-refresh?fields=record.id"
        headers = [("Authorization", held.pocketbase_token), ("Accept-Encoding", "identity")]
        if held.address:
            headers.append(("X-Forwarded-For", held.address))
        async with self._upstream.exchange(UpstreamRequest("POST", target, headers, None)) as answer:
            async for _ in answer.chunks():  # so that the connection can be used again
                pass
            return word_of(answer.status)
