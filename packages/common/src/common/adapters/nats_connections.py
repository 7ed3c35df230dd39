"""Opens a connection to NATS, which may be absent at start and go away at any time."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import nats.errors
import structlog
from nats.aio.client import Client

from common.adapters.companion import accompanied
from common.adapters.nats_connection import Connection
from common.adapters.nats_credentials import CredentialsFile
from common.core.errors import UpstreamUnavailable

logger = structlog.get_logger(__name__)

NATS_PENDING_BYTES = 8 * 1024 * 1024
NATS_DRAIN_SECONDS = 3
GOODBYE_SECONDS = 2


@asynccontextmanager
async def open_nats(url: str, *, name: str, creds: Path | None) -> AsyncGenerator[Connection]:
    """A client that keeps trying for ever, at first and after every loss, with whatever `creds` holds by then.

    It is handed over before it is connected: ask `is_connected`, or await `connected`.
    """
    client = Connection()
    try:
        async with accompanied(keep_connecting(client, url, name, creds)):
            yield client
    finally:
        await leave_nats(client)


async def leave_nats(client: Connection) -> None:
    """Finish what is under way; a server that does not answer must not keep us from ending."""
    try:
        if client.is_connected:
            async with asyncio.timeout(NATS_DRAIN_SECONDS + GOODBYE_SECONDS):
                await client.drain()
    except (TimeoutError, nats.errors.Error, OSError) as error:
        logger.warning("nats connection left in a hurry", error=type(error).__name__)
    finally:
        if not client.is_closed:
            await client.close()


async def keep_connecting(client: Connection, url: str, name: str, creds: Path | None) -> None:
    async def report(error: Exception) -> None:
        logger.warning("nats", name=name, error=f"{type(error).__name__}: {error}")

    async def lost() -> None:
        if not (client.is_draining or client.is_closed):
            logger.warning("nats connection lost", name=name)

    async def regained() -> None:
        logger.info("nats connection regained", name=name)

    login = CredentialsFile(creds) if creds else None
    delay = 0.1
    while True:
        try:
            await client.connect(
                servers=url.split(","),
                name=name,
                user_jwt_cb=login.jwt if login else None,
                signature_cb=login.sign if login else None,
                inbox_prefix=f"_INBOX.{name}".encode(),
                max_reconnect_attempts=-1,
                reconnect_time_wait=1,
                connect_timeout=2,
                ping_interval=10,
                max_outstanding_pings=2,
                allow_reconnect=True,
                drain_timeout=NATS_DRAIN_SECONDS,
                pending_size=NATS_PENDING_BYTES,
                error_cb=report,
                disconnected_cb=lost,
                reconnected_cb=regained,
            )
        except Exception as error:  # noqa: BLE001 - whatever the reason, the next try may succeed
            await report(error)
            await asyncio.sleep(delay)
            delay = min(delay * 2, 2)
        else:
            logger.info("nats connected", name=name)
            return


async def connected(client: Client) -> None:
    """Health probe: raises unless the connection stands and the server answers."""
    if not client.is_connected:
        raise UpstreamUnavailable("NATS is not connected.")
    await client.flush(timeout=1)
