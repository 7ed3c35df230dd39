"""The database of routes: what is kept and what ends it, limits, filters, tokens that roll, and callers who leave."""

import asyncio
import json
import re
import secrets
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.core.front_door.limits import DEFAULTS
from tests.eventually import eventually
from tests.integration.gateway.conftest import hearing
from tests.route_site import routed_gateway, write_site
from tests.servers.gateway import PASSWORD, GatewayServer, User, signed_up
from tests.servers.natsync import Stack
from tests.servers.pocketbase import PocketBaseServer

ROLL_AND_GRACE_SECONDS = 1.5

SITE = {
    "routes/notes.py": """
        async def GET(ctx, db):
            return ctx.json(await db.list("notes", sort="title"))

        async def POST(ctx, db):
            return ctx.json(await db.create("notes", {"title": ctx.metadata.json, "owner": ctx.principal.id}))
    """,
    "routes/notes/[id].py": """
        async def GET(ctx, db):
            return ctx.json(await db.get("notes", ctx.metadata.params["id"]))

        async def PATCH(ctx, db):
            return ctx.json(await db.update("notes", ctx.metadata.params["id"], {"title": ctx.metadata.json}))

        async def DELETE(ctx, db):
            await db.delete("notes", ctx.metadata.params["id"])
            return ctx.empty()
    """,
    "routes/service.py": """
        async def PATCH(ctx, db):
            return ctx.json(await db.update("notes", ctx.metadata.json["id"], {"title": ctx.metadata.json["title"]}))
    """,
    "routes/users/[id].py": """
        async def PATCH(ctx, db):
            password = ctx.metadata.json
            await db.update("users", ctx.metadata.params["id"], {"password": password, "passwordConfirm": password})
            return ctx.empty()
    """,
    "routes/find.py": """
        async def POST(ctx, db):
            found = await db.list("notes", filter=bound("title = {:title}", title=ctx.metadata.json))
            return ctx.json([note["title"] for note in found["items"]])
    """,
    "routes/limited/[any].py": """
        async def GET(ctx, db):
            return ctx.text("fine")
    """,
    "routes/plain.py": """
        async def GET(ctx, db):
            return ctx.text("fine")
    """,
    "routes/export.py": """
        import asyncio, pathlib

        async def titles(db):
            return "".join(note["title"] + "|" for note in (await db.list("notes", sort="title"))["items"])

        async def GET(ctx, db):
            place = pathlib.Path(ctx.metadata.query["place"])

            async def twice():
                yield await titles(db)
                (place / "begun").touch()
                while not (place / "go").exists():
                    await asyncio.sleep(0.02)
                yield await titles(db)

            return ctx.stream(twice())
    """,
    "routes/kept.py": """
        async def GET(ctx, db):
            return ctx.text("fine", headers={"cache-control": "public, max-age=60"})
    """,
    "routes/wait.py": """
        import asyncio, pathlib

        async def GET(ctx, db):
            place = pathlib.Path(ctx.metadata.query["place"])
            (place / "begun").touch()
            try:
                await asyncio.Event().wait()
            finally:
                (place / "ended").touch()
    """,
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_site(tmp_path_factory.mktemp("site"), SITE)


@pytest.fixture(scope="module")
def keeping(fed: Stack, fed_token: str, valkey_url: str, site: Path) -> Generator[GatewayServer]:
    """A gateway that keeps answers."""
    with routed_gateway(
        fed.pocketbase,
        valkey_url,
        site,
        {"GATEWAY_SERVICE_ROUTES": "/service,/users/{id}", "GATEWAY_TENANT_FIELD": "org", **hearing(fed)},
    ) as running:
        yield running


@pytest.fixture
async def web(keeping: GatewayServer) -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=keeping.url, timeout=20) as client:
        yield client


@pytest.fixture
async def cat(web: httpx.AsyncClient) -> User:
    return await signed_up(web, name="cat")


async def hits(keeping: GatewayServer) -> int:
    """How many reads of notes were answered from memory."""
    async with httpx.AsyncClient(base_url=keeping.operations_url) as operations:
        text = (await operations.get("/metrics")).text
    lines = re.findall(r'^gateway_operations_total\{(.*collection="notes".*)\} (\S+)$', text, re.MULTILINE)
    return sum(int(float(count)) for labels, count in lines if 'outcome="HIT"' in labels)


async def test_reads_are_kept_until_a_write_of_whichever_way(
    web: httpx.AsyncClient, keeping: GatewayServer, cat: User
) -> None:
    async def asked(path: str) -> Any:
        return (await web.get(path, headers=cat.headers)).json()

    id = (await web.post("/notes", json="one", headers=cat.headers)).json()["id"]
    await eventually(lambda: kept(web, keeping, cat, f"/notes/{id}"))
    await eventually(lambda: kept(web, keeping, cat, "/notes"))
    changes = (
        web.patch(f"/notes/{id}", json="two", headers=cat.headers),
        web.patch("/service", json={"id": id, "title": "three"}, headers=cat.headers),
        web.patch(f"/api/collections/notes/records/{id}", json={"title": "four"}, headers=cat.headers),
    )
    for title, change in zip(("two", "three", "four"), changes, strict=True):
        assert (await change).status_code == 200
        assert (await asked(f"/notes/{id}"))["title"] == title
        assert [note["title"] for note in (await asked("/notes"))["items"]] == [title]
        await eventually(lambda: kept(web, keeping, cat, f"/notes/{id}"))
    assert (await web.delete(f"/notes/{id}", headers=cat.headers)).status_code == 204
    assert (await web.get(f"/notes/{id}", headers=cat.headers)).status_code == 404
    assert (await asked("/notes"))["items"] == []


async def kept(web: httpx.AsyncClient, keeping: GatewayServer, user: User, path: str) -> bool:
    before = await hits(keeping)
    await web.get(path, headers=user.headers)
    return await hits(keeping) > before


async def test_what_is_kept_for_one_caller_is_shown_to_no_other(web: httpx.AsyncClient, cat: User) -> None:
    other = await signed_up(web, name="dan")
    id = (await web.post("/notes", json="mine", headers=cat.headers)).json()["id"]
    for _ in range(3):
        assert (await web.get(f"/notes/{id}", headers=cat.headers)).status_code == 200
        assert (await web.get(f"/notes/{id}", headers=other.headers)).status_code == 404
        assert (await web.get(f"/notes/{id}")).status_code == 404


PLANS = "/api/collections/plans/records"
OF_TENANT = "@request.headers.x_gateway_tenant != '' && tenant = @request.headers.x_gateway_tenant"


async def member(web: httpx.AsyncClient, control: httpx.AsyncClient, tenant: str) -> dict[str, str]:
    login = {"identity": f"{secrets.token_hex(6)}@example.com", "password": PASSWORD}
    body = {"email": login["identity"], "password": PASSWORD, "passwordConfirm": PASSWORD, "org": tenant}
    (await control.post("/api/collections/users/records", json=body)).raise_for_status()
    told = (await web.post("/api/collections/users/auth-with-password", json=login)).json()
    return {"Authorization": told["token"]}


async def test_what_is_kept_for_one_tenant_is_shown_to_no_other(
    web: httpx.AsyncClient, fed: Stack, fed_token: str
) -> None:
    async with httpx.AsyncClient(base_url=fed.pocketbase.url, headers={"Authorization": fed_token}) as control:
        rules = {"listRule": OF_TENANT, "viewRule": OF_TENANT}
        plans = {"name": "plans", "type": "base", "fields": [{"name": "tenant", "type": "text"}], **rules}
        (await control.post("/api/collections", json=plans)).raise_for_status()
        fields = (await control.get("/api/collections/users")).json()["fields"]
        with_tenant = {"fields": [*fields, {"name": "org", "type": "text"}]}
        (await control.patch("/api/collections/users", json=with_tenant)).raise_for_status()
        made = (await control.post(PLANS, json={"tenant": "red"})).json()["id"]
        red, too, blue = [await member(web, control, tenant) for tenant in ("red", "red", "blue")]

    async def seen(headers: dict[str, str]) -> httpx.Response:
        return await web.get(PLANS, headers=headers)

    await eventually(lambda: seen(red), lambda answer: answer.headers.get("x-cache") == "HIT")
    shared = await eventually(lambda: seen(too), lambda answer: answer.headers.get("x-cache") == "HIT")
    assert [plan["id"] for plan in shared.json()["items"]] == [made]
    for headers in (blue, {}, {**blue, "X-Gateway-Tenant": "red"}, {"X-Gateway-Tenant": "red"}):
        for _ in range(3):
            assert (await seen(headers)).json()["items"] == []
            assert (await web.get(f"{PLANS}/{made}", headers=headers)).status_code == 404


async def test_a_password_that_the_service_changes_ends_sessions_too(web: httpx.AsyncClient, cat: User) -> None:
    assert (await web.get("/sessions", headers=cat.headers)).status_code == 200
    changed = await web.patch(f"/users/{cat.id}", json="another-horse")
    assert changed.status_code == 204, changed.text
    assert (await web.get("/sessions", headers=cat.headers)).status_code == 401


@pytest.mark.parametrize(
    "title",
    ["it's", 'a "b"', "a\\'b", "' || title != '", "x' || 'a' = 'a", "{:title}", "ü\n\t", "a\\", "a\\\\' || ''='"],
)
async def test_a_value_in_a_filter_is_a_value_whatever_it_says(web: httpx.AsyncClient, cat: User, title: str) -> None:
    for other in (title, "another"):
        await web.post("/notes", json=other, headers=cat.headers)
    assert (await web.post("/find", json=title, headers=cat.headers)).json() == [title]


async def test_a_read_is_given_up_when_its_caller_leaves(keeping: GatewayServer, tmp_path: Path) -> None:
    async with httpx.AsyncClient(base_url=keeping.url, timeout=20) as client:
        asking = asyncio.create_task(client.get("/wait", params={"place": str(tmp_path)}))
        await eventually(lambda: exists(tmp_path / "begun"))
        asking.cancel()
        await asyncio.wait([asking])
    await eventually(lambda: exists(tmp_path / "ended"))


async def exists(path: Path) -> bool:
    return path.exists()  # noqa: ASYNC240


@pytest.fixture(scope="module")
def strict(guarded: PocketBaseServer, superuser_token: str, valkey_url: str, site: Path) -> Generator[GatewayServer]:
    """A gateway with limits, whose tokens roll at every call and look stolen a second later."""
    limits: dict[str, Any] = {name: {"limit": 0} for name in DEFAULTS}
    limits |= {"/limited/*": {"limit": 3, "every": 60_000}, "notes:list": {"limit": 2, "every": 60_000}}
    changed = {
        "GATEWAY_RATE_LIMITS": json.dumps(limits),
        "GATEWAY_ROLL_EVERY_SECONDS": "1",
        "GATEWAY_SESSION_GRACE_SECONDS": "1",
    }
    with routed_gateway(guarded, valkey_url, site, changed) as running:
        yield running


async def test_routes_count_against_their_own_limit_and_their_calls_against_theirs(strict: GatewayServer) -> None:
    async with httpx.AsyncClient(base_url=strict.url, timeout=20) as web:
        one, other = await signed_up(web), await signed_up(web)
        paths = ("/limited/a", "/limited/b", "/limited/c", "/limited/d")
        statuses = [(await web.get(path, headers=one.headers)).status_code for path in paths]
        assert statuses == [200, 200, 200, 429]
        assert (await web.get("/limited/a", headers=other.headers)).status_code == 200
        listed = [await web.get("/notes", headers=one.headers) for _ in range(3)]
        assert [answer.status_code for answer in listed] == [200, 200, 429]
        assert int(listed[-1].headers["retry-after"]) > 0
        assert listed[-1].json()["message"] == "Too Many Requests."


async def test_a_route_brings_the_successor_of_an_old_token(strict: GatewayServer) -> None:
    async with httpx.AsyncClient(base_url=strict.url, timeout=20) as web:
        user = await signed_up(web)
        successor = (await rolling(web, "/plain", user)).headers["x-gateway-token"]
        assert successor != user.token
        assert (await web.get("/sessions", headers={"Authorization": successor})).status_code == 200


async def rolling(web: httpx.AsyncClient, path: str, user: User) -> httpx.Response:
    """The first answer with a successor."""

    async def asked() -> httpx.Response:
        return await web.get(path, headers=user.headers)

    return await eventually(asked, lambda answer: "x-gateway-token" in answer.headers)


async def test_nobody_may_keep_an_answer_that_brings_a_successor(strict: GatewayServer) -> None:
    async with httpx.AsyncClient(base_url=strict.url, timeout=20) as web:
        answer = await rolling(web, "/kept", await signed_up(web))
    assert answer.headers.get_list("cache-control") == ["no-store"]


async def test_a_route_that_refuses_leaves_the_token_as_it_is(strict: GatewayServer) -> None:
    async with httpx.AsyncClient(base_url=strict.url, timeout=20) as web:
        user = await signed_up(web)
        await asyncio.sleep(ROLL_AND_GRACE_SECONDS)
        missing = await web.get("/notes/absent", headers=user.headers)
        assert (missing.status_code, missing.headers.get("x-gateway-token")) == (404, None)
        await asyncio.sleep(ROLL_AND_GRACE_SECONDS)
        assert (await web.get("/sessions", headers=user.headers)).status_code == 200


async def exported(web: httpx.AsyncClient, user: User, place: Path) -> str:
    return (await web.get("/export", params={"place": str(place)}, headers=user.headers)).text


@pytest.fixture
async def exporting(strict: GatewayServer, tmp_path: Path) -> AsyncGenerator[tuple[httpx.AsyncClient, User, Path]]:
    async with httpx.AsyncClient(base_url=strict.url, timeout=20) as web:
        user = await signed_up(web)
        (await web.post("/notes", json="mine", headers=user.headers)).raise_for_status()
        yield web, user, tmp_path


async def test_a_long_route_goes_on_as_its_caller_whose_token_has_been_succeeded(
    exporting: tuple[httpx.AsyncClient, User, Path],
) -> None:
    web, user, place = exporting
    export = asyncio.create_task(exported(web, user, place))
    await eventually(lambda: exists(place / "begun"))
    refreshed = await web.post("/api/collections/users/auth-refresh", headers=user.headers)
    await asyncio.sleep(ROLL_AND_GRACE_SECONDS)
    (place / "go").touch()
    assert await export == "mine|mine|"
    newest = {"Authorization": refreshed.json()["token"]}
    assert (await web.get("/sessions", headers=newest)).status_code == 200


async def test_a_long_route_is_nobodys_any_more_when_its_callers_session_is_over(
    exporting: tuple[httpx.AsyncClient, User, Path],
) -> None:
    web, user, place = exporting
    export = asyncio.create_task(exported(web, user, place))
    await eventually(lambda: exists(place / "begun"))
    (await web.delete("/sessions", headers=user.headers)).raise_for_status()
    (place / "go").touch()
    with pytest.raises(httpx.RemoteProtocolError):
        await export
