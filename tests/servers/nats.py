"""A private nats-server with JetStream: open, or with a configuration file of the caller's."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from infra.embedded import binaries
from tests.servers.process import directory, free_port, server

OPEN = """
jetstream {{ store_dir: "{home}/jetstream", sync_interval: always }}
"""


@contextmanager
def nats_server(configuration: Path | None = None, port: int | None = None) -> Generator[str]:
    """Yields the client URL. A configuration file must not name a port: the one chosen here is passed beside it."""
    with directory() as home:
        if configuration is None:
            configuration = home / "nats.conf"
            configuration.write_text(OPEN.format(home=home))
        chosen = port or free_port()
        command = [binaries.nats_server(), "--config", configuration, "--addr", "127.0.0.1", "--port", str(chosen)]
        with server(command, port=chosen, log=home / "nats.log"):
            yield f"nats://127.0.0.1:{chosen}"
