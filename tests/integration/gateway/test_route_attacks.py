"""What clients try through routes, and what routes do by mistake: nobody becomes somebody else, and nothing hangs."""

import asyncio
import json
from collections.abc import AsyncGenerator, Generator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.core.front_door.limits import DEFAULTS
from gateway.core.route_files.route_path import is_reserved
from tests.eventually import eventually
from tests.route_site import routed_gateway, write_site
from tests.servers.gateway import PASSWORD, GatewayServer, User, signed_up
from tests.servers.pocketbase import PocketBaseServer

NOTES = "/api/collections/notes/records"

SITE = {
    "routes/read.py": """
        async def POST(ctx, db):
            asked = ctx.metadata.json
            if "id" in asked:
                return ctx.json(await db.get(asked["collection"], asked["id"], **asked.get("more", {})))
            return ctx.json(await db.list(asked["collection"], **asked.get("more", {})))
    """,
    "routes/write.py": """
        async def POST(ctx, db):
            asked = ctx.metadata.json
            async with db.batch():
                await db.update(asked["collection"], asked["id"], asked["fields"])
            return ctx.json(True)
    """,
    "routes/auth.py": """
        async def POST(ctx, db):
            return ctx.json(await ctx.services.authenticate(ctx.metadata.json))
    """,
    "routes/kept.py": """
        kept = []

        async def GET(ctx, db):
            kept.append(db)
            return ctx.json(await kept[0].list("notes"))
    """,
    "routes/kept_stream.py": """
        kept = []

        async def GET(ctx, db):
            async def chunks():
                kept.append(db)
                yield str((await kept[0].list("notes"))["totalItems"])
            return ctx.stream(chunks())
    """,
    "routes/late.py": """
        import asyncio, pathlib

        async def POST(ctx, db):
            place = pathlib.Path(ctx.metadata.json)
            (place / "begun").touch()
            while not (place / "go").exists():
                await asyncio.sleep(0.01)
            return ctx.json(await db.list("notes"))
    """,
    "routes/cleans.py": """
        import asyncio

        async def POST(ctx, db):
            note = await db.create("notes", {"title": "lock", "owner": ctx.principal.id})
            try:
                await asyncio.Event().wait()
            finally:
                await db.delete("notes", note["id"])
    """,
    "routes/granted/index.py": """
        async def GET(ctx, db):
            return ctx.json((await db.list("notes"))["totalItems"])
    """,
    "routes/granted/[id].py": """
        async def GET(ctx, db):
            return ctx.json((await db.list("notes"))["totalItems"])
    """,
    "routes/whose.py": """
        import asyncio

        async def GET(ctx, db):
            before = ctx.principal.id
            await asyncio.sleep(0.01)
            notes = (await db.list("notes"))["items"]
            return ctx.json([before, ctx.principal.id, *sorted({note["owner"] for note in notes})])
    """,
    "routes/stubborn.py": """
        import asyncio

        async def GET(ctx, db):
            while True:
                try:
                    await asyncio.sleep(0.05)
                except asyncio.CancelledError:
                    pass
    """,
    "routes/recurses.py": """
        def again():
            return again()

        async def GET(ctx, db):
            return ctx.text(str(again()))
    """,
    "routes/floods.py": """
        import asyncio

        async def GET(ctx, db):
            found = await asyncio.gather(*(db.list("notes", page=page + 1) for page in range(200)))
            return ctx.json(len(found))
    """,
    "routes/plain.py": """
        async def GET(ctx, db):
            return ctx.text("fine")
    """,
}


@pytest.fixture(scope="module")
def routed(
    guarded: PocketBaseServer, superuser_token: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Generator[GatewayServer]:
    limits: dict[str, Any] = {name: {"limit": 0} for name in DEFAULTS}
    limits["devices:auth"] = {"limit": 3, "every": 60_000}
    changed = {
        "GATEWAY_SERVICE_ROUTES": "/granted",
        "GATEWAY_ROUTE_DEADLINE_SECONDS": "2",
        "GATEWAY_RATE_LIMITS": json.dumps(limits),
    }
    site = write_site(tmp_path_factory.mktemp("site"), SITE)
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


async def noted(web: httpx.AsyncClient, user: User) -> str:
    answer = await web.post(NOTES, json={"title": "mine", "owner": user.id}, headers=user.headers)
    return answer.json()["id"]


PATHS: tuple[dict[str, Any], ...] = (
    {"collection": "_superusers"},
    {"collection": "_SUPERUSERS"},
    {"collection": "%5fsuperusers"},
    {"collection": "_externalAuths"},
    {"collection": "notes/../../settings"},
    {"collection": ".."},
    {"collection": "../settings?"},
    {"collection": "../.."},
    {"collection": ""},
    {"collection": "notes", "id": ""},
    {"collection": "notes", "id": ".."},
    {"collection": "notes", "id": "../../../settings"},
    {"collection": "notes", "id": "%2e%2e"},
    {"collection": "notes", "id": "x?fields=*"},
    {"collection": "notes", "id": "x\r\nA: b"},
    {"collection": "notes", "id": ["x"]},
    {"collection": "notes", "more": {"filter": "@collection._superusers.email != ''"}},
    {"collection": "notes", "more": {"expand": "x&filter=1"}},
)


async def test_no_name_leads_out_of_the_callers_own_records(web: httpx.AsyncClient, cat: User, dan: User) -> None:
    await noted(web, dan)
    for asked in PATHS:
        answer = await web.post("/read", json=asked, headers=cat.headers)
        assert answer.status_code in (400, 403, 404) or answer.json()["items"] == [], asked
        assert "email" not in answer.text, asked


async def test_another_users_record_is_not_there_in_a_batch_either(
    web: httpx.AsyncClient, cat: User, dan: User
) -> None:
    id = await noted(web, dan)
    for collection in ("notes", "NOTES"):
        asked = {"collection": collection, "id": id, "fields": {"title": "taken"}}
        assert (await web.post("/write", json=asked, headers=cat.headers)).status_code in (400, 404)
    assert (await web.get(f"{NOTES}/{id}", headers=dan.headers)).json()["title"] == "mine"


async def test_only_the_very_route_that_is_granted_acts_as_the_service(
    web: httpx.AsyncClient, routed: GatewayServer, cat: User, dan: User
) -> None:
    await noted(web, dan)
    assert (await web.get("/granted", headers=cat.headers)).json() > 0
    assert (await web.get("/%67ranted", headers=cat.headers)).json() > 0
    assert (await web.get("/granted/x", headers=cat.headers)).json() == 0
    for path in ("/granted/", "/GRANTED", "/granted/x/..", "//granted", "/granted%2f", "/x/../granted", "/granted;x"):
        assert await asyncio.to_thread(status_as_spelt, routed, path, cat) in (400, 404), path


def status_as_spelt(routed: GatewayServer, path: str, user: User) -> int:
    """By a client that leaves the path as it is."""
    connection = HTTPConnection("127.0.0.1", int(routed.url.rpartition(":")[2]), timeout=20)
    try:
        connection.request("GET", path, headers=user.headers)
        return connection.getresponse().status
    finally:
        connection.close()


ELSEWHERE = ("_superusers", "_SUPERUSERS", "..", "../..", "users/../_superusers", "", None, ["users"], "notes")


async def test_nobody_signs_in_as_a_superuser_or_elsewhere(web: httpx.AsyncClient, guarded: PocketBaseServer) -> None:
    credentials = {"type": "password", "identity": guarded.email, "password": guarded.password}
    for collection in ELSEWHERE:
        answer = await web.post("/auth", json={**credentials, "collection": collection})
        assert (answer.status_code, answer.json()["is_authenticated"]) == (200, False), collection


async def test_guessing_passwords_through_a_route_is_counted_as_guessing(
    web: httpx.AsyncClient, superuser: httpx.AsyncClient
) -> None:
    device = {"email": "guessed@example.com", "password": PASSWORD, "passwordConfirm": PASSWORD}
    await superuser.post("/api/collections/devices/records", json=device)
    guess = {"type": "password", "collection": "devices", "identity": device["email"], "password": "guess"}
    statuses = [(await web.post("/auth", json=guess)).status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    spoofed = {"X-Forwarded-For": "203.0.113.9", "X-Real-IP": "203.0.113.9"}
    right = {**guess, "password": PASSWORD}
    assert (await web.post("/auth", json=right, headers=spoofed)).status_code == 429


async def test_a_token_of_pocketbases_own_is_nobodys_here(
    web: httpx.AsyncClient, superuser_token: str, cat: User
) -> None:
    await noted(web, cat)
    for token in (superuser_token, f"Bearer {superuser_token}"):
        asked = {"collection": "notes"}
        answer = await web.post("/read", json=asked, headers={"Authorization": token})
        assert answer.status_code == 401 or answer.json()["items"] == []


async def test_a_database_that_a_route_has_kept_acts_as_nobody_once_its_request_is_answered(
    web: httpx.AsyncClient, cat: User, dan: User
) -> None:
    await noted(web, cat)
    for path in ("/kept", "/kept_stream"):
        assert (await web.get(path, headers=cat.headers)).status_code == 200

        async def refused(path: str = path) -> bool:
            try:
                answer = await web.get(path, headers=dan.headers)
            except httpx.RemoteProtocolError:  # the stream was cut off
                return True
            assert cat.id not in answer.text
            return answer.status_code == 500

        await eventually(refused)


async def test_who_is_signed_out_while_his_request_is_under_way_reads_nothing_more(
    web: httpx.AsyncClient, cat: User, tmp_path: Path
) -> None:
    await noted(web, cat)
    asking = asyncio.create_task(web.post("/late", json=str(tmp_path), headers=cat.headers))

    async def begun() -> bool:
        return (tmp_path / "begun").exists()

    await eventually(begun)
    assert (await web.delete("/sessions", headers=cat.headers)).status_code < 300
    (tmp_path / "go").touch()
    answer = await asking
    assert answer.status_code == 401 or answer.json()["items"] == []


async def test_what_is_cancelled_may_still_clean_up(web: httpx.AsyncClient, cat: User) -> None:
    assert (await web.post("/cleans", headers=cat.headers)).status_code == 503

    async def cleaned() -> bool:
        return (await web.get(NOTES, headers=cat.headers)).json()["items"] == []

    await eventually(cleaned)


async def test_callers_at_the_same_time_are_never_each_other(web: httpx.AsyncClient, cat: User, dan: User) -> None:
    for user in (cat, dan):
        await noted(web, user)
    users = [cat, dan] * 20
    answers = await asyncio.gather(*(web.get("/whose", headers=user.headers) for user in users))
    assert [answer.json() for answer in answers] == [[user.id] * 3 for user in users]


async def test_routes_that_never_end_leave_room_for_the_others(web: httpx.AsyncClient) -> None:
    stuck = await asyncio.gather(*(web.get("/stubborn") for _ in range(60)))
    assert {answer.status_code for answer in stuck} == {503}
    assert (await eventually(lambda: web.get("/plain"), lambda answer: answer.status_code == 200)).text == "fine"
    assert (await web.get("/recurses")).status_code == 500


async def test_one_route_that_asks_a_lot_does_so_by_and_by(web: httpx.AsyncClient, cat: User) -> None:
    answer = await web.get("/floods", headers=cat.headers)
    assert answer.status_code in (200, 503)
    assert (await web.get("/plain")).status_code == 200


async def test_no_route_can_stand_where_the_gateway_answers_itself(web: httpx.AsyncClient) -> None:
    paths = (await web.get("/openapi.json")).json()["paths"]
    of_files = {"/" + name.removeprefix("routes/").removesuffix(".py").removesuffix("/index") for name in SITE}
    own = [path for path in paths if path.replace("{", "[").replace("}", "]") not in of_files]
    assert {"/sessions", "/healthz", "/.well-known/jwks.json"} <= set(own)
    assert [path for path in own if not is_reserved(path.strip("/").split("/"))] == []
