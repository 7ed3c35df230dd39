"""A chathub node as it runs in production: its own process, over real servers."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx

from tests.servers import programs
from tests.servers.issuer import AUDIENCE, ISSUER, Issuer
from tests.servers.process import free_port, server
from tests.servers.programs import Process


@dataclass(frozen=True, slots=True)
class Chathub:
    port: int
    operations_port: int
    process: Process
    log: Path

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    @property
    def readyz(self) -> str:
        return f"http://127.0.0.1:{self.operations_port}/readyz"

    def stop(self, seconds: float = 15) -> int:
        """Ask it to end, and wait; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


def run(*arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "chathub", *arguments]
    return programs.run(command, environment={"PATH": os.defpath, **environment})


def migrate(database_url: str) -> subprocess.CompletedProcess[str]:
    return run("migrate", environment={"DATABASE_URL": database_url})


def migrated(database_url: str) -> None:
    """With a limit on messages that no test meets by chance."""
    done = migrate(database_url)
    assert done.returncode == 0, done.stderr
    asyncio.run(set_limit(database_url, 1_000_000))


async def set_limit(database_url: str, messages: int, window_seconds: int = 60) -> None:
    connection = await asyncpg.connect(database_url)
    change = "update chatserver.rate_limiter set message_limit = $1, window_seconds = $2"
    await connection.execute(change, messages, window_seconds)
    await connection.close()


def environment(*, database_url: str, nats_url: str, issuer: Issuer) -> dict[str, str]:
    return {
        "VALKEY_URL": "redis://127.0.0.1:1/0",  # nobody's: each node counts by itself
        "CHATHUB_PRESENCE_GRACE_SECONDS": "1",
        "CHATHUB_FRAMES_BURST": "100000",
        "CHATHUB_REQUESTS_PER_MINUTE": "1000000",
        "CHATHUB_CONNECTS_PER_MINUTE_PER_USER": "1000000",
        "CHATHUB_REFUSALS_PER_MINUTE": "1000000",
        "CHATHUB_DRAIN_SECONDS": "0.5",
        "DATABASE_URL": database_url,
        "NATS_URL": nats_url,
        "CHATHUB_ISSUER": ISSUER,
        "CHATHUB_JWKS_URL": issuer.jwks_url,
        "CHATHUB_AUDIENCE": AUDIENCE,
    }


@contextmanager
def chathub(log: Path, given: Mapping[str, str]) -> Generator[Chathub]:
    port, operations_port = free_port(), free_port()
    variables = {
        "PATH": os.defpath,
        "CHATHUB_PORT": str(port),
        "CHATHUB_OPERATIONS_PORT": str(operations_port),
        **given,
    }
    command = [sys.executable, "-m", "chathub", "serve"]
    with server(command, port=port, log=log, environment=variables) as process:
        yield Chathub(port, operations_port, process, log)


def wait_until_ready(node: Chathub, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    last = ""
    while time.monotonic() < deadline:
        try:
            answer = httpx.get(node.readyz, trust_env=False)
            last = answer.text
            if answer.status_code == 200:
                return
        except httpx.TransportError as error:
            last = str(error)
        time.sleep(0.02)
    raise TimeoutError(f"not ready: {last}; {node.log.read_text(errors='replace')}")
