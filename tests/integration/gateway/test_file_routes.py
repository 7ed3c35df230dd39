"""Route files answer requests: as their caller, behind the same front door, and never in the place of anything else."""

import asyncio
import json
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.eventually import eventually
from tests.route_site import routed_gateway, write_site
from tests.servers.gateway import GatewayServer, User, signed_up
from tests.servers.pocketbase import PocketBaseServer

NOTES = "/api/collections/notes/records"

SITE = {
    "routes/index.py": """
        async def GET(ctx, db):
            return ctx.html("<h1>Welcome</h1>")
    """,
    "routes/hello.py": """
        async def GET(ctx, db):
            return ctx.text("Hello world", headers={"x-own": "yes", "set-cookie": ["a=1", "b=2"]})
    """,
    "routes/who.py": """
        async def GET(ctx, db):
            asker = ctx.principal
            return ctx.json({"id": asker.id, "username": asker.username, "known": asker.is_authenticated,
                             "roles": asker.roles, "clearance": asker.highest_clearance, "tenant": ctx.tenant_id})
    """,
    "routes/items/[id]/index.py": """
        async def GET(ctx, db):
            meta = ctx.metadata
            return ctx.json({"params": meta.params, "query": meta.query, "method": meta.method, "path": meta.path,
                             "request": meta.request_id, "headers": meta.headers})

        async def PUT(ctx, db):
            return ctx.json({"put": ctx.metadata.json})

        async def DELETE(ctx, db):
            return ctx.empty()
    """,
    "routes/items/special.py": """
        async def GET(ctx, db):
            return ctx.json({"special": True})
    """,
    "routes/notes.py": """
        async def GET(ctx, db):
            return ctx.json(await db.list("notes", page=1, limit=20, sort="title"))

        async def POST(ctx, db):
            note = await db.create("notes", {"title": ctx.metadata.json["title"], "owner": ctx.principal.id})
            return ctx.json(note, 201)
    """,
    "routes/notes/[id].py": """
        async def GET(ctx, db):
            return ctx.json(await db.get("notes", ctx.metadata.params["id"]))

        async def PATCH(ctx, db):
            return ctx.json(await db.update("notes", ctx.metadata.params["id"], ctx.metadata.json))

        async def DELETE(ctx, db):
            await db.delete("notes", ctx.metadata.params["id"])
            return ctx.empty()
    """,
    "routes/all.py": """
        async def GET(ctx, db):
            everyone, mine = await db.list("notes", limit=200), await db.as_caller.list("notes", limit=200)
            return ctx.json({"everyone": everyone["totalItems"], "mine": mine["totalItems"]})

        async def POST(ctx, db):
            return ctx.json(await db.create("notes", {"title": "by the service", "owner": ctx.metadata.json["owner"]}))

        async def DELETE(ctx, db):
            return ctx.json(await db.list("_superusers"))
    """,
    "routes/faults/[kind].py": """
        import asyncio, time

        async def GET(ctx, db):
            match ctx.metadata.params["kind"]:
                case "raises": raise ValueError("hunter2")
                case "exits": raise SystemExit(3)
                case "nothing": return None
                case "dict": return {"a": 1}
                case "status": return ctx.json({}, 99)
                case "splits": return ctx.text("x", headers={"x": "a\\r\\nb: c"})
                case "bodied": return ctx.text("HTTP/1.1 200 OK\\r\\n\\r\\n", 204)
                case "unchanged": return ctx.text("x", 304)
                case "length": return ctx.text("x", headers={"content-length": "0"})
                case "waits": await asyncio.Event().wait()
                case "blocks": time.sleep(60)
                case "refuses": refuse("Not today.", status=403)
                case "missing": return ctx.json(await db.get("notes", "nowhere"))
                case "field": invalid(FieldError("title", "Must be another."))
                case "unsaved":
                    db.set_batch(True)
                    await db.create("notes", {"title": "lost", "owner": ctx.principal.id})
                    return ctx.json({"success": True})
    """,
    "routes/streams/[kind].py": """
        import asyncio

        async def GET(ctx, db):
            async def chunks():
                for number in range(3):
                    yield f"{number}\\n"
                if ctx.metadata.params["kind"] == "fails":
                    raise ValueError("hunter2")
                if ctx.metadata.params["kind"] == "unsaved":
                    db.set_batch(True)
                    await db.create("notes", {"title": "lost", "owner": ctx.principal.id})
                if ctx.metadata.params["kind"] == "endless":
                    while True:
                        await asyncio.sleep(0.01)
                        yield "more\\n"
            return ctx.stream(chunks(), content_type="text/plain")
    """,
    "routes/upload.py": """
        async def POST(ctx, db):
            [file] = ctx.files["file"]
            data = await file.read()
            return ctx.json({"name": file.filename, "size": file.size_bytes, "detected": file.detected_type,
                             "sum": sum(data), "fields": ctx.metadata.json})
    """,
    "routes/members/middleware.py": """
        async def middleware(ctx, db):
            ctx.state["seen"] = ["outer"]
            if not ctx.principal.is_authenticated:
                return False
    """,
    "routes/members/inner/middleware.py": """
        async def middleware(ctx, db):
            ctx.state["seen"].append("inner")
            if "teapot" in ctx.metadata.query:
                return ctx.text("I am one", 418)
    """,
    "routes/members/inner/page.py": """
        async def GET(ctx, db):
            return ctx.json(ctx.state["seen"])
    """,
    "routes/articles.py": """
        async def GET(ctx, db):
            return ctx.json({"page": ctx.query.page, "tenant": ctx.headers.x_team})

        async def POST(ctx, db):
            \"\"\"Write an article.\"\"\"
            return ctx.json({"title": ctx.body.title, "read": ctx.body})
    """,
    "schemas/articles.py": """
        class Line(BaseModel):
            text: str = Field(min_length=1)

        class Body(BaseModel):
            title: str = Field(min_length=3)
            lines: list[Line] = []

        class GetQuery(BaseModel):
            page: int = Field(1, ge=1)

        class GetHeaders(BaseModel):
            x_team: str
    """,
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_site(tmp_path_factory.mktemp("site"), SITE)


@pytest.fixture(scope="module")
def routed(guarded: PocketBaseServer, superuser_token: str, valkey_url: str, site: Path) -> Generator[GatewayServer]:
    changed = {
        "GATEWAY_SERVICE_ROUTES": "/all",
        "GATEWAY_ROUTE_DEADLINE_SECONDS": "1",
        "GATEWAY_MAX_ROUTE_BODY_BYTES": "1000000",
    }
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


async def test_the_three_ways_to_answer_bear_their_types_and_admit_every_origin(web: httpx.AsyncClient) -> None:
    page, text, who = await web.get("/"), await web.get("/hello"), await web.get("/who")
    assert (page.text, page.headers["content-type"]) == ("<h1>Welcome</h1>", "text/html; charset=utf-8")
    assert (text.text, text.headers["content-type"]) == ("Hello world", "text/plain; charset=utf-8")
    assert text.headers["x-own"] == "yes"
    assert text.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert who.headers["content-type"] == "application/json"
    assert all(answer.headers["access-control-allow-origin"] == "*" for answer in (page, text, who))


async def test_a_route_knows_who_asks(web: httpx.AsyncClient, cat: User) -> None:
    guest: dict[str, Any] = {"id": "", "username": "", "known": False, "roles": [], "clearance": 0, "tenant": ""}
    assert (await web.get("/who")).json() == guest
    known = (await web.get("/who", headers=cat.headers)).json()
    assert known == {**guest, "id": cat.id, "username": "cat", "known": True}
    forged = {"Authorization": cat.token[:-4] + "AAAA"}
    assert (await web.get("/who", headers=forged)).json() == guest


async def test_parameters_queries_and_bodies_reach_the_route(web: httpx.AsyncClient) -> None:
    told = (await web.get("/items/a%20b?x=1&x=2&y=%2F", headers={"Authorization": "secret", "X-Own": "1"})).json()
    assert told["params"] == {"id": "a b"}
    assert told["query"] == {"x": "1", "y": "/"}
    assert (told["method"], told["path"]) == ("GET", "/items/a%20b")
    assert told["request"]
    assert told["headers"]["x-own"] == "1"
    assert "authorization" not in told["headers"]
    assert (await web.put("/items/1", json=[1, 2])).json() == {"put": [1, 2]}
    assert (await web.put("/items/1", data={"a": "1"})).json() == {"put": {"a": 1}}
    assert (await web.delete("/items/1")).status_code == 204
    assert (await web.get("/items/special")).json() == {"special": True}


async def test_methods_and_paths_that_are_not_there_are_refused(web: httpx.AsyncClient) -> None:
    answer = await web.patch("/items/1", json={})
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, PUT, DELETE, HEAD, OPTIONS")
    assert answer.json()["status"] == 405
    head = await web.head("/hello")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "11")
    for path in ("/items", "/items/", "/hello/", "/nowhere", "/items/1/2", "/Hello"):
        assert (await web.get(path)).status_code == 404, path
    assert (await web.request("GET", "/hello", content=b"{}")).status_code == 400
    assert (await web.options("/hello")).status_code == 204


async def test_the_database_acts_as_the_caller(web: httpx.AsyncClient, cat: User, dan: User) -> None:
    made = await web.post("/notes", json={"title": "mine"}, headers=cat.headers)
    assert made.status_code == 201
    note = made.json()
    path = f"/notes/{note['id']}"
    assert [item["id"] for item in (await web.get("/notes", headers=cat.headers)).json()["items"]] == [note["id"]]
    assert (await web.get(path, headers=cat.headers)).json()["title"] == "mine"
    for headers in (dan.headers, {}):
        assert (await web.get("/notes", headers=headers)).json()["items"] == []
        assert (await web.get(path, headers=headers)).status_code == 404
        assert (await web.patch(path, json={"title": "taken"}, headers=headers)).status_code == 404
        assert (await web.delete(path, headers=headers)).status_code == 404
    assert (await web.patch(path, json={"title": "still mine"}, headers=cat.headers)).json()["title"] == "still mine"
    refused = await web.post("/notes", json={"title": "x"})
    direct = await web.post(NOTES, json={"title": "x", "owner": ""})
    assert (refused.status_code, refused.json()) == (direct.status_code, direct.json())
    assert (await web.delete(path, headers=cat.headers)).status_code == 204


async def test_a_granted_route_acts_as_the_service_and_no_other_does(
    web: httpx.AsyncClient, cat: User, dan: User
) -> None:
    made = (await web.post("/all", json={"owner": cat.id}, headers=dan.headers)).json()
    assert made["owner"] == cat.id
    assert (await web.get(f"/notes/{made['id']}", headers=cat.headers)).json()["title"] == "by the service"
    told = (await web.get("/all", headers=dan.headers)).json()
    assert told["mine"] == 0 < told["everyone"]
    assert (await web.delete("/all", headers=dan.headers)).status_code == 403  # system collections stay closed


FAULTS = {
    "raises": 500,
    "exits": 500,
    "nothing": 500,
    "dict": 500,
    "status": 500,
    "splits": 500,
    "bodied": 500,
    "unchanged": 500,
    "length": 500,
    "waits": 503,
    "blocks": 503,
    "refuses": 403,
    "missing": 404,
    "field": 400,
}


@pytest.mark.parametrize("kind", FAULTS)
async def test_a_fault_of_a_route_is_its_own_and_says_nothing(
    web: httpx.AsyncClient, routed: GatewayServer, kind: str
) -> None:
    answer = await web.get(f"/faults/{kind}")
    assert answer.status_code == FAULTS[kind]
    told = answer.json()
    assert told["status"] == FAULTS[kind]
    assert "hunter2" not in answer.text
    if kind == "field":
        assert told["data"] == {"title": {"code": "validation_refused", "message": "Must be another."}}
    if kind == "refuses":
        assert told["message"] == "Not today."
    assert (await eventually(lambda: web.get("/hello"), lambda answer: answer.status_code == 200)).status_code == 200
    log = routed.log.read_text()
    assert "hunter2" not in log
    if FAULTS[kind] >= 500:
        assert '"event": "a route failed"' in log
        assert "faults/[kind].py:" in log


async def test_changes_that_were_never_saved_are_no_success(web: httpx.AsyncClient, cat: User) -> None:
    assert (await web.get("/faults/unsaved", headers=cat.headers)).status_code == 500
    assert (await web.get("/notes", headers=cat.headers)).json()["items"] == []


async def test_a_blocked_route_holds_up_nothing_but_routes(web: httpx.AsyncClient) -> None:
    blocked = asyncio.create_task(web.get("/faults/blocks"))
    while not blocked.done():
        assert (await web.get("/api/health", timeout=1)).status_code == 200
    assert blocked.result().status_code == 503
    assert (await eventually(lambda: web.get("/hello"), lambda answer: answer.status_code == 200)).text == "Hello world"


async def test_a_stream_is_sent_as_it_is_made(web: httpx.AsyncClient) -> None:
    assert (await web.get("/streams/short")).text == "0\n1\n2\n"
    async with web.stream("GET", "/streams/endless") as answer:
        lines = answer.aiter_lines()
        assert [await anext(lines) for _ in range(4)] == ["0", "1", "2", "more"]
    for kind in ("fails", "unsaved"):
        with pytest.raises(httpx.RemoteProtocolError):
            await web.get(f"/streams/{kind}")
    assert (await web.get("/hello")).status_code == 200


async def test_a_head_of_a_stream_makes_none_of_it(web: httpx.AsyncClient) -> None:
    answer = await web.head("/streams/endless")
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "text/plain", b"")
    assert "content-length" not in (await web.delete("/items/1")).headers


async def test_files_of_a_form_reach_the_route(web: httpx.AsyncClient) -> None:
    data = b"\x89PNG\r\n\x1a\n" + b"x" * 300_000
    answer = await web.post("/upload", files={"file": ("a.png", data)}, data={"title": "t"})
    told = answer.json()
    assert (told["name"], told["size"], told["sum"]) == ("a.png", len(data), sum(data))
    assert told["fields"] == {"title": "t"}
    assert (await web.post("/upload", files={"file": ("a", b"x" * 1_000_001)})).status_code in (400, 413)
    too_long = {"x": "x" * 1_000_000}
    assert (await web.put("/items/1", json=too_long)).status_code == 413


async def test_middleware_runs_from_the_outermost_folder_inwards(web: httpx.AsyncClient, cat: User) -> None:
    assert (await web.get("/members/inner/page")).status_code == 403
    assert (await web.get("/members/inner/page", headers=cat.headers)).json() == ["outer", "inner"]
    teapot = await web.get("/members/inner/page?teapot=1", headers=cat.headers)
    assert (teapot.status_code, teapot.text) == (418, "I am one")


async def test_what_a_schema_refuses_names_the_fields_as_pocketbase_does(web: httpx.AsyncClient) -> None:
    answer = await web.post("/articles", json={"lines": [{"text": ""}]})
    assert answer.status_code == 400
    assert answer.json() == {
        "status": 400,
        "message": "An error occurred while validating the submitted data.",
        "data": {
            "title": {"code": "validation_required", "message": "Cannot be blank."},
            "lines": {
                "code": "validation_string_too_short",
                "message": "0.text: String should have at least 1 character",
            },
        },
    }
    assert set((await web.post("/articles")).json()["data"]) == {"title"}
    assert (await web.post("/articles", json=[1])).status_code == 400
    assert (await web.post("/articles", json={"title": "abc", "more": 1})).json() == {
        "title": "abc",
        "read": {"title": "abc", "lines": []},
    }
    assert set((await web.get("/articles?page=0")).json()["data"]) == {"page", "x_team"}
    told = await web.get("/articles?page=2", headers={"X-Team": "red"})
    assert told.json() == {"page": 2, "tenant": "red"}


async def test_routes_are_described_beside_the_gateways_own_calls(web: httpx.AsyncClient) -> None:
    document = (await web.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    paths = document["paths"]
    assert {"/", "/items/{id}", "/articles", "/sessions", "/healthz"} <= paths.keys()
    assert set(paths["/items/{id}"]) == {"get", "put", "delete"}
    assert paths["/items/{id}"]["get"]["parameters"][0]["name"] == "id"
    write = paths["/articles"]["post"]
    assert write["summary"] == "Write an article."
    name = write["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    schemas = document["components"]["schemas"]
    assert schemas[name]["required"] == ["title"]
    assert schemas[name]["properties"]["lines"]["items"]["$ref"].rpartition("/")[2] in schemas
    assert [parameter["name"] for parameter in paths["/articles"]["get"]["parameters"]] == ["page", "x-team"]
    assert not set(find_refs(document)) - {f"#/components/schemas/{name}" for name in schemas}


def find_refs(value: object) -> list[str]:
    text = json.dumps(value)
    return [piece.partition('"')[0] for piece in text.split('"$ref": "')[1:]]
