"""Metrics whose number clients cannot drive up."""

import asyncio
import time

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from common.serving.background import running
from common.serving.metrics import OTHER, BoundedLabel, LoopLag, RequestMetrics, status_class
from tests.eventually import eventually


@given(st.lists(st.text(max_size=3)), st.integers(0, 5))
def test_a_label_has_no_more_values_than_agreed(values: list[str], most: int) -> None:
    label = BoundedLabel(("listed",), max_values=most)
    seen = {label.value(value) for value in [*values, "listed"]}
    assert len(seen) <= most + 2
    assert "listed" in seen
    for value in values:
        assert label.value(value) in (value, OTHER)


@pytest.mark.parametrize(("status", "shown"), [(200, "2xx"), (404, "4xx"), (599, "5xx"), (0, "none"), (999, "none")])
def test_statuses_are_told_apart_by_their_class(status: int, shown: str) -> None:
    assert status_class(status) == shown


def application(registry: CollectorRegistry, max_routes: int = 100) -> RequestMetrics:
    app = FastAPI()

    async def fine(id: str) -> dict[str, str]:
        return {"id": id}

    async def broken() -> None:
        raise RuntimeError

    for path in ("/notes/{id}", "/users/{id}", "/files/{id}"):
        app.add_api_route(path, fine)
    app.add_api_route("/broken", broken)
    return RequestMetrics(app, registry=registry, max_routes=max_routes)


async def scraped(registry: CollectorRegistry, app: RequestMetrics, *asked: tuple[str, str]) -> dict[str, float]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        for method, path in asked:
            await client.request(method, path)
    lines = generate_latest(registry).decode().splitlines()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if not line.startswith("#")}


async def test_requests_are_counted_by_what_they_matched() -> None:
    registry = CollectorRegistry()
    asked = [("GET", f"/notes/{number}") for number in range(50)] + [
        ("GET", f"/nowhere/{number}") for number in range(50)
    ]
    figures = await scraped(registry, application(registry), *asked, ("GET", "/broken"), ("BREW", "/notes/1"))
    counted = {name: value for name, value in figures.items() if name.startswith("http_requests_total")}
    assert counted == {
        'http_requests_total{method="GET",route="/notes/{id}",status="2xx"}': 50,
        'http_requests_total{method="GET",route="none",status="4xx"}': 50,
        'http_requests_total{method="GET",route="/broken",status="5xx"}': 1,
        'http_requests_total{method="other",route="/notes/{id}",status="4xx"}': 1,
    }
    assert figures['http_request_seconds_count{method="GET",route="/notes/{id}"}'] == 50
    assert figures["http_requests_open"] == 0


async def test_routes_beyond_the_limit_are_counted_together() -> None:
    registry = CollectorRegistry()
    asked = [("GET", "/notes/1"), ("GET", "/users/1"), ("GET", "/files/1")]
    figures = await scraped(registry, application(registry, max_routes=1), *asked)
    assert figures['http_requests_total{method="GET",route="/notes/{id}",status="2xx"}'] == 1
    assert figures['http_requests_total{method="GET",route="other",status="2xx"}'] == 2


async def test_a_loop_that_is_held_up_shows() -> None:
    registry = CollectorRegistry()
    lag = LoopLag(registry=registry)

    async def measured() -> float:
        return float(registry.get_sample_value("event_loop_lag_seconds") or 0)

    assert await measured() == 0
    async with running(lag.run):
        await asyncio.sleep(0)
        time.sleep(0.4)  # noqa: ASYNC251 - holding the loop up is what is measured
        assert await eventually(measured, lambda seconds: seconds > 0.1) < 5
