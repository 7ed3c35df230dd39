"""A private Valkey that keeps nothing on disk."""

from collections.abc import Generator
from contextlib import contextmanager

from infra.embedded import binaries
from tests.servers.process import directory, free_port, server


@contextmanager
def valkey_server(port: int | None = None) -> Generator[str]:
    with directory() as home:
        chosen = port or free_port()
        command = [binaries.valkey_server(), "--bind", "127.0.0.1", "--port", str(chosen), "--save", ""]
        with server(command, port=chosen, log=home / "valkey.log"):
            yield f"redis://127.0.0.1:{chosen}/0"
