"""One kept connection to each worker of a gateway, though all of them listen on one port."""

import contextlib
import http.client
import socket
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.direct_pocketbase import Answer, Asking
from tests.servers.gateway import GatewayServer

PATIENCE_SECONDS = 30
ESTABLISHED = "01"


class WorkerConnection(Asking):
    def __init__(self, gateway: GatewayServer, process_id: int) -> None:
        super().__init__(connected(gateway, process_id))
        self._gateway = gateway
        self._process_id = process_id

    def ask(
        self,
        target: str,
        token: str = "",
        *,
        method: str = "GET",
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        try:
            return super().ask(target, token, method=method, body=body, headers=headers)
        except ConnectionError:  # a connection that is not used is closed after a while
            self.close()
            self._connection = connected(self._gateway, self._process_id)
            return super().ask(target, token, method=method, body=body, headers=headers)

    def close(self) -> None:
        self._connection.close()


@contextmanager
def worker_connections(gateway: GatewayServer, *, workers: int) -> Generator[tuple[WorkerConnection, ...]]:
    with contextlib.ExitStack() as opened:
        found = tuple(WorkerConnection(gateway, id) for id in processes_of(gateway, workers))
        for connection in found:
            opened.callback(connection.close)
        yield found


def processes_of(gateway: GatewayServer, workers: int) -> list[int]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(found := gateway.workers()) < workers and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(found) == workers
    return sorted(found)


def connected(gateway: GatewayServer, process_id: int) -> http.client.HTTPConnection:
    """The kernel gives a connection to whichever worker it likes: those that another one got are held meanwhile."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    with contextlib.ExitStack() as others:
        while time.monotonic() < deadline:
            connection = answered(gateway)
            if connection.sock and is_held_by(process_id, inode_of(connection.sock)):
                return connection
            others.callback(connection.close)
    raise AssertionError(f"the worker {process_id} takes no connection")


def answered(gateway: GatewayServer) -> http.client.HTTPConnection:
    """A connection that a worker has taken."""
    address = urlsplit(gateway.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=PATIENCE_SECONDS)
    connection.request("GET", "/.well-known/jwks.json")
    connection.getresponse().read()
    return connection


def inode_of(ours: socket.socket) -> str:
    """Of the other end of a connection, which is on this machine as well; /proc/net/tcp as proc_pid_net(5) has it."""
    near, far = (f":{end[1]:04X}" for end in (ours.getsockname(), ours.getpeername()))
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state, *rest = line.split()
        if state == ESTABLISHED and local.endswith(far) and remote.endswith(near):
            return rest[5]
    raise AssertionError("the connection is gone")


def is_held_by(process_id: int, inode: str) -> bool:
    for link in Path(f"/proc/{process_id}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed in between
            if str(link.readlink()) == f"socket:[{inode}]":
                return True
    return False
