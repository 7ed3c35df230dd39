"""Route and schema files are read as a whole: one that does not load stops the start, or later refuses what it would
have answered."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.adapters.route_folder import RouteFolder
from gateway.core.route_files.route_set import RouteSet
from gateway.isolate.lanes import open_lanes
from tests.court import until_nobody_is_lost
from tests.eventually import eventually
from tests.route_site import IMPORTS, routed_gateway, write_site
from tests.servers.pocketbase import PocketBaseServer

FINE = "async def GET(ctx, db): return ctx.text('fine')"
POSTING = "async def POST(ctx, db): return ctx.json(ctx.body)"
LINE = IMPORTS.count("\n")

BROKEN: dict[str, tuple[Mapping[str, str], str, str]] = {
    "PocketBase's API": ({"routes/api/hello.py": FINE}, "routes/api/hello.py", "/api/hello is the gateway's own"),
    "PocketBase's API as index": ({"routes/api/index.py": FINE}, "routes/api/index.py", "/api is the gateway's own"),
    "the API in another case": ({"routes/API/hello.py": FINE}, "routes/API/hello.py", "the gateway's own"),
    "sessions": ({"routes/sessions.py": FINE}, "routes/sessions.py", "the gateway's own"),
    "below sessions": ({"routes/sessions/[id].py": FINE}, "routes/sessions/[id].py", "the gateway's own"),
    "health": ({"routes/healthz.py": FINE}, "routes/healthz.py", "the gateway's own"),
    "readiness": ({"routes/readyz/index.py": FINE}, "routes/readyz/index.py", "the gateway's own"),
    "operations": ({"routes/operator/rules.py": FINE}, "routes/operator/rules.py", "the gateway's own"),
    "metrics": ({"routes/metrics.py": FINE}, "routes/metrics.py", "the gateway's own"),
    "the provider's sign-in": ({"routes/auth/oauth2/[id].py": FINE}, "routes/auth/oauth2/[id].py", "the gateway's own"),
    "a path that no request has": ({"routes/a b.py": FINE}, "routes/a b.py", "is no part of a path"),
    "a parameter twice": ({"routes/[id]/[id].py": FINE}, "routes/[id]/[id].py", "each parameter once"),
    "two routes at one path": ({"routes/a.py": FINE, "routes/a/index.py": FINE}, "routes/a.py", "already"),
    "two parameters at one place": ({"routes/[a].py": FINE, "routes/[b].py": FINE}, "routes/[b].py", "already"),
    "nothing to answer": ({"routes/a.py": "x = 1"}, "routes/a.py", "at least one of async def GET"),
    "no async": ({"routes/a.py": "def GET(ctx, db): ..."}, "routes/a.py", "async def GET"),
    "too few parameters": ({"routes/a.py": "async def GET(ctx): ..."}, "routes/a.py", "TypeError"),
    "a syntax error": ({"routes/a.py": "async def GET(ctx, db"}, f"routes/a.py:{LINE + 1}", "SyntaxError"),
    "an exception": ({"routes/a.py": "\n1/0"}, f"routes/a.py:{LINE + 2}", "ZeroDivisionError"),
    "an exit": ({"routes/a.py": "raise SystemExit(0)"}, f"routes/a.py:{LINE + 1}", "SystemExit"),
    "a broken middleware": (
        {"routes/middleware.py": "x = 1", "routes/a.py": FINE},
        "middleware.py",
        "middleware(ctx, db)",
    ),
    "a broken schema": ({"routes/a.py": POSTING, "schemas/a.py": "class A(BaseModel"}, "schemas/a.py", "SyntaxError"),
    "an empty schema": ({"routes/a.py": POSTING, "schemas/a.py": ""}, "schemas/a.py", "there is none"),
    "two models": (
        {"routes/a.py": POSTING, "schemas/a.py": "class A(BaseModel): ...\nclass B(BaseModel): ..."},
        "schemas/a.py",
        "there is A, B",
    ),
    "a schema that is none": ({"routes/a.py": POSTING, "schemas/a.py": "Body = dict"}, "schemas/a.py", "no pydantic"),
    "a schema of nothing": (
        {"routes/a.py": POSTING, "schemas/b.py": "class A(BaseModel): ..."},
        "schemas/b.py",
        "no route",
    ),
    "a body of a route without": (
        {"routes/a.py": FINE, "schemas/a.py": "class Body(BaseModel): ..."},
        "schemas/a.py",
        "takes no body",
    ),
    "another method's query": (
        {"routes/a.py": FINE, "schemas/a.py": "class PostQuery(BaseModel): ..."},
        "schemas/a.py",
        "no POST",
    ),
    "a reference to nothing": (
        {"routes/a.py": POSTING, "schemas/a.py": "class A(BaseModel):\n    other: 'Nowhere'"},
        "schemas/a.py",
        "Nowhere",
    ),
    "a model without words for it": (
        {"routes/a.py": POSTING, "schemas/a.py": "class A(BaseModel):\n    f: Callable[[], int]\nfrom typing import *"},
        "a.py",
        "",
    ),
}


async def read(site: Path, load_seconds: float = 10) -> RouteSet:
    with open_lanes() as lanes:
        folder = RouteFolder(site / "routes", site / "schemas", lanes, load_seconds=load_seconds)
        await folder.load()
        await until_nobody_is_lost(lanes)
        return folder.current


@pytest.mark.parametrize("kind", BROKEN)
async def test_what_is_wrong_with_a_file_is_told_with_its_place(tmp_path: Path, kind: str) -> None:
    files, place, reason = BROKEN[kind]
    current = await read(write_site(tmp_path, files))
    assert current.faults, kind
    [fault] = current.faults
    assert place in str(fault.place)
    assert reason in fault.reason


@pytest.mark.parametrize("hang", ["while True: ...", "import time; time.sleep(1)"])
async def test_a_file_that_never_comes_to_its_end_is_named_and_left(tmp_path: Path, hang: str) -> None:
    [fault] = (await read(write_site(tmp_path, {"routes/a.py": hang, "routes/b.py": FINE}), 0.5)).faults
    assert str(fault.place).startswith(str(tmp_path / "routes" / "a.py"))
    assert "did not load within 0.5 s" in fault.reason


async def test_a_folder_that_is_missing_does_not_load(tmp_path: Path) -> None:
    [fault] = (await read(tmp_path)).faults
    assert "there is no folder" in fault.reason


async def test_private_files_are_no_routes_and_schemas_may_be_missing(tmp_path: Path) -> None:
    site = write_site(tmp_path, {"routes/a.py": FINE, "routes/_own/b.py": "1/0", "routes/__init__.py": "1/0"})
    current = await read(site)
    assert current.faults == ()
    assert [route.pattern.template for route in current.routes] == ["/a"]


async def test_a_parameter_at_the_top_is_no_way_to_a_reserved_path(tmp_path: Path) -> None:
    current = await read(write_site(tmp_path, {"routes/[any].py": FINE, "routes/[any]/[other].py": FINE}))
    assert current.find(["hello"])
    assert current.find(["hello", "world"])
    for path in (
        ["sessions"],
        ["SESSIONS", "x"],
        ["api", "x"],
        ["healthz"],
        ["openapi.json"],
        ["_", "x"],
        ["AUTH", "oauth2"],
    ):
        assert current.find(path) is None, path


@pytest.mark.parametrize(("kind", "workers"), [("PocketBase's API", "1"), ("a broken schema", "2")])
def test_the_gateway_does_not_start(tmp_path: Path, kind: str, workers: str) -> None:
    files, place, _ = BROKEN[kind]
    site = write_site(tmp_path, files)
    key = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"
    environment = {
        **os.environ,
        "GATEWAY_ROUTES_FOLDER": str(site / "routes"),
        "GATEWAY_ISSUER": "http://localhost",
        "GATEWAY_SIGNING_KEY": key,
        "GATEWAY_SESSION_KEY": key,
        "GATEWAY_POCKETBASE_EMAIL": "a@example.com",
        "GATEWAY_POCKETBASE_PASSWORD": "password",
        "GATEWAY_PORT": "0",
        "GATEWAY_OPERATIONS_PORT": "0",
        "GATEWAY_WORKERS": workers,
    }
    command = [sys.executable, "-m", "gateway", "serve"]
    ended = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert ended.returncode not in (0, 1)
    assert place in (ended.stdout + ended.stderr).decode()


@asynccontextmanager
async def watched(site: Path) -> AsyncGenerator[RouteFolder]:
    with open_lanes() as lanes:
        folder = RouteFolder(site / "routes", site / "schemas", lanes)
        await folder.load()
        watching = asyncio.create_task(folder.watch())
        try:
            yield folder
        finally:
            watching.cancel()
            await asyncio.wait([watching])


async def test_a_folder_is_read_again_when_anything_in_it_changes(tmp_path: Path) -> None:
    site = write_site(tmp_path, {"routes/a.py": POSTING})

    async def parts(folder: RouteFolder) -> Any:
        found = folder.current.find(["a"])
        return found and found.route.endpoints["POST"].parts.body

    async with watched(site) as folder:
        write_site(site, {"routes/deep/er/b.py": FINE})
        await eventually(lambda: found(folder, ["deep", "er", "b"]))
        write_site(site, {"schemas/a.py": "class Login(BaseModel): ..."})
        assert await eventually(lambda: parts(folder))
        (site / "routes" / "deep" / "er" / "b.py").unlink()
        await eventually(lambda: found(folder, ["deep", "er", "b"]), lambda there: not there)


async def found(folder: RouteFolder, path: list[str]) -> bool:
    return folder.current.find(path) is not None


async def test_in_development_a_broken_file_refuses_routes_until_it_is_mended_and_nothing_else(
    guarded: PocketBaseServer, superuser_token: str, valkey_url: str, tmp_path: Path
) -> None:
    site = write_site(tmp_path, {"routes/a.py": FINE})
    with routed_gateway(guarded, valkey_url, site, {"GATEWAY_DEVELOPMENT_MODE": "true"}) as running:
        async with httpx.AsyncClient(base_url=running.url, timeout=20) as web:
            assert (await web.get("/a")).text == "fine"
            write_site(site, {"routes/b.py": "1/0"})
            broken = await eventually(lambda: web.get("/a"), lambda answer: answer.status_code == 503)
            assert broken.json()["message"] == "The gateway's routes are not loaded; please retry later."
            for path in ("/api/health", "/healthz", "/openapi.json"):
                assert (await web.get(path)).status_code == 200
            assert (await web.get("/sessions")).status_code == 401
            write_site(site, {"routes/b.py": FINE.replace("fine", "mended")})
            await eventually(lambda: web.get("/b"), lambda answer: answer.text == "mended")
