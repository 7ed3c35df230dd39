"""Starting, dying, and what goes wrong at the start."""

import asyncio
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from infra.embedded.status import State
from tests.eventually import eventually
from tests.journeys.journey import walk
from tests.servers.platform import REPOSITORY, Home, RunningPlatform, empty_home
from tests.servers.platform import platform as another_platform

UP = [sys.executable, "-m", "infra.embedded", "up"]
ODD_SECRET = "a b\"c/d@e:f%41#g'h\\i"
SECRETS = ("VALKEY_PASSWORD", "POSTGRES_PASSWORD", "CHATHUB_DATABASE_PASSWORD", "POCKETBASE_SUPERUSER_PASSWORD")
PARTS = ["postgres", "valkey", "pocketbase", "nats", "natsync", "gateway", "chathub", "caddy"]


def test_a_cold_start_takes_at_most_fifteen_seconds(platform: RunningPlatform) -> None:
    """The quickest of three: whatever else the machine does only makes it slower."""
    seconds = [platform.start_seconds]
    while min(seconds) > 15 and len(seconds) < 3:
        with another_platform() as again:
            seconds.append(again.start_seconds)
    assert min(seconds) <= 15


def test_the_first_start_prints_the_admin_login(platform: RunningPlatform) -> None:
    assert platform.home.settings.admin_password in platform.output


@pytest.mark.parametrize("name", PARTS)
async def test_a_killed_part_is_green_again_within_ten_seconds(platform: RunningPlatform, name: str) -> None:
    home = platform.home
    before = home.parts()[name]
    assert before.pid is not None
    started = time.monotonic()
    os.kill(before.pid, signal.SIGKILL)

    async def is_back() -> bool:
        return home.parts()[name].pid != before.pid and home.is_green()

    await eventually(is_back, seconds=10)
    print(f"{name} green again after {time.monotonic() - started:.1f} s")  # noqa: T201 - a figure people ask for


async def test_a_user_gets_through_after_all_those_deaths(platform: RunningPlatform) -> None:
    assert [seen async for seen in walk(platform.home.address)]


async def test_a_killed_supervisor_comes_back_with_everything(platform: RunningPlatform) -> None:
    home = platform.home
    pids = {part.pid for part in home.parts().values()}
    keeper = int((home.data / "run" / "lock").read_text())
    os.kill(child_of(keeper), signal.SIGKILL)

    async def is_back() -> bool:
        return home.is_green() and not pids & {part.pid for part in home.parts().values()}

    await eventually(is_back)
    assert [seen async for seen in walk(home.address)]


def child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def test_a_second_up_says_so(platform: RunningPlatform) -> None:
    again = platform.home.command("up", "--detach")
    assert again.returncode == 1
    assert again.stderr.count("\n") == 1
    assert "already running" in again.stderr
    assert platform.home.is_green()


def test_status_shows_every_part(platform: RunningPlatform) -> None:
    shown = platform.home.command("status")
    assert shown.returncode == 0
    assert all(name in shown.stdout for name in PARTS)


def test_logs_of_an_unknown_part_name_those_there_are(platform: RunningPlatform) -> None:
    shown = platform.home.command("logs", "gatewy")
    assert shown.returncode == 1
    assert "gateway" in shown.stderr


def refused(home: Home, *, because: str, **more: str) -> None:
    answer = home.command("up", "--detach", **more)
    assert answer.returncode != 0
    assert because in answer.stderr
    assert answer.stderr.count("\n") == 1, answer.stderr
    assert not home.is_running()
    assert not home.parts()


def test_a_taken_port_is_named_with_its_setting(home: Home) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = str(taken.getsockname()[1])
        refused(home, because="POCKETWIRE_VALKEY_PORT", POCKETWIRE_VALKEY_PORT=number)


def test_a_missing_secret_is_named(home: Home) -> None:
    home.data.mkdir()
    (home.data / "initialised").touch()
    (home.folder / ".env").write_text("VALKEY_PASSWORD=x\n")
    refused(home, because="NATSYNC_ENCRYPTION_KEY")


def test_an_unwritable_data_folder_is_named(home: Home) -> None:
    home.data.write_text("in the way")
    answer = home.command("up", "--detach")
    assert answer.returncode != 0
    assert str(home.data) in answer.stderr
    assert answer.stderr.count("\n") == 1
    home.data.unlink()


def test_a_port_that_is_no_port_is_named(home: Home) -> None:
    refused(home, because="POCKETWIRE_HTTP_PORT", POCKETWIRE_HTTP_PORT="70000")


async def test_a_service_that_refuses_its_settings_stops_the_start_with_its_own_words(home: Home) -> None:
    answer = await home.run("up", "--detach", GATEWAY_MAX_BODY_BYTES="much")
    assert answer.returncode == 1
    assert "GATEWAY_MAX_BODY_BYTES" in answer.stderr
    assert not home.is_running()


@pytest.fixture(scope="module")
def stopped_home() -> Generator[Home]:
    """Started once, with secrets of the user's own, and stopped."""
    with empty_home(**dict.fromkeys(SECRETS, ODD_SECRET)) as home:
        first = home.command("up", "--detach")
        assert first.returncode == 0, first.stderr
        stopped = home.command("down")
        assert stopped.returncode == 0, stopped.stderr
        yield home


def test_stopping_ends_every_part(stopped_home: Home) -> None:
    assert {part.state for part in stopped_home.parts().values()} == {State.STOPPED}
    assert not stopped_home.is_running()
    assert not processes_of(stopped_home)


def test_secrets_of_the_users_own_may_hold_any_character(stopped_home: Home) -> None:
    logs = list((stopped_home.data / "logs").iterdir())
    assert logs
    assert not [log for log in logs if ODD_SECRET in log.read_text(errors="replace")]


def test_starting_again_changes_nothing_that_lasts(stopped_home: Home) -> None:
    env = (stopped_home.folder / ".env").read_text()
    trust = {file: file.read_bytes() for file in (stopped_home.data / "natsync").rglob("*") if file.is_file()}
    second = stopped_home.command("up", "--detach")
    assert second.returncode == 0, second.stderr
    assert stopped_home.command("down").returncode == 0
    assert stopped_home.settings.admin_password not in second.stdout
    assert (stopped_home.folder / ".env").read_text() == env
    assert {file: file.read_bytes() for file in trust} == trust


def test_a_wrong_superuser_password_stops_the_start_with_one_line(stopped_home: Home) -> None:
    answer = stopped_home.command("up", "--detach", POCKETBASE_SUPERUSER_PASSWORD="not-the-password")
    assert answer.returncode == 1
    assert "POCKETBASE_SUPERUSER_PASSWORD" in answer.stderr
    assert not stopped_home.is_running()


async def test_of_two_starts_at_once_one_wins_and_ends_when_its_data_is_deleted(home: Home) -> None:
    async with asyncio.TaskGroup() as tasks:
        starts = [tasks.create_task(home.run("up", "--detach")) for _ in range(2)]
    answers = [start.result() for start in starts]
    assert sorted(answer.returncode for answer in answers) == [0, 1]
    assert "already running" in next(answer.stderr for answer in answers if answer.returncode)
    assert processes_of(home)
    shutil.rmtree(home.data)

    async def is_gone() -> bool:
        return not processes_of(home)

    await eventually(is_gone, seconds=30)


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (signal.SIGINT, "supervisor"),
        (signal.SIGHUP, "supervisor"),
        (signal.SIGTERM, "supervisor"),
        (signal.SIGTERM, "natsync"),
    ],
)
async def test_a_start_that_is_interrupted_leaves_nothing(home: Home, number: signal.Signals, moment: str) -> None:
    quiet = asyncio.subprocess.DEVNULL
    up = await asyncio.create_subprocess_exec(*UP, cwd=REPOSITORY, env=home.environment, stdout=quiet, stderr=quiet)

    async def is_under_way() -> bool:
        return (home.data / "logs" / f"{moment}.log").exists()

    await eventually(is_under_way)
    up.send_signal(number)
    assert await asyncio.wait_for(up.wait(), 30) == 0
    assert not home.is_running()
    assert not processes_of(home)


def processes_of(home: Home) -> list[int]:
    """Everything that was started with this home, whoever its parent is by now."""
    found: list[int] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment, command = (process / "environ").read_bytes(), (process / "cmdline").read_bytes()
        except OSError:
            continue
        if str(home.folder).encode() in environment + command and int(process.name) != os.getpid():
            found.append(int(process.name))
    return found
