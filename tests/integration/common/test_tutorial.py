"""The tutorial's service, taken from its page, does what the page says."""

import asyncio
import re
import subprocess
import sys
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from common.adapters.pocketbase import open_pocketbase
from tests.eventually import eventually
from tests.servers.issuer import ISSUER, Issuer, issuer
from tests.servers.pocketbase import PocketBaseServer, pocketbase_server
from tests.servers.process import free_port, server
from tests.servers.programs import Process

PAGE = Path(__file__).parents[3] / "docs" / "tutorial" / "a-fourth-service.md"
BLOCK = re.compile(r'^```python title="([\w.]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Titles:
    url: str
    operations_url: str
    nats_url: str
    folder: Path
    process: Process


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, code in BLOCK.findall(PAGE.read_text()):
        (tmp_path / name).write_text(code)
    return tmp_path


@pytest.fixture(scope="module")
def signing() -> Generator[Issuer]:
    with issuer() as running:
        yield running


@pytest.fixture(scope="module")
def posts() -> Generator[PocketBaseServer]:
    """A PocketBase with three posts."""
    with pocketbase_server() as running:
        asyncio.run(post(running, "a", "b", "c"))
        yield running


async def post(pocketbase: PocketBaseServer, *titles: str) -> None:
    async with open_pocketbase(pocketbase.url, email=pocketbase.email, password=pocketbase.password) as control:
        fields = [{"name": "title", "type": "text"}]
        await control.request("POST", "/api/collections", {"name": "posts", "type": "base", "fields": fields})
        for title in titles:
            await control.create("posts", {"title": title})


@pytest.fixture
def titles(folder: Path, posts: PocketBaseServer, valkey_url: str, nats_url: str, signing: Issuer) -> Generator[Titles]:
    port, operations_port = free_port(), free_port()
    environment = {
        "TITLES_PORT": str(port),
        "TITLES_OPERATIONS_PORT": str(operations_port),
        "TITLES_ISSUER": ISSUER,
        "TITLES_JWKS_URL": signing.jwks_url,
        "TITLES_POCKETBASE_URL": posts.url,
        "TITLES_POCKETBASE_EMAIL": posts.email,
        "TITLES_POCKETBASE_PASSWORD": posts.password,
        "TITLES_VALKEY_URL": valkey_url,
        "TITLES_NATS_URL": nats_url,
    }
    command, log = [sys.executable, str(folder / "titles.py")], folder / "titles.log"
    with server(command, port=port, log=log, environment=environment) as process:
        operations_url = f"http://127.0.0.1:{operations_port}"
        yield Titles(f"http://127.0.0.1:{port}", operations_url, nats_url, folder, process)


@pytest.fixture
def bearer(signing: Issuer) -> dict[str, str]:
    return {"Authorization": f"Bearer {signing.token(uuid4().hex, preferred_username='ann')}"}


async def test_the_service_does_what_its_page_says(titles: Titles, bearer: dict[str, str]) -> None:
    async with httpx.AsyncClient(base_url=titles.url, timeout=10) as client:
        await is_ready(titles)
        answer = await client.get("/titles", headers=bearer)
        assert answer.json()["for"] == "ann"
        assert sorted(answer.json()["titles"]) == ["a", "b", "c"]
        assert int(answer.headers["ratelimit-remaining"]) == 4
        stranger = await client.get("/titles")
        assert stranger.status_code == 401
        assert stranger.headers["www-authenticate"].startswith("Bearer")
        refused = [answer for _ in range(10) if (answer := await client.get("/titles", headers=bearer)).is_error]
        assert refused
        assert {answer.status_code for answer in refused} == {429}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)


async def test_another_service_asks_over_the_bus(titles: Titles) -> None:
    await is_ready(titles)
    command = [sys.executable, str(titles.folder / "ask.py"), titles.nats_url]
    asked = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=20)
    assert "3" in asked.stdout.splitlines(), asked.stderr


async def test_it_ends_in_order(titles: Titles) -> None:
    await is_ready(titles)
    titles.process.terminate()
    assert titles.process.wait(timeout=15) == 0


def test_a_setting_that_is_missing_is_named(folder: Path) -> None:
    command = [sys.executable, str(folder / "titles.py")]
    answer = subprocess.run(command, env={"TITLES_PROT": "1"}, check=False, capture_output=True, text=True, timeout=20)
    assert answer.returncode != 0
    assert "TITLES_PROT" in answer.stderr


async def is_ready(titles: Titles) -> None:
    async with httpx.AsyncClient(base_url=titles.operations_url) as client:

        async def ready() -> bool:
            return (await client.get("/readyz")).is_success

        await eventually(ready)


async def test_while_nats_is_away_it_says_so_and_can_be_told_to_stop(folder: Path, valkey_url: str) -> None:
    port, operations_port = free_port(), free_port()
    environment = {
        "TITLES_PORT": str(port),
        "TITLES_OPERATIONS_PORT": str(operations_port),
        "TITLES_POCKETBASE_EMAIL": "superuser@pocketwire.test",
        "TITLES_POCKETBASE_PASSWORD": "unused",
        "TITLES_VALKEY_URL": valkey_url,
        "TITLES_NATS_URL": f"nats://127.0.0.1:{free_port()}",
    }
    command, log = [sys.executable, str(folder / "titles.py")], folder / "titles.log"
    with server(command, port=operations_port, log=log, environment=environment) as process:
        async with httpx.AsyncClient() as client:
            ready = await client.get(f"http://127.0.0.1:{operations_port}/readyz", timeout=10)
        assert ready.status_code == 503
        assert "nats" in ready.text
        process.terminate()
        assert await asyncio.to_thread(process.wait, 10) == 0
