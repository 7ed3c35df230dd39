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
    process_id: int
    email: str = SUPERUSER_EMAIL
    password: str = SUPERUSER_PASSWORD


@contextmanager
def pocketbase_server(hooks: str = "") -> Generator[PocketBaseServer]:
    """`hooks` is JavaScript that PocketBase runs."""
    with directory() as home:
        if hooks:
            (home / "pb_hooks").mkdir()
            (home / "pb_hooks" / "main.pb.js").write_text(hooks)
        with serving(home, free_port()) as running:
            yield running


@contextmanager
def serving(home: Path, port: int) -> Generator[PocketBaseServer]:
    """Serve the data in `home`, made at the first call; a second call with the same arguments is a restart."""
    data = home / "pb_data"
    common = [str(binaries.pocketbase()), f"--dir={data}"]
    if not data.exists():
        upsert = [*common, "superuser", "upsert", SUPERUSER_EMAIL, SUPERUSER_PASSWORD]
        subprocess.run(upsert, check=True, capture_output=True)
    with server([*common, "serve", f"--http=127.0.0.1:{port}"], port=port, log=home / "pocketbase.log") as process:
        yield PocketBaseServer(f"http://127.0.0.1:{port}", data, process.pid)
