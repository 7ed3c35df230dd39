"""Who is connected to the nats-servers under an account, and ending such a connection.

The servers' answers hold whole login tokens; only what names a connection is taken out of them.
"""

import json
from collections.abc import Mapping
from typing import Any

from common.core import subjects
from common.core.errors import UpstreamUnavailable
from natsync.adapters.nats_servers import NatsServers
from natsync.core.servers.live_connections import LiveConnection, count_connections, read_connections

PAGE_SIZE = 256
PAGES = 1000


class NatsLiveConnections:
    """All methods raise UpstreamUnavailable when NATS is away or a server does not answer in time."""

    def __init__(self, servers: NatsServers, *, page_size: int = PAGE_SIZE) -> None:
        self._servers = servers
        self._page_size = page_size

    async def of(self, account: str, user: str = "") -> list[LiveConnection]:
        """Everybody's under an account, or one user's there, on all servers; by their public keys."""
        wanted = {"auth": True, "acc": account, "limit": self._page_size, **({"user": user} if user else {})}
        found: dict[tuple[str, int], LiveConnection] = {}
        for page in range(PAGES):
            listed = await self._page({**wanted, "offset": page * self._page_size})
            found |= {(one.server, one.id): one for connections in listed for one in connections}
            if all(len(connections) < self._page_size for connections in listed):
                return list(found.values())
        raise UpstreamUnavailable(f"More than {self._page_size * PAGES} connections are open in one account.")

    async def count(self, account: str) -> int:
        """How many there are under an account, leaf nodes included.

        To be asked of an account that may be gone: for a listing a server would search it among its peers, and wait.
        """
        answers = await self._servers.ask_all(subjects.account_info(account))
        return sum(count_connections(answer) for answer in answers.values())

    async def _page(self, options: Mapping[str, Any]) -> list[list[LiveConnection]]:
        answers = await self._servers.ask_all(subjects.CONNECTIONS, json.dumps(options).encode())
        if refusals := [answer for answer in answers.values() if answer.error]:
            raise UpstreamUnavailable(f"NATS server {refusals[0].server.name} refuses: {refusals[0].error}.")
        return [read_connections(answer) for answer in answers.values()]

    async def kick(self, connection: LiveConnection) -> None:
        """End one connection; it makes no difference if it is gone already."""
        options = json.dumps({"cid": connection.id}).encode()
        subject = subjects.kick(connection.server)
        if not await self._servers.ask(subject, options, bool, self._servers.requesting):
            raise UpstreamUnavailable("A NATS server does not say that it ended a connection.")
