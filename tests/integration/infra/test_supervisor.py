"""The supervisor with small programs in place of servers."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from infra.embedded import status
from infra.embedded.graph import Part, Step, StepFailed
from infra.embedded.status import PartStatus, State
from infra.embedded.supervisor import Supervisor
from tests.eventually import eventually

PROGRAM = "import pathlib, signal, sys; print('hello', flush=True); pathlib.Path(sys.argv[1]).touch(); signal.pause()"


def part(data: Path, name: str, *needs: str) -> Part:
    flag = data / name

    async def is_ready() -> bool:
        return flag.exists()

    return Part(name, (sys.executable, "-c", PROGRAM, str(flag)), {}, is_ready, needs)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for folder in ("logs", "run"):
        (tmp_path / folder).mkdir()
    return tmp_path


@asynccontextmanager
async def running(parts: list[Part], steps: list[Step], data: Path) -> AsyncGenerator[asyncio.Future[None]]:
    supervisor = Supervisor(parts, steps, data)
    run = asyncio.ensure_future(supervisor.run())
    try:
        yield run
    finally:
        supervisor.stop()
        await asyncio.wait([run])


async def seen(data: Path) -> dict[str, PartStatus]:
    return {one.name: one for one in status.read(data).parts}


def green(parts: dict[str, PartStatus]) -> bool:
    return status.all_green(parts.values())


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_parts_wait_for_what_they_need_and_turn_green(data: Path) -> None:
    order: list[str] = []

    async def note() -> None:
        order.append("first is ready" if (data / "first").exists() else "too early")

    parts = [part(data, "first"), part(data, "second", "step")]
    async with running(parts, [Step("step", note, ("first",))], data):
        await eventually(lambda: seen(data), green)
    assert order == ["first is ready"]
    assert (data / "logs" / "first.log").read_text() == "hello\n"


async def test_a_killed_part_is_green_again_within_five_seconds(data: Path) -> None:
    async with running([part(data, "only")], [], data):
        before = (await eventually(lambda: seen(data), green))["only"]
        assert before.pid is not None
        os.kill(before.pid, signal.SIGKILL)

        def is_back(parts: dict[str, PartStatus]) -> bool:
            return green(parts) and parts["only"].pid != before.pid

        after = (await eventually(lambda: seen(data), is_back, seconds=5))["only"]
        assert after.restarts == 1


async def test_stopping_leaves_no_process(data: Path) -> None:
    async with running([part(data, "a"), part(data, "b", "a")], [], data):
        pids = [one.pid for one in (await eventually(lambda: seen(data), green)).values()]
    assert [one.state for one in (await seen(data)).values()] == [State.STOPPED, State.STOPPED]
    assert not any(is_alive(pid) for pid in pids if pid is not None)


async def test_a_failed_step_stops_everything_and_says_why(data: Path) -> None:
    async def fail() -> None:
        raise StepFailed("the disk is on fire")

    async with running([part(data, "a"), part(data, "b", "step")], [Step("step", fail, ("a",))], data) as run:
        with pytest.raises(StepFailed, match="the disk is on fire"):
            await asyncio.wait_for(asyncio.shield(run), 10)
    assert (await seen(data))["b"].state is State.WAITING
    assert (await seen(data))["a"].state is State.STOPPED


async def test_a_program_that_cannot_be_started_stops_everything_and_is_named(data: Path) -> None:
    missing = Part("b", ("/nowhere/to-be-found",), {}, part(data, "b").is_ready, ("a",))
    async with running([part(data, "a"), missing], [], data) as run:
        with pytest.raises(FileNotFoundError, match="to-be-found"):
            await asyncio.wait_for(asyncio.shield(run), 10)
    assert (await seen(data))["a"].state is State.STOPPED


async def test_a_log_is_bounded(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.embedded.process.LOG_BYTES", 3)
    monkeypatch.setattr("infra.embedded.supervisor.HOUSEKEEPING_SECONDS", 0.01)
    async with running([part(data, "a")], [], data):
        await eventually(lambda: asyncio.to_thread((data / "logs" / "a.log.1").exists))
    assert (data / "logs" / "a.log").read_text() == ""
