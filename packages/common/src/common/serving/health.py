"""/livez, /readyz and /metrics of one service, for its own listener on loopback."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from common.task_group import TaskGroup

Probe: TypeAlias = Callable[[], Awaitable[None]]
"""Returns when the dependency answers, raises when it does not."""

PROBE_SECONDS = 2.0


async def check(probes: Mapping[str, Probe]) -> dict[str, str]:
    """Ask every dependency at once: `ok`, or why not, by name."""
    results: dict[str, str] = {}

    async def ask(name: str, probe: Probe) -> None:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await probe()
            results[name] = "ok"
        except TimeoutError:
            results[name] = f"no answer within {PROBE_SECONDS:g} s"
        except Exception as error:  # noqa: BLE001 - whatever a probe raises is the answer
            results[name] = f"{type(error).__name__}: {error}"

    async with TaskGroup() as tasks:
        for name, probe in probes.items():
            tasks.create_task(ask(name, probe))
    return {name: results[name] for name in probes}


async def own_metrics() -> bytes:
    return generate_latest()


def operations_app(probes: Mapping[str, Probe], metrics_of: Callable[[], Awaitable[bytes]] = own_metrics) -> FastAPI:
    """What orchestrators and Prometheus ask; never reachable through the domain."""
    app = FastAPI(title="operations", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/livez")
    async def live() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz")
    async def ready() -> JSONResponse:
        results = await check(probes)
        healthy = all(result == "ok" for result in results.values())
        return JSONResponse({"status": "ok" if healthy else "waiting", "probes": results}, 200 if healthy else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(await metrics_of(), media_type=CONTENT_TYPE_LATEST)

    return app
