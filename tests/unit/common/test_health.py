import asyncio

import httpx
import pytest

from common.serving import health
from common.serving.health import check, operations_app


async def fine() -> None:
    return None


async def broken() -> None:
    raise ConnectionError("refused")


async def slow() -> None:
    await asyncio.Event().wait()


async def test_each_probe_is_answered_for_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PROBE_SECONDS", 0.01)
    results = await check({"a": fine, "b": broken, "c": slow})
    assert results == {"a": "ok", "b": "ConnectionError: refused", "c": "no answer within 0.01 s"}


def client(**probes: health.Probe) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(operations_app(probes)), base_url="http://operations")


async def test_readiness_follows_the_probes_and_liveness_does_not() -> None:
    async with client(a=broken) as operations:
        assert (await operations.get("/readyz")).status_code == 503
        assert (await operations.get("/livez")).status_code == 200
        assert "python_info" in (await operations.get("/metrics")).text
    async with client(a=fine) as operations:
        assert (await operations.get("/readyz")).json() == {"status": "ok", "probes": {"a": "ok"}}
