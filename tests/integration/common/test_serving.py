"""How a service's process ends: in order, in time, and with a status that says why."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.eventually import eventually
from tests.servers.process import free_port, wait_until_listening

REPOSITORY = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, slots=True)
class Sample:
    url: str
    operations_url: str
    process: subprocess.Popen[bytes]
    log: Path

    async def asked(self, what: str) -> None:
        """Wait until the service has begun to work on it."""

        async def logged() -> bool:
            return f'"event": "{what}"' in self.log.read_text()

        await eventually(logged)

    async def ended(self, within_seconds: float) -> int:
        return await asyncio.to_thread(self.process.wait, within_seconds)


@contextmanager
def sample(log: Path, *options: str) -> Generator[Sample]:
    port, operations_port = free_port(), free_port()
    command = [sys.executable, "-m", "tests.servers.sample", str(port), str(operations_port), *options]
    with log.open("ab") as output, subprocess.Popen(command, stdout=output, stderr=output, cwd=REPOSITORY) as process:
        try:
            wait_until_listening(process, port, log)
            yield Sample(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{operations_port}", process, log)
        finally:
            process.kill()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "sample.log"


def text_of(log: Path) -> str:
    return log.read_text()


def lines_of(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text_of(log).splitlines()]


def client() -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=20, trust_env=False)


async def test_told_to_stop_it_finishes_what_is_open_and_takes_nothing_new(log: Path) -> None:
    with sample(log) as service:
        async with client() as open_one, client() as newcomer:
            slow = asyncio.create_task(open_one.get(f"{service.url}/slow?seconds=1.5"))
            await service.asked("slow")
            begun = time.monotonic()
            service.process.send_signal(signal.SIGTERM)

            async def refused() -> bool:
                try:
                    await newcomer.get(service.url)
                except httpx.ConnectError:
                    return True
                except httpx.TransportError:
                    """It was still in the queue of the listener when that was closed."""
                return False

            await eventually(refused)
            assert not slow.done()
            answered = await slow
            status = await service.ended(within_seconds=15)
    assert (answered.status_code, answered.json()) == (200, {"slept": 1.5})
    assert status == 0
    assert time.monotonic() - begun < 10


async def test_a_request_that_does_not_finish_is_cut_off_when_the_time_is_over(log: Path) -> None:
    with sample(log, "drain=1") as service:
        async with client() as patient:
            slow = asyncio.create_task(patient.get(f"{service.url}/slow?seconds=60"))
            await service.asked("slow")
            begun = time.monotonic()
            service.process.send_signal(signal.SIGTERM)
            assert await service.ended(within_seconds=15) == 0
            assert time.monotonic() - begun < 10
            with pytest.raises(httpx.HTTPError):
                (await slow).raise_for_status()


async def test_the_death_of_a_background_loop_ends_the_process_and_says_so(log: Path) -> None:
    with sample(log) as service:
        async with client() as patient:
            slow = asyncio.create_task(patient.get(f"{service.url}/slow?seconds=0.7"))
            await service.asked("slow")
            async with client() as other:
                await other.post(f"{service.url}/die")
            assert (await slow).status_code == 200
            assert await service.ended(within_seconds=15) == 70
    lines = lines_of(log)
    (critical,) = [line for line in lines if line["level"] == "critical"]
    assert critical["event"] == "background loop ended"
    assert "the loop has had enough" in critical["exception"]


async def test_a_background_loop_that_cancels_itself_does_not_end_unnoticed(log: Path) -> None:
    with sample(log) as service:
        async with client() as other:
            await other.post(f"{service.url}/cancel")
        assert await service.ended(within_seconds=15) == 70
    assert [line["event"] for line in lines_of(log) if line["level"] == "critical"] == ["background loop ended"]


async def test_what_never_ends_by_itself_is_ended(log: Path) -> None:
    with sample(log, "stuck", "drain=1", "stop=2") as service:
        begun = time.monotonic()
        service.process.send_signal(signal.SIGTERM)
        assert await service.ended(within_seconds=15) == 1
        assert 1.5 < time.monotonic() - begun < 10
    assert "Timeout (0:00:02)!" in text_of(log)


def test_a_port_that_is_taken_is_a_start_that_failed(log: Path) -> None:
    with sample(log) as service:
        port = service.url.rsplit(":", 1)[1]
        command = [sys.executable, "-m", "tests.servers.sample", port, "0"]
        done = subprocess.run(command, capture_output=True, timeout=20, check=False, cwd=REPOSITORY)
    assert done.returncode == 3


async def test_an_answer_bears_its_request_s_id_and_so_do_the_log_lines(log: Path) -> None:
    with sample(log) as service:
        async with client() as asking:
            given = await asking.get(service.url, headers={"X-Request-Id": "given-1"})
            made = await asking.get(service.url)
            assert (await asking.get(f"{service.operations_url}/readyz")).json()["probes"] == {"itself": "ok"}
    assert given.headers["X-Request-Id"] == "given-1"
    lines = lines_of(log)
    ids = [line["request_id"] for line in lines if line["event"] == "asked"]
    assert ids == ["given-1", made.headers["X-Request-Id"]]
