"""A chathub node as it runs in production: its own process, over real servers."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.servers.issuer import AUDIENCE, ISSUER, Issuer
from tests.servers.process import free_port, wait_until_listening


@dataclass(frozen=True, slots=True)
class Chathub:
    port: int
    operations_port: int
    process: subprocess.Popen[bytes]
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
    return subprocess.run(
        [sys.executable, "-m", "chathub", *arguments],
        env={"PATH": os.defpath, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def migrate(database_url: str) -> subprocess.CompletedProcess[str]:
    return run("migrate", environment={"DATABASE_URL": database_url})


def environment(*, database_url: str, nats_url: str, issuer: Issuer) -> dict[str, str]:
    return {
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
    with (
        log.open("ab") as output,
        subprocess.Popen(command, stdout=output, stderr=output, env=variables) as process,
    ):
        try:
            wait_until_listening(process, port, log)
            yield Chathub(port, operations_port, process, log)
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


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
