"""A private nats-server with JetStream: open, or with a configuration file of the caller's."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from infra.embedded import binaries
from tests.servers.process import directory, free_port, server
from tests.servers.programs import Process

OPEN = """
jetstream {{ store_dir: "{home}/jetstream", sync_interval: always }}
"""


@contextmanager
def nats_server(configuration: Path | None = None, port: int | None = None) -> Generator[str]:
    """Yields the client URL. A configuration file must not name a port: the one chosen here is passed beside it."""
    with directory() as home:
        chosen = port or free_port()
        with nats_process(configuration or open_configuration(home), chosen, home / "nats.log"):
            yield f"nats://127.0.0.1:{chosen}"


@contextmanager
def nats_process(configuration: Path, port: int, log: Path) -> Generator[Process]:
    """For tests that stop it hard, and start it again over what it had stored."""
    command = [binaries.nats_server(), "--config", configuration, "--addr", "127.0.0.1", "--port", str(port)]
    with server(command, port=port, log=log) as process:
        yield process


def open_configuration(home: Path) -> Path:
    configuration = home / "nats.conf"
    configuration.write_text(OPEN.format(home=home))
    return configuration
