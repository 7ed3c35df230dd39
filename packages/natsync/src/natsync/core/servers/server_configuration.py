"""What nats-server is configured with so that it trusts this operator.

`render` is for the one server beside natsync: every path in it is absolute. `exported` is for servers elsewhere: what
belongs together lies in one folder, which may be copied anywhere.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - for servers that are told so
LOGIN_SECONDS = 3
"""What a login may take. An auth callout is answered a second before that, if only to say no."""

_LIMITS = f"""\
max_payload: 1MB
max_connections: 65536
write_deadline: "10s"
authorization {{ timeout: {LOGIN_SECONDS} }}
"""

_LISTENERS = """\
server_name: {name}
listen: "{address}:{client_port}"
http: "{monitor_address}:{monitor_port}"
"""

_TRUST = """\
operator: {operator}
system_account: {system_account}
{sentinel}
resolver_preload {{
{preload}
}}
"""

_STORES = """\
resolver {{
  type: full
  dir: {resolver}
  allow_delete: true
  interval: "2m"
  limit: 1000000
}}

jetstream {{
  store_dir: {jetstream}
  sync_interval: always
}}
"""

_WEBSOCKET = """\
websocket {{
  listen: "{address}:{port}"
  no_tls: true
}}
"""

_CLUSTER = """\
cluster {{
  name: {name}
  listen: "{address}:{port}"
  authorization {{ user: natsync, password: {password} }}
  routes: [
{routes}
  ]
}}
"""


@dataclass(frozen=True, slots=True)
class Ports:
    client: int = 4222
    websocket: int = 9222
    monitor: int = 8222
    routes: int = 6222

    def plus(self, number: int) -> "Ports":
        return Ports(self.client + number, self.websocket + number, self.monitor + number, self.routes + number)


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom a server believes. `preload` are tokens by account; `sentinel` is the token of who logs in without one."""

    operator_token: str
    system_account: str
    preload: Mapping[str, str]
    sentinel: str = ""


BELOW = PurePath("nats-data")


@dataclass(frozen=True, slots=True)
class Layout:
    """Where servers are to run. Without `hosts` all of them run on one machine, each on ports of its own.

    `store` is the folder for accounts and streams; a relative one lies below where nats-server is started.
    """

    nodes: int = 1
    hosts: tuple[str, ...] = ()
    ports: Ports = Ports()
    store: PurePath = BELOW
    cluster: str = "pocketwire"
    cluster_password: str = ""

    def name_of(self, number: int) -> str:
        return self.cluster if self.nodes == 1 else f"{self.cluster}-{number}"

    def ports_of(self, number: int) -> Ports:
        return self.ports if self.hosts else self.ports.plus(number - 1)

    @property
    def address(self) -> str:
        return EVERYWHERE if self.hosts else LOOPBACK

    def route_to(self, number: int) -> str:
        host = self.hosts[number - 1] if self.hosts else LOOPBACK
        return f"nats-route://natsync:{self.cluster_password}@{host}:{self.ports_of(number).routes}"


def render(trust: Trust, *, ports: Ports, operator: PurePath, store: PurePath) -> str:
    parts = (
        "# Written by `natsync bootstrap`; changes made here are lost.",
        listeners("pocketwire", LOOPBACK, ports),
        _LIMITS,
        trusting(trust, quoted(operator)),
        stores(store),
        _WEBSOCKET.format(address=LOOPBACK, port=ports.websocket),
    )
    return "\n".join(parts)


def exported(trust: Trust, layout: Layout) -> dict[str, str]:
    """The files by name."""
    head = "# Written by `natsync export`."
    operator = "\n".join((head, "# Whom nats-server believes.", trusting(trust, trust.operator_token)))
    files = {"operator.jwt": trust.operator_token, "operator.conf": operator}
    shared = "\n".join((head, 'include "operator.conf"\n', _LIMITS))
    if layout.nodes == 1:
        files["nats.conf"] = "\n".join((shared, node(layout, 1)))
    else:
        files["nats.conf"] = f"{shared}\n# The rest is in nats-<n>.conf, which includes this file.\n"
        for number in range(1, layout.nodes + 1):
            files[f"nats-{number}.conf"] = "\n".join((head, 'include "nats.conf"\n', node(layout, number)))
    return files


def node(layout: Layout, number: int) -> str:
    ports, name = layout.ports_of(number), layout.name_of(number)
    store = layout.store if layout.nodes == 1 else layout.store / name
    parts = [
        listeners(name, layout.address, ports),
        stores(store),
        _WEBSOCKET.format(address=layout.address, port=ports.websocket),
    ]
    if layout.nodes > 1:
        parts.append(cluster(layout, number))
    return "\n".join(parts)


def cluster(layout: Layout, number: int) -> str:
    others: Sequence[int] = [other for other in range(1, layout.nodes + 1) if other != number]
    return _CLUSTER.format(
        name=layout.cluster,
        address=layout.address,
        port=layout.ports_of(number).routes,
        password=json.dumps(layout.cluster_password),
        routes="\n".join(f'    "{layout.route_to(other)}"' for other in others),
    )


def listeners(name: str, address: str, ports: Ports) -> str:
    return _LISTENERS.format(
        name=name,
        address=address,
        client_port=ports.client,
        monitor_address=LOOPBACK,
        monitor_port=ports.monitor,
    )


def trusting(trust: Trust, operator: str) -> str:
    return _TRUST.format(
        operator=operator,
        system_account=trust.system_account,
        sentinel=f'default_sentinel: "{trust.sentinel}"\n' if trust.sentinel else "",
        preload="\n".join(f"  {account}: {token}" for account, token in trust.preload.items()),
    )


def stores(store: PurePath) -> str:
    return _STORES.format(resolver=quoted(store / "resolver"), jetstream=quoted(store / "jetstream"))


def quoted(path: PurePath) -> str:
    return json.dumps(str(path))
