"""Which ports the platform is about to take, and whether they are free."""

import errno
import socket
from dataclasses import dataclass

from infra.embedded.settings import PlatformSettings

LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - Caddy is the one server that is meant to be reached from outside


@dataclass(frozen=True, slots=True)
class Port:
    number: int
    owner: str
    setting: str
    host: str = LOOPBACK


class PortTaken(Exception):
    """The message names the port, who wanted it, and the setting that moves it."""


def wanted(settings: PlatformSettings) -> list[Port]:
    ports = [
        Port(settings.gateway_port, "gateway", "POCKETWIRE_GATEWAY_PORT"),
        Port(settings.gateway_operations_port, "gateway", "POCKETWIRE_GATEWAY_OPERATIONS_PORT"),
        Port(settings.natsync_port, "natsync", "POCKETWIRE_NATSYNC_PORT"),
        Port(settings.natsync_operations_port, "natsync", "POCKETWIRE_NATSYNC_OPERATIONS_PORT"),
        Port(settings.chathub_port, "chathub", "POCKETWIRE_CHATHUB_PORT"),
        Port(settings.chathub_operations_port, "chathub", "POCKETWIRE_CHATHUB_OPERATIONS_PORT"),
    ]
    if settings.domain:
        ports += [Port(80, "caddy", "DOMAIN", EVERYWHERE), Port(443, "caddy", "DOMAIN", EVERYWHERE)]
    else:
        ports += [
            Port(settings.http_port, "caddy", "POCKETWIRE_HTTP_PORT", EVERYWHERE),
            Port(settings.https_port, "caddy", "POCKETWIRE_HTTPS_PORT", EVERYWHERE),
        ]
    if settings.pocketbase_url is None:
        ports.append(Port(settings.pocketbase_port, "pocketbase", "POCKETWIRE_POCKETBASE_PORT"))
    if settings.database_url is None:
        ports.append(Port(settings.postgres_port, "postgres", "POCKETWIRE_POSTGRES_PORT"))
    if settings.valkey_url is None:
        ports.append(Port(settings.valkey_port, "valkey", "POCKETWIRE_VALKEY_PORT"))
    if settings.nats_url is None:
        ports += [
            Port(settings.nats_port, "nats", "POCKETWIRE_NATS_PORT"),
            Port(settings.nats_websocket_port, "nats", "POCKETWIRE_NATS_WEBSOCKET_PORT"),
            Port(settings.nats_monitor_port, "nats", "POCKETWIRE_NATS_MONITOR_PORT"),
        ]
    return ports


def check(ports: list[Port]) -> None:
    """Raises PortTaken for the first port that cannot be had, or that two parts would share."""
    seen: dict[int, Port] = {}
    for port in ports:
        if other := seen.get(port.number):
            raise PortTaken(f"port {port.number} is wanted twice: change {other.setting} or {port.setting}")
        seen[port.number] = port
        require_free(port)


def require_free(port: Port) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((port.host, port.number))
        except OSError as error:
            why = "may not be used by this user" if error.errno == errno.EACCES else "is taken by another program"
            raise PortTaken(
                f"port {port.number} ({port.owner}) {why}; set {port.setting} in .env to change it"
            ) from None
