"""A private PocketBase with a superuser."""

import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.embedded import binaries
from tests.servers.process import directory, free_port, server

SUPERUSER_EMAIL = "root@example.com"
SUPERUSER_PASSWORD = "correct-horse-battery"


@dataclass(frozen=True, slots=True)
class PocketBaseServer:
    url: str
    data: Path
    email: str = SUPERUSER_EMAIL
    password: str = SUPERUSER_PASSWORD


@contextmanager
def pocketbase_server() -> Generator[PocketBaseServer]:
    with directory() as home:
        data, port = home / "pb_data", free_port()
        common = [str(binaries.pocketbase()), f"--dir={data}"]
        subprocess.run(
            [*common, "superuser", "upsert", SUPERUSER_EMAIL, SUPERUSER_PASSWORD], check=True, capture_output=True
        )
        with server([*common, "serve", f"--http=127.0.0.1:{port}"], port=port, log=home / "pocketbase.log"):
            yield PocketBaseServer(f"http://127.0.0.1:{port}", data)
