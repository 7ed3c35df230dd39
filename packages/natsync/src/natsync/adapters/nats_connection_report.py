"""Who is connected under an account, on all nats-servers, and ending what must not go on."""

import json
from typing import Any

from common.core import subjects
from common.core.errors import UpstreamUnavailable
from natsync.adapters.nats_live_connections import NatsLiveConnections
from natsync.adapters.nats_servers import NatsServers
from natsync.core.servers.connection_report import Connected, read_connected
from natsync.core.servers.live_connections import LiveConnection

PAGE = 256
PAGES = 400


class NatsConnectionReport:
    """All methods raise UpstreamUnavailable when NATS is away or a server does not answer in time."""

    def __init__(self, servers: NatsServers) -> None:
        self._servers = servers
        self._live = NatsLiveConnections(servers)

    async def of(self, account: str = "", user: str = "") -> list[Connected]:
        """Everybody's, or those under an account, given by its public key, or of one name or public key there."""
        narrowed = {name: value for name, value in (("acc", account), ("user", user)) if value}
        options: dict[str, Any] = {"auth": True, "limit": PAGE, **narrowed}
        found: dict[tuple[str, int], Connected] = {}
        for page in range(PAGES):
            listed = await self._page(options, page)
            found |= {(one.server, one.id): one for connections in listed for one in connections}
            if all(len(connections) < PAGE for connections in listed):
                return list(found.values())
        raise UpstreamUnavailable(f"More than {PAGE * PAGES} connections are open.")

    async def _page(self, options: dict[str, Any], page: int) -> list[list[Connected]]:
        payload = json.dumps({**options, "offset": page * PAGE}).encode()
        answers = await self._servers.ask_all(subjects.CONNECTIONS, payload)
        if unheard := self._servers.unheard(answers):
            raise UpstreamUnavailable(f"NATS server {unheard[0]} does not say who is connected to it.")
        return [read_connected(answer) for answer in answers.values()]

    async def end(self, connection: Connected) -> None:
        """It makes no difference if it is gone already."""
        await self._live.kick(LiveConnection(connection.server, connection.id, connection.user))
