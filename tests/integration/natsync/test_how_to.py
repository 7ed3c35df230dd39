"""The pages of docs/how-to/nats run, and print what they say."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from infra.embedded import binaries
from tests.how_to_page import FOLDER, Page
from tests.integration.natsync.test_export import ports_in_a_row
from tests.servers import node
from tests.servers.gateway import GatewayServer, gateway_server
from tests.servers.natsync import PASSWORD, Stack, Tenants
from tests.servers.pocketbase import pocketbase_server
from tests.servers.process import free_port

ADMIN = "admin@pocketwire.test"
PAGES = sorted(path.name for path in FOLDER.glob("*.md"))
OWN_SERVERS = ("advanced.md", "basic.md")
ON_THE_PLATFORM = ("integration.md", "iot.md", "saas.md", "teams.md")


@pytest.fixture(scope="module")
def gateway(natsync: Stack, valkey_url: str) -> Generator[GatewayServer]:
    with gateway_server(natsync.pocketbase, valkey_url) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where npm's packages are found, and what a page needs is on the path."""
    node.install()
    (tmp_path / "node_modules").symlink_to(node.FOLDER / "node_modules")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, place in {
        "nats-server": str(binaries.nats_server()),
        "node": node.program("node"),
    }.items():
        (programs / name).symlink_to(shutil.which(place) or place)
    (programs / "natsync").write_text(f'#!/bin/sh\nexec {sys.executable} -m natsync "$@"\n')
    (programs / "natsync").chmod(0o755)
    return tmp_path


def run(folder: Path, command: list[str], environment: Mapping[str, str]) -> str:
    path = f"{folder / 'bin'}{os.pathsep}{os.defpath}"
    known = {"PATH": path, "HOME": str(folder), "LC_ALL": "C"}
    with subprocess.Popen(
        command,
        cwd=folder,
        env={**known, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as page:
        try:
            printed, complaints = page.communicate(timeout=90)
        finally:
            end_servers_of(page)
    assert page.returncode == 0, printed + complaints
    return printed


def end_servers_of(page: subprocess.Popen[str]) -> None:
    """A page may leave servers running; they are of the session that was begun for it."""
    with suppress(ProcessLookupError):
        os.killpg(page.pid, signal.SIGKILL)


def test_every_page_is_run() -> None:
    assert sorted(("README.md", *OWN_SERVERS, *ON_THE_PLATFORM)) == PAGES


@pytest.mark.parametrize("name", ON_THE_PLATFORM)
async def test_a_page_on_the_platform_prints_what_it_says(
    natsync: Stack, gateway: GatewayServer, tenants: Tenants, folder: Path, name: str
) -> None:
    if not await tenants.control.records("users", filter=f'email = "{ADMIN}"'):
        login = {"email": ADMIN, "password": PASSWORD, "passwordConfirm": PASSWORD}
        await tenants.control.create("users", {**login, "roles": ["admin"]})
    addresses = {"http://localhost:8080": gateway.url, "nats://127.0.0.1:4222": natsync.nats_url}
    page = Page.named(name, addresses)
    for title, text in {**Page.named("README.md", addresses).files, "page.mjs": page.script}.items():
        (folder / title).write_text(text)
    assert run(folder, ["node", "page.mjs"], {"ADMIN_PASSWORD": PASSWORD}) == page.printed


@pytest.mark.parametrize("name", OWN_SERVERS)
def test_a_page_with_servers_of_its_own_prints_what_it_says(folder: Path, name: str) -> None:
    first = ports_in_a_row(3)
    with pocketbase_server() as pocketbase:
        addresses = {"http://127.0.0.1:8090": pocketbase.url}
        addresses |= {str(4222 + number): str(first + number) for number in range(3)}
        page = Page.named(name, addresses)
        (folder / "page.mjs").write_text(page.script)
        ports = {f"NATSYNC_NATS_{name}_PORT": str(ports_in_a_row(3)) for name in ("WEBSOCKET", "MONITOR", "ROUTES")}
        ports |= {"NATSYNC_NATS_PORT": str(first), "NATS_URL": f"nats://127.0.0.1:{first}"}
        ports |= {"NATSYNC_PORT": str(free_port()), "NATSYNC_OPERATIONS_PORT": str(free_port())}
        assert run(folder, ["bash", "-c", page.shell], ports) == page.printed
