"""The platform's Caddy in front of a gateway of a test."""

from collections.abc import Generator
from contextlib import contextmanager
from urllib.parse import urlsplit

from infra.embedded import binaries
from infra.embedded.caddy import CADDYFILE
from tests.servers.process import directory, free_port, server


@contextmanager
def caddy_server(gateway_url: str) -> Generator[str]:
    """The address of the one domain."""
    port = free_port()
    with directory() as home:
        environment = {
            "POCKETWIRE_CADDY_MODE": "development",
            "POCKETWIRE_CADDY_HTTP_PORT": str(port),
            "POCKETWIRE_CADDY_HTTPS_PORT": str(free_port()),
            "POCKETWIRE_CADDY_GATEWAY": urlsplit(gateway_url).netloc,
            "POCKETWIRE_CADDY_STORE": str(home),
            "HOME": str(home),
        }
        command = [str(binaries.caddy()), "run", "--config", str(CADDYFILE), "--adapter", "caddyfile"]
        with server(command, port=port, log=home / "caddy.log", environment=environment):
            yield f"http://127.0.0.1:{port}"
