"""Limits between processes, through outages, and over a real server."""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import httpx
import pytest
import uvicorn
from fastapi import Depends, FastAPI, WebSocket
from redis.asyncio import Redis
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from common.adapters.valkey_connections import open_valkey
from common.adapters.valkey_rate_limit import ValkeyCounters
from common.core.rate_limit import Ask
from common.core.rate_limit_key import limit_key
from common.limiter import By, Decision, RateLimiter, Rule, Rules, open_limiter
from common.serving.http_errors import install_error_handler
from common.serving.rate_limit_messages import MessageGuard
from common.serving.rate_limits import RateLimits, by_address, limited
from tests.eventually import eventually
from tests.servers.process import free_port
from tests.servers.valkey import valkey_server

REPOSITORY = Path(__file__).resolve().parents[3]
SECOND_US = 1_000_000


async def hammered(url: str, seconds: float, **rule: Any) -> tuple[list[int], list[int]]:
    """What two processes that used up one limit asked, each, and when something passed."""
    command = [sys.executable, "-m", "tests.servers.hammer", url, uuid4().hex, str(seconds), json.dumps(rule)]
    pipe = asyncio.subprocess.PIPE
    processes = [await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, stdout=pipe) for _ in range(2)]
    async with asyncio.timeout(60):
        reports = [json.loads((await process.communicate())[0]) for process in processes]
    return [report["asked"] for report in reports], sorted(at for report in reports for at in report["passed_us"])


async def test_two_processes_share_ten_a_second_exactly(valkey_url: str) -> None:
    asked, passed_us = await hammered(valkey_url, 5.5, limit=10, every=1_000)
    assert min(asked) > 50
    assert all(later - at >= SECOND_US for at, later in zip(passed_us, passed_us[10:], strict=False))
    assert sum(at < passed_us[0] + 5 * SECOND_US for at in passed_us) == 50


async def test_two_processes_share_a_thousand_a_second_on_lease_to_a_twentieth(valkey_url: str) -> None:
    """Leased uses are timed by their process, which may be put aside before it looks at its clock."""
    window_us = SECOND_US * 9 // 10
    _, passed_us = await hammered(valkey_url, 2.5, limit=1_000, every=1_000, mode="leased")
    assert all(later - at >= window_us for at, later in zip(passed_us, passed_us[1_050:], strict=False))
    assert sum(at < passed_us[0] + 2 * SECOND_US for at in passed_us) >= 1_900


STATED = {
    "local": {(True, "allowed", "local"), (False, "limited", "local")},
    "open": {(True, "away", "local")},
    "closed": {(False, "away", "local")},
}
OUTAGE_RULES = Rules(
    [
        Rule("local", 40, every_ms=1_000, when_away="local"),
        Rule("open", 40, every_ms=1_000, when_away="open"),
        Rule("closed", 40, every_ms=1_000, when_away="closed"),
    ]
)


class Load:
    """Callers that never stop, and what they were told while somebody listened."""

    def __init__(self, limiter: RateLimiter) -> None:
        self._limiter = limiter
        self.told: dict[str, Counter[tuple[bool, str, str]]] = {name: Counter() for name in STATED}
        self.slowest_seconds = 0.0

    async def run(self, rule: str, by: By) -> None:
        while True:
            began = time.monotonic()
            decision = await self._limiter.check(rule, by)
            self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - began)
            self.told[rule][decision.allowed, decision.reason, decision.source] += 1
            await asyncio.sleep(0.002)

    def forget(self) -> None:
        for counter in self.told.values():
            counter.clear()

    async def heard(self, rule: str, times: int = 50) -> None:
        async def enough() -> bool:
            return self.told[rule].total() >= times

        await eventually(enough)


@asynccontextmanager
async def under_load(limiter: RateLimiter) -> AsyncGenerator[Load]:
    load = Load(limiter)
    async with asyncio.TaskGroup() as group:
        callers = [
            group.create_task(load.run(rule, By(principal=str(number)))) for rule in STATED for number in range(8)
        ]
        yield load
        for caller in callers:
            caller.cancel()


async def test_valkey_is_killed_and_comes_back_under_load() -> None:
    port = free_port()
    with ExitStack() as server:
        url = server.enter_context(valkey_server(port))
        async with (
            open_valkey(url) as valkey,
            open_limiter(
                OUTAGE_RULES, ValkeyCounters(valkey, prefix="outage:"), nodes=4, deadline_seconds=1
            ) as limiter,
            under_load(limiter) as load,
        ):
            for _ in range(2):
                await load.heard("local")
                assert not limiter.is_away
                await asyncio.to_thread(server.close)
                await became(limiter, away=True)
                load.forget()
                for rule in STATED:
                    await load.heard(rule)
                assert {rule: set(told) - STATED[rule] for rule, told in load.told.items()} == {
                    "local": set(),
                    "open": set(),
                    "closed": set(),
                }
                await asyncio.to_thread(server.enter_context, valkey_server(port))
                await became(limiter, away=False)
                load.forget()
            await eventually(lambda: sources(load), lambda seen: seen == {"server"})
    assert load.slowest_seconds < 5


async def sources(load: Load) -> set[str]:
    """Where the next decisions come from. The first calls that a new server answers may be too late."""
    load.forget()
    await load.heard("closed")
    return {source for told in load.told.values() for _, _, source in told}


async def became(limiter: RateLimiter, *, away: bool) -> None:
    async def is_so() -> bool:
        return limiter.is_away == away

    await eventually(is_so)


async def test_a_service_starts_without_valkey() -> None:
    port = free_port()
    async with (
        open_valkey(f"redis://127.0.0.1:{port}/0") as valkey,
        open_limiter(OUTAGE_RULES, ValkeyCounters(valkey, prefix="outage:")) as limiter,
    ):
        assert (await limiter.check("local")).source == "local"
        assert not (await limiter.check("closed")).allowed
        with valkey_server(port):
            await became(limiter, away=False)
            assert (await limiter.check("closed")).allowed


async def test_memory_is_bounded_on_the_server_too(valkey_url: str) -> None:
    """A hundredth of a million keys, and what the million would take: every key expires, and is small."""
    keys = 10_000
    async with open_valkey(valkey_url) as valkey:
        counters = ValkeyCounters(valkey, prefix="many:")
        terms = Rule("default", 100, every_ms=60_000).terms
        before = await used_bytes(valkey)
        names = [limit_key("default", By(principal=f"user-{number:09}")) for number in range(keys)]
        for at in range(0, keys, 250):
            await counters.decide([Ask(name, terms) for name in names[at : at + 250]])
        each = (await used_bytes(valkey) - before) / keys
        assert each < 250
        assert await valkey.pttl(b"many:" + names[0]) > 0
        await valkey.delete(*(b"many:" + name for name in names))


async def used_bytes(valkey: Redis) -> int:
    return int((await valkey.info("memory"))["used_memory"])


def service(url: str) -> FastAPI:
    rules = Rules.parse(
        {
            "default": {"limit": 4, "every": 60_000},
            "create": {"limit": 1, "every": 60_000},
            "message": {"limit": 3, "every": 60_000, "maxUses": 5},
        }
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[dict[str, RateLimiter]]:
        async with (
            open_valkey(url) as valkey,
            open_limiter(rules, ValkeyCounters(valkey, prefix=f"{uuid4().hex}:"), deadline_seconds=5) as limiter,
        ):
            yield {"limiter": limiter}

    app = FastAPI(lifespan=lifespan)
    app.add_middleware(RateLimits, by=by_address)
    install_error_handler(app)

    @app.get("/notes")
    async def notes() -> list[str]:
        return []

    @app.post("/notes")
    async def create(_: Annotated[Decision, Depends(limited("create", by_address))]) -> str:
        return "created"

    @app.websocket("/ws")
    async def chat(websocket: WebSocket) -> None:
        await websocket.accept()
        guard = MessageGuard(websocket.state.limiter, "message", By(principal="ann"))
        async for text in websocket.iter_text():
            if await guard.passes(websocket.send):
                await websocket.send_text(text)

    return app


@pytest.fixture
async def address(valkey_url: str) -> AsyncGenerator[str]:
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(service(valkey_url), port=port, log_config=None, ws="websockets-sansio"))
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve())

        async def is_up() -> bool:
            return server.started

        await eventually(is_up)
        yield f"127.0.0.1:{port}"
        server.should_exit = True


async def test_requests_and_handshakes_share_a_limit_over_a_real_server(address: str) -> None:
    async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as client:
        first, second = await client.post("/notes"), await client.post("/notes")
        assert (first.status_code, second.status_code) == (200, 429)
        assert (first.headers["ratelimit-policy"], second.headers["retry-after"]) == ('"create";q=1;w=60', "60")
        assert (await client.get("/notes")).headers["ratelimit-remaining"] == "1"
        async with connect(f"ws://{address}/ws", proxy=None) as socket:
            await socket.send("hello")
            assert await socket.recv() == "hello"
        refused = await client.get("/notes")
        assert refused.status_code == 429
        assert refused.json()["code"] == "rate_limited"
        with pytest.raises(InvalidStatus) as caught:
            await connect(f"ws://{address}/ws", proxy=None)
        assert caught.value.response.status_code == 429
        assert int(caught.value.response.headers["retry-after"]) <= 60


async def test_messages_are_dropped_and_then_the_connection_ends(address: str) -> None:
    async with connect(f"ws://{address}/ws", proxy=None) as socket:
        for number in range(6):
            await socket.send(str(number))
        assert [await socket.recv() for _ in range(3)] == ["0", "1", "2"]
        notice = json.loads(await socket.recv())
        assert notice["code"] == "rate_limited"
        assert 0 < notice["retry_after_ms"] <= 60_000
        with pytest.raises(ConnectionClosed) as caught:
            await socket.recv()
        assert caught.value.rcvd is not None
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1008, "rate_limited")
