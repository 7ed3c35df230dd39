"""Spans to an OTLP collector over HTTP, when there is one to send them to; nothing, for nothing, otherwise.

Whatever the collector does, the service goes on: spans wait in a bounded queue of a thread of their own, and the
oldest are dropped when it is full. Batches, queue, sampling and headers are set by OpenTelemetry's own variables
(`OTEL_BSP_*`, `OTEL_TRACES_SAMPLER`, `OTEL_EXPORTER_OTLP_HEADERS`).
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import structlog

from common.correlation import trace_with
from common.serving.settings import SettingsError

logger = structlog.get_logger(__name__)

FAREWELL_SECONDS = 3.0


@asynccontextmanager
async def tracing(service: str, endpoint: str | None) -> AsyncGenerator[None]:
    """Send this process's spans to the collector at `endpoint` for as long as the block runs; without one, do nothing.

    On leaving, what still waits is sent, within FAREWELL_SECONDS. Raises SettingsError when OpenTelemetry is not
    installed.
    """
    if not endpoint:
        yield
        return
    try:
        from common.serving.open_telemetry import OpenTelemetryTracing
    except ImportError as error:
        raise SettingsError(
            "OTEL_EXPORTER_OTLP_ENDPOINT: is set, but OpenTelemetry is not installed; "
            "install pocketwire-common[tracing], or unset it"
        ) from error
    traced = OpenTelemetryTracing(service, endpoint)
    trace_with(traced)
    try:
        yield
    finally:
        trace_with(None)
        if not await is_done_within(FAREWELL_SECONDS, traced.finish):
            traced.abandon()
            logger.warning("not all spans were sent", seconds=FAREWELL_SECONDS)


async def is_done_within(seconds: float, work: Callable[[], None]) -> bool:
    """Whether blocking work was done in time. If not, its thread is left behind, and holds up nobody."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def run() -> None:
        work()
        if not loop.is_closed():
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=run, daemon=True).start()
    try:
        async with asyncio.timeout(seconds):
            await done.wait()
    except TimeoutError:
        return False
    return True
