"""The smallest service, as a process of its own, with the ways to end that tests ask for.

`python -m tests.servers.sample PORT OPERATIONS_PORT [drain=SECONDS] [stop=SECONDS] [stuck]`
"""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import structlog
from fastapi import FastAPI

from common.serving import logs, server
from common.serving.background import running
from common.serving.health import operations_app
from common.serving.server import operations, serve

logger = structlog.get_logger(__name__)


def create_app(operations_port: int, *, is_stuck: bool) -> FastAPI:
    dying = asyncio.Event()

    cancelling = asyncio.Event()

    async def loop() -> None:
        await dying.wait()
        raise RuntimeError("the loop has had enough")

    async def cancelled() -> None:
        await cancelling.wait()
        raise asyncio.CancelledError

    async def fine() -> None:
        return None

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[None]:
        async with operations(operations_app({"itself": fine}), operations_port), running(loop, cancelled):
            yield
        if is_stuck:
            await asyncio.Event().wait()

    app = FastAPI(lifespan=lifespan)

    @app.get("/")
    async def hello() -> dict[str, str]:
        logger.info("asked")
        return {"hello": "world"}

    @app.get("/slow")
    async def slow(seconds: float) -> dict[str, float]:
        logger.info("slow")
        await asyncio.sleep(seconds)
        return {"slept": seconds}

    @app.post("/die")
    async def die() -> None:
        dying.set()

    @app.post("/cancel")
    async def cancel() -> None:
        cancelling.set()

    return app


def main(port: str, operations_port: str, *options: str) -> None:
    chosen = dict(option.split("=") for option in options if "=" in option)
    server.DRAIN_SECONDS = int(chosen.get("drain", server.DRAIN_SECONDS))
    server.STOP_SECONDS = int(chosen.get("stop", server.STOP_SECONDS))
    logs.configure("sample")
    serve(create_app(int(operations_port), is_stuck="stuck" in options), host="127.0.0.1", port=int(port))


if __name__ == "__main__":
    main(*sys.argv[1:])
