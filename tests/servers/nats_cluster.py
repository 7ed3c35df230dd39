"""Several nats-servers that trust one operator and form a cluster; each can be stopped, frozen, started again."""

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from infra.embedded import binaries
from tests.servers.process import directory, free_port, server
from tests.servers.programs import Process

TEMPLATE = """
server_name: {name}
listen: "127.0.0.1:{port}"
http: "127.0.0.1:{monitor_port}"
operator: {operator}
system_account: {system_account}
resolver: {resolver}
resolver_preload {{
{preload}
}}
jetstream {{ store_dir: {jetstream}, max_mem: 64MB, max_file: 256MB }}
"""
FULL_RESOLVER = '{{ type: full, dir: {directory}, allow_delete: {allow_delete}, interval: "2m", limit: {limit} }}'
CLUSTER = """
cluster {{ name: tests, listen: "127.0.0.1:{route_port}", routes: [{routes}], pool_size: -1 }}
"""


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom the servers believe. `operator` is a file's path or the token itself."""

    operator: str
    system_account: str
    preload: Mapping[str, str]
    allow_delete: bool = True
    limit: int = 100_000
    resolver: str = FULL_RESOLVER

    @classmethod
    def of(cls, configuration: Path) -> "Trust":
        """That of a nats.conf that natsync wrote."""
        text = configuration.read_text()
        preload = dict(re.findall(r"^  (A[A-Z2-7]{55}): (\S+)$", text, re.MULTILINE))
        return cls(found(r"^operator: \"?(.+?)\"?$", text), found(r"^system_account: (\w+)$", text), preload)


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    assert match, pattern
    return match[1]


@dataclass(slots=True)
class Node:
    name: str
    home: Path
    port: int = field(default_factory=free_port)
    route_port: int = field(default_factory=free_port)
    monitor_port: int = field(default_factory=free_port)
    process: Process | None = None
    _running: ExitStack = field(default_factory=ExitStack)

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def resolver(self) -> Path:
        return self.home / "resolver"

    @property
    def configuration(self) -> Path:
        return self.home / "nats.conf"

    def start(self) -> None:
        command = [binaries.nats_server(), "--config", self.configuration]
        self.process = self._running.enter_context(server(command, port=self.port, log=self.home / "nats.log"))

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(how)
            self.process.wait(10)
            self.process = None
        self._running.close()

    def freeze(self) -> None:
        """It keeps its connections and answers nothing. Returns once all its threads stand still."""
        os.waitid(os.P_PID, self._signal(signal.SIGSTOP), os.WSTOPPED)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def wipe(self) -> None:
        """What it had stored of accounts is gone."""
        shutil.rmtree(self.resolver, ignore_errors=True)

    def _signal(self, what: signal.Signals) -> int:
        """Its process id."""
        assert self.process is not None
        self.process.send_signal(what)
        return self.process.pid

    def routes(self) -> int:
        with httpx.Client(trust_env=False) as client:
            answer = client.get(f"http://127.0.0.1:{self.monitor_port}/routez").raise_for_status().json()
        return len({route["remote_id"] for route in answer["routes"]})


@dataclass(frozen=True, slots=True)
class Cluster:
    nodes: tuple[Node, ...]

    @property
    def url(self) -> str:
        return ",".join(node.url for node in self.nodes)

    def running(self) -> list[Node]:
        return [node for node in self.nodes if node.process is not None]

    def start(self, *nodes: Node) -> None:
        """Those that are named, else all; returns once every running one has a route to every other."""
        for node in nodes or self.nodes:
            if node.process is None:
                node.start()
        self.until_joined()

    def until_joined(self, seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        running = self.running()
        while any(node.routes() < len(running) - 1 for node in running):
            if time.monotonic() > deadline:
                raise TimeoutError("the servers did not find each other")
            time.sleep(0.02)


@contextmanager
def nats_cluster(trust: Trust, *, nodes: int = 3) -> Generator[Cluster]:
    with directory() as home:
        cluster = Cluster(tuple(Node(f"n{number}", home / f"n{number}") for number in range(1, nodes + 1)))
        for node in cluster.nodes:
            node.home.mkdir()
            node.configuration.write_text(configured(node, cluster, trust))
        try:
            cluster.start()
            yield cluster
        finally:
            for node in cluster.nodes:
                node.stop(signal.SIGKILL)


def configured(node: Node, cluster: Cluster, trust: Trust) -> str:
    routes = [f'"nats://127.0.0.1:{other.route_port}"' for other in cluster.nodes if other is not node]
    template = f"{TEMPLATE}{CLUSTER}" if routes else TEMPLATE
    return template.format(
        name=node.name,
        port=node.port,
        monitor_port=node.monitor_port,
        route_port=node.route_port,
        operator=json.dumps(trust.operator),
        system_account=trust.system_account,
        preload="\n".join(f"  {account}: {token}" for account, token in trust.preload.items()),
        resolver=trust.resolver.format(
            directory=json.dumps(str(node.resolver)), allow_delete=json.dumps(trust.allow_delete), limit=trust.limit
        ),
        jetstream=json.dumps(str(node.home / "jetstream")),
        routes=", ".join(routes),
    )
