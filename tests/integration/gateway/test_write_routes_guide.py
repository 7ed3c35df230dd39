"""The snippets of docs/how-to/write-routes.md run, and do what the page says."""

import re
import runpy
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.route_site import routed_gateway
from tests.servers.gateway import GatewayServer, User, signed_up
from tests.servers.pocketbase import PocketBaseServer

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "write-routes.md"
SNIPPETS = dict(re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE.read_text(), re.DOTALL))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("guide")
    for name, source in SNIPPETS.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return folder


@pytest.fixture(scope="module")
def guide(guarded: PocketBaseServer, superuser_token: str, valkey_url: str, site: Path) -> Generator[GatewayServer]:
    with routed_gateway(guarded, valkey_url, site) as running:
        yield running


@pytest.fixture
async def web(guide: GatewayServer) -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=guide.url, timeout=20) as client:
        yield client


@pytest.fixture
async def cat(web: httpx.AsyncClient) -> User:
    return await signed_up(web, name="cat")


def test_every_snippet_is_named() -> None:
    assert len(SNIPPETS) == PAGE.read_text().count("```python") == 7


async def test_notes_are_listed_written_and_exported_as_the_caller(web: httpx.AsyncClient, cat: User) -> None:
    made = await web.post("/notes", json={"title": "first"}, headers=cat.headers)
    assert (made.status_code, made.json()["owner"]) == (201, cat.id)
    assert [note["title"] for note in (await web.get("/notes", headers=cat.headers)).json()["items"]] == ["first"]
    assert (await web.get("/export", headers=cat.headers)).text == "first\n"
    assert (await web.get("/export")).status_code == 401
    refused = (await web.post("/notes", json={}, headers=cat.headers)).json()
    assert refused["data"] == {"title": {"code": "validation_required", "message": "Cannot be blank."}}


async def test_the_folder_of_the_team_is_for_editors(web: httpx.AsyncClient, cat: User) -> None:
    assert (await web.get("/team", headers=cat.headers)).status_code == 403


async def test_an_archive_is_made_in_one_transaction(web: httpx.AsyncClient, cat: User) -> None:
    ids = [
        (await web.post("/notes", json={"title": title}, headers=cat.headers)).json()["id"] for title in ("one", "two")
    ]
    failed = await web.post("/archive", json=[*ids, "nowhere"], headers=cat.headers)
    assert failed.status_code == 400
    assert len((await web.get("/notes", headers=cat.headers)).json()["items"]) == 2
    told = (await web.post("/archive", json=ids, headers=cat.headers)).json()
    assert [note["id"] for note in (await web.get("/notes", headers=cat.headers)).json()["items"]] == [told["id"]]


def test_a_route_is_tested_as_the_page_says(site: Path) -> None:
    route: dict[str, Any] = runpy.run_path(str(site / "routes/notes/index.py"))
    schema: dict[str, Any] = runpy.run_path(str(site / "schemas/notes/index.py"))
    tests: dict[str, Any] = runpy.run_path(str(site / "tests/test_notes.py"))
    tests["test_a_note_belongs_to_its_writer"](route["POST"], schema["Note"])
