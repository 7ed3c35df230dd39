"""Traces as a real collector receives them, and a service that does not mind where the collector is."""

import json
import sys
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from types import ModuleType

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.types import ASGIApp

from common.adapters.nats_bus import Bus, open_bus
from common.core.errors import Forbidden
from common.core.messages import Message
from common.correlation import describe, is_tracing, outgoing, span
from common.serving import tracing as tracing_module
from common.serving.http_errors import install_error_handler
from common.serving.request_ids import RequestIds
from common.serving.settings import SettingsError
from common.serving.tracing import tracing
from tests.eventually import eventually
from tests.servers.collector import Collected, Collector, collector
from tests.servers.process import free_port

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def collecting() -> Generator[Collector]:
    with collector() as running:
        yield running


class Question(Message, frozen=True):
    text: str


async def answer(question: Question) -> Question:
    with span("look it up"):
        return Question(text=question.text + json.dumps(outgoing()))


def application(bus: Bus | None = None) -> ASGIApp:
    app = FastAPI()
    install_error_handler(app)

    @app.get("/ask/{what}")
    async def ask(what: str) -> dict[str, str]:
        assert bus is not None
        answered = await bus.request("test.traced", Question(text=what), Question)
        return {"text": answered.text}

    @app.get("/secret/{token}")
    async def secret(request: Request, token: str) -> None:
        describe({"authorization": token, "note": f"Bearer {token}", "rows": 3})
        raise Forbidden("No.")

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("password=hunter2")

    return RequestIds(app)


@asynccontextmanager
async def asking(app: ASGIApp) -> AsyncGenerator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        yield client


async def test_a_trace_goes_from_http_over_nats_and_back_as_one(collecting: Collector, nats_url: str) -> None:
    async with (
        tracing("sample", collecting.url),
        open_bus(nats_url, name="sample") as bus,
        bus.answering("test.traced", Question, answer),
        asking(application(bus)) as client,
    ):
        await bus.ready()
        reply = await client.get("/ask/why", headers={"traceparent": PARENT, "X-Request-Id": "r-1"})
    assert reply.headers["X-Request-Id"] == "r-1"
    assert '"X-Request-Id": "r-1"' in reply.json()["text"].replace("\\", "")
    served, looked_up = collecting.named("GET /ask/{what}"), collecting.named("look it up")
    (received,) = [found for found in collecting.spans if found.parent_id == served.span_id]
    assert {found.trace_id for found in collecting.spans} == {TRACE}
    assert (served.service, served.kind, served.parent_id) == ("sample", "server", "b7ad6b7169203331")
    assert looked_up.parent_id == received.span_id
    assert served.attributes["http.route"] == "/ask/{what}"
    assert served.attributes["http.response.status_code"] == 200


async def test_a_request_without_a_trace_begins_one(collecting: Collector) -> None:
    async with tracing("sample", collecting.url), asking(application()) as client:
        for _ in range(2):
            await client.get("/nowhere/at/all")
    assert [found.name for found in collecting.spans] == ["GET", "GET"]
    assert len({found.trace_id for found in collecting.spans}) == 2
    assert all(found.parent_id == "" for found in collecting.spans)


async def test_spans_bear_no_secrets(collecting: Collector) -> None:
    async with tracing("sample", collecting.url), asking(application()) as client:
        headers = {"Authorization": "Bearer hunter2", "Cookie": "hunter2"}
        await client.get("/secret/hunter2?token=hunter2", headers=headers)
        await client.get("/broken")
    assert "hunter2" not in repr(collecting.spans)
    assert collecting.named("GET /secret/{token}").attributes["rows"] == 3
    broken = collecting.named("GET /broken")
    assert (broken.is_error, broken.attributes["error.type"]) == (True, "RuntimeError")


async def test_without_an_endpoint_nothing_is_traced_and_nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "common.serving.open_telemetry", None)
    async with tracing("sample", None), tracing("sample", ""):
        assert not is_tracing()


async def test_tracing_that_is_not_installed_is_a_setting_at_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("opentelemetry", "common.serving.open_telemetry"))]:
        monkeypatch.delitem(sys.modules, name)
    missing: ModuleType | None = None
    monkeypatch.setitem(sys.modules, "opentelemetry", missing)
    with pytest.raises(SettingsError, match=r"OTEL_EXPORTER_OTLP_ENDPOINT.*common\[tracing\]"):
        async with tracing("sample", "http://127.0.0.1:1"):
            pass


async def busy(url: str, requests: int = 300) -> tuple[float, float]:
    """Seconds for requests while tracing, and for leaving."""
    async with tracing("sample", url), asking(application()) as client:
        begun = time.monotonic()
        for _ in range(requests):
            await client.get("/nowhere")
        worked = time.monotonic() - begun
        left = time.monotonic()
    return worked, time.monotonic() - left


async def test_a_collector_that_is_away_or_hangs_holds_up_nobody(
    collecting: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing_module, "FAREWELL_SECONDS", 0.3)
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "100")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10")
    collecting.mode = "hanging"
    for url in (f"http://127.0.0.1:{free_port()}", collecting.url):
        worked, leaving = await busy(url)
        assert worked < 5
        assert leaving < 2


async def test_spans_are_sent_once_the_collector_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    port = free_port()
    async with tracing("sample", f"http://127.0.0.1:{port}"), asking(application()) as client:
        await client.get("/early")
        with collector(port) as arrived:

            async def again() -> list[Collected]:
                await client.get("/later")
                return arrived.spans

            await eventually(again)
