"""Sees to it that who was cut off is gone.

A server closes such connections when it takes the account's new token. They are looked for all the same, on every
server, and what is left is ended one by one, until none is left or the time is up.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeAlias

import structlog
from prometheus_client import Counter

from common.core.errors import ServiceError, UpstreamUnavailable
from natsync.adapters.concurrently import each
from natsync.core.servers.live_connections import NOBODY_STAYS, LiveConnection, Scope, Standing

logger = structlog.get_logger(__name__)

CUT = Counter("natsync_connections_cut", "Connections that servers had left open and natsync ended.")

SHORTEST_WAIT_SECONDS = 0.01
LONGEST_WAIT_SECONDS = 0.25
USERS_ONE_BY_ONE = 16
"""Above so many users all connections of the account are listed instead."""

Listed: TypeAlias = Callable[[], Awaitable[list[LiveConnection]]]
MayStay: TypeAlias = Callable[[LiveConnection], bool]


class NotCut(UpstreamUnavailable):
    """Connections that are to be gone are still there."""


class Connections(Protocol):
    async def of(self, account: str, user: str = "") -> list[LiveConnection]: ...
    async def count(self, account: str) -> int: ...
    async def kick(self, connection: LiveConnection) -> None: ...


@dataclass(frozen=True, slots=True)
class Cut:
    """What became of the connections of one account that were to end."""

    account: str
    kicked: int
    left: int
    seconds: float


class CutConnections:
    def __init__(self, connections: Connections, *, patience_seconds: float) -> None:
        self._connections = connections
        self._patience_seconds = patience_seconds

    async def after_publication(self, account: str, scope: Scope, standing: Standing) -> Cut:
        """End what the account's new token no longer allows. Raises NotCut or UpstreamUnavailable."""
        if scope == "nobody":
            return Cut(account, 0, 0, 0)
        everybody = scope == "everybody" or len(scope) > USERS_ONE_BY_ONE
        listed = partial(self._connections.of, account) if everybody else partial(self._of_users, account, scope)
        return await self._cut(account, listed, standing.lets_stay)

    async def after_removal(self, account: str) -> Cut:
        """End every connection of an account. Raises NotCut or UpstreamUnavailable."""

        async def listed() -> list[LiveConnection]:
            return await self._connections.of(account) if await self._connections.count(account) else []

        return await self._cut(account, listed, NOBODY_STAYS.lets_stay)

    async def users(self, account: str, cutoffs: Mapping[str, int]) -> Cut:
        """End what the users of these public keys opened with tokens issued at or before that second."""

        def may_stay(connection: LiveConnection) -> bool:
            return connection.issued_at > cutoffs.get(connection.user, -1)

        return await self._cut(account, partial(self._of_users, account, cutoffs), may_stay)

    async def _cut(self, account: str, listed: Listed, may_stay: MayStay) -> Cut:
        begun, wait_seconds = time.monotonic(), SHORTEST_WAIT_SECONDS
        kicked: set[tuple[str, int]] = set()
        while True:
            left = [one for one in await listed() if not may_stay(one)]
            seconds = time.monotonic() - begun
            if not left:
                return self._report(Cut(account, len(kicked), 0, seconds))
            if seconds > self._patience_seconds:
                self._report(Cut(account, len(kicked), len(left), seconds))
                raise NotCut(f"{len(left)} connections of an account are still open that were to end.")
            await each(self._kick, left)
            kicked |= {(one.server, one.id) for one in left}
            await asyncio.sleep(wait_seconds)
            wait_seconds = min(wait_seconds * 2, LONGEST_WAIT_SECONDS)

    async def _of_users(self, account: str, users: Iterable[str]) -> list[LiveConnection]:
        found = await each(partial(self._connections.of, account), users)
        return [connection for connections in found for connection in connections]

    async def _kick(self, connection: LiveConnection) -> None:
        try:
            await self._connections.kick(connection)
        except ServiceError as error:  # whether it is gone is what the next look says
            logger.debug("connection not ended", server=connection.server, error=str(error))

    def _report(self, cut: Cut) -> Cut:
        CUT.inc(cut.kicked)
        if cut.kicked or cut.left:
            logger.info("connections cut", account=cut.account, kicked=cut.kicked, left=cut.left)
        return cut
