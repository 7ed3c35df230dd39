"""A gateway of its own process, on free ports, in front of servers that are given."""

import base64
import secrets
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers.pocketbase import PocketBaseServer
from tests.servers.process import directory, free_port, server

ISSUER = "http://localhost:8080"


@dataclass(frozen=True, slots=True)
class GatewayServer:
    url: str
    operations_url: str
    signing_key: bytes
    session_key: bytes
    log: Path


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextmanager
def gateway_server(
    pocketbase: PocketBaseServer, valkey_url: str, changed: Mapping[str, str] | None = None
) -> Generator[GatewayServer]:
    port, operations_port = free_port(), free_port()
    signing_key, session_key = secrets.token_bytes(31).rjust(32, b"\1"), secrets.token_bytes(32)
    environment = {
        "POCKETBASE_URL": pocketbase.url,
        "VALKEY_URL": valkey_url,
        "GATEWAY_PORT": str(port),
        "GATEWAY_OPERATIONS_PORT": str(operations_port),
        "GATEWAY_ISSUER": ISSUER,
        "GATEWAY_SIGNING_KEY": base64url(signing_key),
        "GATEWAY_SESSION_KEY": base64url(session_key),
        "GATEWAY_POCKETBASE_EMAIL": pocketbase.email,
        "GATEWAY_POCKETBASE_PASSWORD": pocketbase.password,
        **(changed or {}),
    }
    with directory() as home:
        log = home / "gateway.log"
        command = [sys.executable, "-m", "gateway", "serve"]
        with server(command, port=port, log=log, environment=environment):
            yield GatewayServer(
                f"http://127.0.0.1:{port}", f"http://127.0.0.1:{operations_port}", signing_key, session_key, log
            )
