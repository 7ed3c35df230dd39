"""`python -m bench.gateway.lagging serve`, or `bare PORT`: the gateway or the bare application, in one process that
tells at `/lag` how late its event loop was since it was last asked."""

import asyncio
import statistics
import sys
import time

import uvicorn
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from common.serving import logs
from common.serving.server import serve as run_server
from common.serving.settings import load
from gateway.app import create_app
from gateway.settings import Settings

TIMER_SECONDS = 0.002


class Watched:
    """An application whose loop is watched from its start to its end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._late_ms: list[float] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            async with asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(self._watch())
                await self._app(scope, receive, send)
                watching.cancel()
        elif scope.get("path") == "/lag":
            await JSONResponse(self._told())(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _watch(self) -> None:
        while True:
            due = time.perf_counter() + TIMER_SECONDS
            await asyncio.sleep(TIMER_SECONDS)
            self._late_ms.append((time.perf_counter() - due) * 1000)

    def _told(self) -> dict[str, float]:
        late, self._late_ms = self._late_ms, []
        if len(late) < 2:
            return {}
        hundredths = statistics.quantiles(late, n=100)
        return {"p50": hundredths[49], "p99": hundredths[98]}


def main(what: str, port: str = "") -> None:
    if what == "bare":
        from bench.gateway.bare_app import app  # reads ANSWER

        uvicorn.run(Watched(app), port=int(port), access_log=False, server_header=False, log_level="error")
        return
    settings = load(Settings)
    logs.configure("gateway", level=settings.log_level)
    gateway = create_app(settings)
    run_server(Watched(gateway), host=settings.host, port=settings.port, before_drain=gateway.close)


if __name__ == "__main__":
    main(*sys.argv[1:])
