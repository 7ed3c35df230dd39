"""A private PostgreSQL 18; its superuser may make databases."""

import signal
from collections.abc import Generator
from contextlib import contextmanager

from infra.embedded import postgres
from infra.embedded.accounts import unprivileged
from tests.servers.process import directory, free_port, server

PASSWORD = "postgres-in-tests"


@contextmanager
def postgres_server() -> Generator[str]:
    """Yields the URL of the superuser's database `postgres`."""
    with directory() as home:
        account, port = unprivileged(), free_port()
        postgres.initialise(home / "data", password=PASSWORD, account=account)
        command = [*postgres.command(home / "data", port=port, account=account), "--fsync=off"]
        with server(command, port=port, log=home / "postgres.log", stop=signal.SIGINT):
            yield f"postgresql://postgres:{PASSWORD}@127.0.0.1:{port}/postgres"
