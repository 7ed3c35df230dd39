"""Figures for dashboards, and the sessions behind them, also of nodes that were killed."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from tests.chat_client import chatting
from tests.eventually import eventually
from tests.servers import chathub
from tests.servers.chathub import Chathub
from tests.servers.issuer import Issuer

INTERVAL_SECONDS = 0.3


@pytest.fixture(scope="module")
def quick(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Generator[Chathub]:
    given = {**environment, "CHATHUB_ANALYTICS_SECONDS": str(INTERVAL_SECONDS)}
    with chathub.chathub(tmp_path_factory.mktemp("quick") / "log", given) as running:
        chathub.wait_until_ready(running)
        yield running


@pytest.fixture
async def admin(quick: Chathub, tokens: Issuer) -> AsyncGenerator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {tokens.token('boss', 'admin')}"}
    async with httpx.AsyncClient(base_url=quick.http, headers=headers, trust_env=False) as client:
        yield client


async def sessions(admin: httpx.AsyncClient, user: str) -> list[dict[str, Any]]:
    answer = await admin.get("/activity/sessions", params={"user_id": user})
    assert (answer.json()["type"], answer.json()["sender"]) == ("session_activity", "Server")
    return answer.json()["payload"]["session_activity"]


async def counts(admin: httpx.AsyncClient) -> dict[str, int]:
    answer = await admin.get("/activity/channels")
    assert answer.json()["type"] == "message_count_by_channel"
    return {count["channel"]: count["message_count"] for count in answer.json()["payload"]["channels"]}


async def test_sessions_count_by_the_day_while_they_go_on_and_after(
    quick: Chathub, tokens: Issuer, admin: httpx.AsyncClient
) -> None:
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    async with chatting(quick.ws, tokens.token("sid")):
        [day] = await eventually(lambda: sessions(admin, "sid"))
        assert (day["session_date"], day["session_count"]) == (today, 1)
    async with chatting(quick.ws, tokens.token("sid")):
        pass
    await eventually(lambda: sessions(admin, "sid"), lambda days: days[0]["session_count"] == 2)
    assert set(day) == {"session_date", "session_count", "total_duration"}


async def test_messages_count_by_channel(quick: Chathub, tokens: Issuer, admin: httpx.AsyncClient) -> None:
    before = (await counts(admin)).get("general", 0)
    async with chatting(quick.ws, tokens.token("ann")) as ann:
        for number in range(3):
            await ann.say(f"counted {number}")
        await eventually(lambda: counts(admin), lambda found: found.get("general") == before + 3)


async def test_dashboards_are_pushed_the_figures_no_oftener_than_the_interval_and_others_are_not(
    quick: Chathub, tokens: Issuer
) -> None:
    dashboard_token = tokens.token("boss", "admin", azp="WebClient")
    async with chatting(quick.ws, dashboard_token) as dashboard, chatting(quick.ws, tokens.token("ann")) as ann:
        begun = asyncio.get_running_loop().time()
        for number in range(20):
            await ann.say(f"busy {number}")
        await dashboard.until("session_activity")
        await dashboard.until("message_count_by_channel", lambda payload: payload["channels"][0]["message_count"] >= 20)
        took = asyncio.get_running_loop().time() - begun
        pushed = [frame for frame in dashboard.heard if frame["type"] == "message_count_by_channel"]
        assert 1 <= len(pushed) <= took / INTERVAL_SECONDS + 2
        await ann.say("last of all")
        await ann.hear("last of all")
        assert not any(frame["type"] in {"session_activity", "message_count_by_channel"} for frame in ann.heard)


async def test_sessions_of_a_killed_node_end_when_it_was_last_heard_of(
    environment: dict[str, str], tokens: Issuer, admin: httpx.AsyncClient, database_url: str, tmp_path: Path
) -> None:
    connection = await asyncpg.connect(database_url)
    mine = "select end_time, node from chatserver.chat_sessions where user_id = 'victim'"
    with chathub.chathub(tmp_path / "killed", environment) as killed:
        chathub.wait_until_ready(killed)
        async with chatting(killed.ws, tokens.token("victim")):
            row = await eventually(lambda: connection.fetchrow(mine), lambda row: row is not None)
            assert row is not None
            assert row["end_time"] is None
            killed.process.kill()
    last = await connection.fetchval("select seen_at from chatserver.nodes where id = $1", row["node"])
    aged = "update chatserver.nodes set seen_at = seen_at - interval '1 min' where id = $1 returning seen_at"
    assert last - await connection.fetchval(aged, row["node"])
    ended = await eventually(
        lambda: connection.fetchrow(mine), lambda row: row is not None and row["end_time"] is not None, seconds=30
    )
    assert ended is not None
    assert ended["end_time"] <= datetime.now(UTC)
    assert [day["session_count"] for day in await sessions(admin, "victim")] == [1]
    await connection.close()
