"""A private PostgreSQL 18; its superuser may make databases."""

import signal
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager

from infra.embedded import binaries, postgres
from tests.servers.process import PATIENCE_SECONDS, directory, free_port, server

PASSWORD = "postgres-in-tests"


@contextmanager
def postgres_server() -> Generator[str]:
    """Yields the URL of the superuser's database `postgres`."""
    with directory() as home:
        port = free_port()
        postgres.initialise(home / "data", password=PASSWORD)
        command = [*postgres.command(home / "data", port=port), "--fsync=off"]
        with server(command, port=port, log=home / "postgres.log", stop=signal.SIGINT):
            wait_until_accepting(port)
            yield f"postgresql://postgres:{PASSWORD}@127.0.0.1:{port}/postgres"


def wait_until_accepting(port: int) -> None:
    """It listens a little before it lets anybody in."""
    ask = [str(binaries.postgres("pg_isready")), "--host=127.0.0.1", f"--port={port}", "--quiet"]
    deadline = time.monotonic() + PATIENCE_SECONDS
    while subprocess.run(ask, check=False).returncode != 0:
        if time.monotonic() > deadline:
            raise TimeoutError(f"PostgreSQL accepts nobody on {port}")
        time.sleep(0.02)
