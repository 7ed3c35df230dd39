"""`natsync export`: the files start nats-servers elsewhere, one or three of them, and natsync keeps these in step."""

import re
import subprocess
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import nats.errors
import pytest

from infra.embedded import binaries
from tests.eventually import eventually
from tests.integration.natsync.test_bootstrap import snapshot
from tests.servers.natsync import Stack, connected_with, prepare, refused, stack, tenants_of
from tests.servers.process import directory, free_port, is_free, is_reserved, server

SECRET = re.compile(r"\bS[OAU][A-Z2-7]{56}\b")
NODES = 3


def ports_in_a_row(number: int) -> int:
    """The first of so many that are free."""
    while True:
        first = free_port()
        if all(is_reserved(first + each) and is_free(first + each) for each in range(1, number)):
            return first


@contextmanager
def bootstrapped() -> Generator[Stack]:
    """PocketBase alone; ports in the exported files are free for as many servers as there may be."""
    names = (
        "NATSYNC_NATS_PORT",
        "NATSYNC_NATS_WEBSOCKET_PORT",
        "NATSYNC_NATS_MONITOR_PORT",
        "NATSYNC_NATS_ROUTES_PORT",
    )
    ports = {name: str(ports_in_a_row(NODES)) for name in names}
    url = ",".join(f"nats://127.0.0.1:{int(ports['NATSYNC_NATS_PORT']) + each}" for each in range(NODES))
    with stack(**ports, NATS_URL=url) as fresh:
        assert fresh.command("bootstrap").returncode == 0
        prepare(fresh.pocketbase)
        yield fresh


@pytest.fixture
def fresh() -> Generator[Stack]:
    with bootstrapped() as running:
        yield running


def moved(fresh: Stack, *options: str) -> Path:
    """The exported folder, at another place than it was written to."""
    written = fresh.home / "written"
    done = fresh.command("export", "-d", str(written), *options)
    assert done.returncode == 0, done.stderr
    assert not any(SECRET.search(text.decode()) for text, _ in snapshot(written).values())
    return written.rename(fresh.home / "else where")


@contextmanager
def started(fresh: Stack, folder: Path, file: str, number: int = 0) -> Generator[str]:
    """A server that is started from a folder of its own, as its README says."""
    port = int(fresh.environment["NATSYNC_NATS_PORT"]) + number
    with directory() as working:
        command = ["env", "--chdir", working, binaries.nats_server(), "--config", folder / file]
        with server(command, port=port, log=working / "nats.log"):
            yield f"nats://127.0.0.1:{port}"
            assert list((working / "nats-data").rglob("*.jwt"))


@pytest.mark.parametrize("options", [(), ("--host", "127.0.0.1")], ids=["this machine", "a machine of its own"])
async def test_one_server_starts_from_the_folder_wherever_it_is(fresh: Stack, options: tuple[str, ...]) -> None:
    folder = moved(fresh, *options)
    assert {path.name for path in folder.iterdir()} == {"operator.jwt", "operator.conf", "nats.conf", "README.md"}
    with started(fresh, folder, "nats.conf") as url, fresh.serving():
        async with tenants_of(fresh) as tenants:
            *_, user, creds = await tenants.someone()
            async with connected_with(url, creds) as live:
                await tenants.control.delete("nats_users", user["id"])
                await live.is_cut()
            assert await refused(url, creds)


async def test_three_servers_form_a_cluster_that_agrees_on_who_may_come_in(fresh: Stack) -> None:
    folder = moved(fresh, "--nodes", str(NODES), "--name", "abroad")
    with ExitStack() as running:
        files = [f"nats-{number}.conf" for number in range(1, NODES + 1)]
        urls = [running.enter_context(started(fresh, folder, file, number)) for number, file in enumerate(files)]
        running.enter_context(fresh.serving())
        async with tenants_of(fresh) as tenants:
            _, _, user, creds = await tenants.someone()
            async with (
                connected_with(urls[0], creds) as here,
                connected_with(urls[1], creds) as there,
                connected_with(urls[2], creds) as yonder,
            ):
                heard = await yonder.hears("news")

                async def told() -> bytes:
                    await here.client.publish("news", b"across")
                    try:
                        return (await heard.next_msg(timeout=0.5)).data
                    except nats.errors.TimeoutError:
                        return b""

                assert await eventually(told) == b"across"
                status = fresh.command("status")
                assert re.search(r"NATS servers: abroad-1, abroad-2, abroad-3", status.stdout), status.stdout
                await tenants.control.update("nats_users", user["id"], {"active": False})
                for live in (here, there, yonder):
                    await live.is_cut()
            for url in urls:
                assert await refused(url, creds)


def test_a_server_that_does_not_know_the_password_is_no_part_of_the_cluster(fresh: Stack) -> None:
    folder = moved(fresh, "--nodes", "2")
    password = re.search(r'password: "([0-9a-f]{64})"', (folder / "nats-1.conf").read_text())
    assert password
    assert password[1] in (folder / "nats-2.conf").read_text()
    assert password[1] not in (folder / "README.md").read_text()


@pytest.mark.parametrize("options", [(), ("--nodes", "3"), ("--host", "n1.example", "--host", "n2.example")])
def test_a_server_finds_no_fault_with_any_file(fresh: Stack, options: tuple[str, ...]) -> None:
    folder = moved(fresh, *options)
    names = sorted(path.name for path in folder.glob("nats*.conf"))
    for name in names if len(names) == 1 else names[:-1]:
        done = subprocess.run(
            [binaries.nats_server(), "-t", "--config", folder / name],
            cwd=fresh.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
        assert "test succeeded" in done.stderr.lower() or "is valid" in done.stderr, (name, done.stderr)


async def test_the_same_ledger_gives_the_same_files_and_each_can_be_printed(fresh: Stack) -> None:
    options = ("--nodes", "3", "--name", "abroad")
    first = moved(fresh, *options)
    again = fresh.command("export", "-d", str(first), *options)
    assert again.stdout == "natsync export: done\n"
    for path in first.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        printed = fresh.command("export", "--print", path.name, *options)
        assert (printed.returncode, printed.stdout.rstrip("\n")) == (0, path.read_text().rstrip("\n"))
    async with tenants_of(fresh) as tenants:
        (row,) = await tenants.control.records("nats_system_operator")
    assert (first / "operator.jwt").read_text().strip() == row["jwt"]


def test_there_is_nothing_to_export_before_the_first_bootstrap_and_no_file_of_another_name(fresh: Stack) -> None:
    unknown = fresh.command("export", "--print", "sys.creds")
    assert unknown.returncode == 2
    assert "operator.conf" in unknown.stderr
    mismatch = fresh.command("export", "--nodes", "3", "--host", "only-one")
    assert mismatch.returncode == 2
    with stack() as empty:
        done = empty.command("export", "-d", str(empty.home / "x"))
        assert done.returncode == 1
        assert "bootstrap" in done.stderr
        assert "bootstrap" in empty.command("status", NATSYNC_WAIT_SECONDS="1").stdout
        assert not (empty.home / "x").exists()
