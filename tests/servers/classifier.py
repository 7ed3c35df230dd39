"""A classifier on a port of its own that answers whatever a test wants."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class ClassifierServer:
    """Scores a text by its worst word, from `words`. `answer` takes the place of that."""

    url: str = ""
    words: dict[str, float] = field(default_factory=dict[str, float])
    answer: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    released: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    authorizations: list[str | None] = field(default_factory=list[str | None])
    under_way: int = 0
    most_under_way: int = 0

    async def handle(self, request: web.Request) -> web.Response:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            body = await request.json()
            self.asked.append(body)
            self.authorizations.append(request.headers.get("Authorization"))
            await self.released.wait()
            return web.Response(body=self._answered(body), status=self.status, headers=self.headers)
        finally:
            self.under_way -= 1

    def _answered(self, body: dict[str, Any]) -> bytes:
        if isinstance(self.answer, bytes):
            return self.answer
        text = str(next(iter(body.values())))
        score = max([0.0, *(score for word, score in self.words.items() if word in text)])
        return json.dumps({"score": score} if self.answer is None else self.answer).encode()


@asynccontextmanager
async def classifier_server() -> AsyncGenerator[ClassifierServer]:
    running = ClassifierServer()
    running.released.set()
    app = web.Application()
    app.router.add_post("/classify", running.handle)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    [address] = runner.addresses
    running.url = f"http://127.0.0.1:{address[1]}/classify"
    try:
        yield running
    finally:
        await runner.cleanup()
