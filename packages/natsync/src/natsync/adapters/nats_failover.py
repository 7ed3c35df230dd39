"""The one connection to the system account: to the primary if it is there, else to a backup, and back again.

Nobody waits for it. Whoever needs NATS while there is none is told so at once.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import nats.errors
import structlog
from prometheus_client import Counter

from common.adapters.nats_connection import Connection
from common.adapters.nats_credentials import CredentialsFile
from common.core.errors import UpstreamUnavailable
from common.task_group import TaskGroup
from natsync.adapters.nats_scatter import Heard, NatsAway, Scatter
from natsync.core.servers.server_choice import PRIMARY, Attempt, ConnectionTerms, attempts, shown

logger = structlog.get_logger(__name__)

CONNECTIONS = Counter("natsync_system_connections", "Connections to the system account, by server.", ("server",))

NAME = "sys"
HEARTBEAT_SECONDS = 1.0
LEAVE_SECONDS = 3.0


def ignored(_subject: str, _payload: bytes) -> None:
    """For who listens to nothing."""


def nothing() -> None:
    """For who need not be told."""


class FailoverConnection:
    """`heard` and `opened` may be set by whoever builds upon it, before it runs."""

    def __init__(self, servers: Sequence[str], creds: Path, terms: ConnectionTerms) -> None:
        self.heard: Heard = ignored
        self.opened: Callable[[], None] = nothing
        """Called whenever there is a new connection, to a server that may know other things than the last one."""
        self._servers = servers
        self._creds = creds
        self._terms = terms
        self._scatter: Scatter | None = None
        self._server = PRIMARY

    @property
    def scatter(self) -> Scatter:
        """Raises NatsAway while there is no connection."""
        if self._scatter is None or self._scatter.ended.is_set():
            raise NatsAway("NATS is not connected.")
        return self._scatter

    @property
    def server(self) -> str:
        """Where it is connected to, or the empty text."""
        return shown(self._servers[self._server]) if self._scatter else ""

    @property
    def on_primary(self) -> bool:
        return self._scatter is not None and self._server == PRIMARY

    async def answers(self) -> None:
        """Health probe: raises UpstreamUnavailable unless the server answers within a second."""
        if not await self.scatter.answers(seconds=1):
            raise UpstreamUnavailable("NATS does not answer.")

    async def run(self) -> None:
        """Loop: connect, hold for as long as it lasts, and begin anew."""
        lost: Scatter | None = None
        try:
            while not is_cancelled():
                async with TaskGroup() as tasks:  # to hang up on a server that stands still takes a while
                    tasks.create_task(self._connect())
                    tasks.create_task(abandon(lost))
                lost = await self._hold()
        finally:
            await self._leave(self._scatter)

    async def _connect(self) -> None:
        for attempt in attempts(len(self._servers), self._terms.retry):
            await asyncio.sleep(attempt.wait_seconds)
            if scatter := await self._open(attempt):
                self._take(scatter, attempt.server)
            if is_cancelled():
                raise asyncio.CancelledError
            if scatter:
                return

    def _take(self, scatter: Scatter, server: int) -> None:
        self._scatter, self._server = scatter, server
        CONNECTIONS.labels("primary" if server == PRIMARY else "backup").inc()
        logger.info("nats connected", name=NAME, server=self.server, primary=self.on_primary)
        self.opened()

    async def _open(self, attempt: Attempt) -> Scatter | None:
        connection = Connection()
        address = self._servers[attempt.server]
        try:
            async with asyncio.timeout(self._terms.connect_timeout_seconds):
                await self._log_in(connection, address)
                return Scatter(connection, NAME, lambda subject, payload: self.heard(subject, payload))
        except Exception as error:  # noqa: BLE001 - whatever the reason, the next try may succeed
            reason = f"{type(error).__name__}: {connection.last_error or error}"
            logger.warning("nats not reached", name=NAME, server=shown(address), error=reason)
        await hang_up(connection)
        return None

    async def _log_in(self, connection: Connection, address: str) -> None:
        login = CredentialsFile(self._creds)
        await connection.connect(
            servers=[address],
            name=NAME,
            user_jwt_cb=login.jwt,
            signature_cb=login.sign,
            inbox_prefix=f"_INBOX.{NAME}",
            allow_reconnect=False,  # which server comes next is decided here
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            no_echo=True,  # what others tell the servers is listened to
            error_cb=report,
        )

    async def _hold(self) -> Scatter | None:
        """Until the connection is lost, or its server no longer answers; it is what is returned."""
        loop = asyncio.get_running_loop()
        probe_at = loop.time() + self._terms.failback_interval_seconds
        while await self._stands():
            if self._server != PRIMARY and loop.time() >= probe_at:
                await self._fail_back()
                probe_at = loop.time() + self._terms.failback_interval_seconds
        lost, self._scatter = self._scatter, None
        logger.warning("nats connection lost", name=NAME, server=shown(self._servers[self._server]))
        if lost is not None:
            lost.lost()  # it may stand and be dead all the same
        return lost

    async def _stands(self) -> bool:
        if self._scatter is None:
            return False
        try:
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                await self._scatter.ended.wait()
                return False
        except TimeoutError:
            pass
        return await self._scatter.answers(self._terms.connect_timeout_seconds)

    async def _fail_back(self) -> None:
        if primary := await self._open(Attempt(PRIMARY, 0)):
            backup = self._scatter
            self._take(primary, PRIMARY)
            await self._leave(backup)

    async def _leave(self, scatter: Scatter | None) -> None:
        """What is under way over it may still be answered."""
        if scatter is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS):
                await scatter.settled()
        await hang_up(scatter.connection)


def is_cancelled() -> bool:
    """Libraries that wait by `asyncio.wait_for` lose a cancellation that comes as their wait ends."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def abandon(scatter: Scatter | None) -> None:
    if scatter is not None:
        await hang_up(scatter.connection)


async def hang_up(connection: Connection) -> None:
    with suppress(TimeoutError, OSError, nats.errors.Error):
        async with asyncio.timeout(LEAVE_SECONDS):
            await connection.close()


async def report(error: Exception) -> None:
    logger.debug("nats", name=NAME, error=f"{type(error).__name__}: {error}")
