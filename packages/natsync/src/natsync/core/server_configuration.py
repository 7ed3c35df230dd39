"""The nats.conf that makes a server trust this operator. Every path in it is absolute."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath

_TEMPLATE = """\
# Written by `natsync bootstrap`; changes made here are lost.
server_name: pocketwire
listen: "127.0.0.1:{port}"
http: "127.0.0.1:{monitor_port}"

max_payload: 1MB
max_connections: 65536
write_deadline: "10s"

operator: {operator}
system_account: {system_account}

resolver {{
  type: full
  dir: {resolver}
  allow_delete: true
  interval: "2m"
  limit: 1000000
}}

resolver_preload {{
{preload}
}}

jetstream {{
  store_dir: {jetstream}
  sync_interval: always
}}

websocket {{
  listen: "127.0.0.1:{websocket_port}"
  no_tls: true
}}
"""


@dataclass(frozen=True, slots=True)
class Ports:
    client: int
    websocket: int
    monitor: int


def render(
    *, ports: Ports, operator: PurePath, store: PurePath, system_account: str, preload: Mapping[str, str]
) -> str:
    return _TEMPLATE.format(
        port=ports.client,
        monitor_port=ports.monitor,
        websocket_port=ports.websocket,
        operator=quoted(operator),
        system_account=system_account,
        resolver=quoted(store / "resolver"),
        jetstream=quoted(store / "jetstream"),
        preload="\n".join(f"  {account}: {jwt}" for account, jwt in preload.items()),
    )


def quoted(path: PurePath) -> str:
    return json.dumps(str(path))
