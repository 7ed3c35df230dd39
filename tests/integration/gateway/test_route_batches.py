"""Batches of routes: one transaction, of one request alone."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from typing import Any

import httpx
import pytest

from tests.route_site import routed_gateway, write_site
from tests.servers.gateway import GatewayServer, User, signed_up
from tests.servers.pocketbase import PocketBaseServer

SITE = {
    "routes/meet.py": """
        import asyncio

        waiting = {}

        async def POST(ctx, db):
            \"\"\"Queues, waits until another request has queued as well, and saves.\"\"\"
            db.set_batch(True)
            for number in range(3):
                title = f"{ctx.principal.username} {number}"
                await db.create("notes", {"title": title, "owner": ctx.principal.id})
            meeting = waiting.setdefault(ctx.metadata.json, asyncio.Barrier(2))
            async with asyncio.timeout(5):
                await meeting.wait()
            if ctx.metadata.query.get("gives_up"):
                db.set_batch(False)
                return ctx.json([])
            return ctx.json(await db.save_changes())
    """,
    "routes/many.py": """
        async def POST(ctx, db):
            count, split = ctx.metadata.json["count"], ctx.metadata.json.get("split", False)
            last = {"owner": "nobody"} if ctx.metadata.json.get("fails") else {}
            db.set_batch(True)
            for number in range(count):
                own = {"title": str(number), "owner": ctx.principal.id}
                await db.create("notes", own | (last if number == count - 1 else {}))
            try:
                saved = await db.save_changes(split=split)
            except BatchPartFailed as error:
                return ctx.json({"written": error.written, "queued": db.queued}, 409)
            return ctx.json({"saved": len(saved), "queued": db.queued, "batching": db.is_batching})
    """,
    "routes/block.py": """
        async def POST(ctx, db):
            own = {"title": "in a block", "owner": ctx.principal.id}
            try:
                async with db.batch():
                    await db.create("notes", own)
                    await db.create("notes", own)
                    raise LookupError
            except LookupError:
                pass
            nested = False
            async with db.batch():
                await db.create("notes", own)
                try:
                    async with db.batch():
                        pass
                except RuntimeError:
                    nested = True
            return ctx.json({"queued": db.queued, "batching": db.is_batching, "nested": nested})
    """,
    "routes/service.py": """
        async def POST(ctx, db):
            async with db.batch():
                await db.create("notes", {"title": "one", "owner": ctx.metadata.json})
                await db.create("notes", {"title": "two", "owner": ctx.metadata.json})
            return ctx.json(True)
    """,
}


@pytest.fixture(scope="module")
def routed(
    guarded: PocketBaseServer, superuser_token: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Generator[GatewayServer]:
    site = write_site(tmp_path_factory.mktemp("site"), SITE)
    changed = {"GATEWAY_SERVICE_ROUTES": "/service", "GATEWAY_MAX_BATCH_REQUESTS": "10"}
    with routed_gateway(guarded, valkey_url, site, changed) as running:
        yield running


@pytest.fixture
async def web(routed: GatewayServer) -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=routed.url, timeout=20) as client:
        yield client


@pytest.fixture
async def cat(web: httpx.AsyncClient) -> User:
    return await signed_up(web, name="cat")


@pytest.fixture
async def dan(web: httpx.AsyncClient) -> User:
    return await signed_up(web, name="dan")


async def titles(web: httpx.AsyncClient, user: User) -> list[str]:
    answer = await web.get("/api/collections/notes/records?sort=title&perPage=200", headers=user.headers)
    return [item["title"] for item in answer.json()["items"]]


async def posted(web: httpx.AsyncClient, path: str, body: Any, user: User) -> httpx.Response:
    return await web.post(path, json=body, headers=user.headers)


async def test_two_requests_in_batch_mode_do_not_mix(web: httpx.AsyncClient, cat: User, dan: User) -> None:
    one, other = await asyncio.gather(posted(web, "/meet", "both", cat), posted(web, "/meet", "both", dan))
    assert [note["title"] for note in one.json()] == await titles(web, cat) == ["cat 0", "cat 1", "cat 2"]
    assert [note["title"] for note in other.json()] == await titles(web, dan) == ["dan 0", "dan 1", "dan 2"]


async def test_a_request_that_gives_up_its_batch_takes_nothing_of_another_with_it(
    web: httpx.AsyncClient, cat: User, dan: User
) -> None:
    await asyncio.gather(posted(web, "/meet?gives_up=1", "one", cat), posted(web, "/meet", "one", dan))
    assert await titles(web, cat) == []
    assert len(await titles(web, dan)) == 3


async def test_a_failing_batch_writes_nothing(web: httpx.AsyncClient, cat: User) -> None:
    answer = await posted(web, "/many", {"count": 5, "fails": True}, cat)
    assert answer.status_code == 400
    assert list(answer.json()["data"]["requests"]) == ["4"]
    assert await titles(web, cat) == []


async def test_a_batch_beyond_the_limit_writes_nothing_and_says_what_to_do(web: httpx.AsyncClient, cat: User) -> None:
    answer = await posted(web, "/many", {"count": 11}, cat)
    assert answer.status_code == 400
    assert "at most 10" in answer.json()["message"]
    assert "split=True" in answer.json()["message"]
    assert await titles(web, cat) == []
    told = (await posted(web, "/many", {"count": 10}, cat)).json()
    assert told == {"saved": 10, "queued": 0, "batching": False}


async def test_a_limit_of_pocketbases_own_that_is_lower_writes_nothing_either(
    web: httpx.AsyncClient, superuser: httpx.AsyncClient, cat: User
) -> None:
    for batch, status in (({"enabled": True, "maxRequests": 3}, 400), ({"enabled": False}, 403)):
        await superuser.patch("/api/settings", json={"batch": batch})
        try:
            refused = await posted(web, "/many", {"count": 5}, cat)
        finally:
            await superuser.patch("/api/settings", json={"batch": {"enabled": True, "maxRequests": 50}})
        assert refused.status_code == status, refused.text
        assert "atch" in refused.text or "requests" in refused.json()["data"], refused.text
    assert await titles(web, cat) == []


async def test_a_split_batch_says_how_much_of_it_was_written(web: httpx.AsyncClient, cat: User) -> None:
    assert (await posted(web, "/many", {"count": 25, "split": True}, cat)).json()["saved"] == 25
    assert len(await titles(web, cat)) == 25
    failed = await posted(web, "/many", {"count": 25, "split": True, "fails": True}, cat)
    assert (failed.status_code, failed.json()) == (409, {"written": 20, "queued": 0})
    assert len(await titles(web, cat)) == 45


async def test_an_error_inside_a_block_saves_nothing_of_it(web: httpx.AsyncClient, cat: User) -> None:
    told = (await posted(web, "/block", None, cat)).json()
    assert told == {"queued": 0, "batching": False, "nested": True}
    assert await titles(web, cat) == ["in a block"]


async def test_a_granted_route_writes_a_batch_as_the_service(web: httpx.AsyncClient, cat: User, dan: User) -> None:
    assert (await posted(web, "/service", cat.id, dan)).json() is True
    assert await titles(web, cat) == ["one", "two"]
