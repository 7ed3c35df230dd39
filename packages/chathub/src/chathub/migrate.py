"""Brings PostgreSQL's schema up to date. Nodes may do so at once: one works, the others find it done."""

import asyncio
from importlib.resources import files

import asyncpg
import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from common.core.errors import UpstreamUnavailable

logger = structlog.get_logger(__name__)

LOCK = 0x706F636B65743031
"""Of PostgreSQL's advisory locks, the one that says somebody is migrating."""

NOT_THERE_YET = (OSError, TimeoutError, asyncpg.CannotConnectNowError, asyncpg.TooManyConnectionsError)


async def migrate(url: str, *, wait_seconds: float) -> list[str]:
    """Apply what is missing, in one transaction, and name it in order.

    Raises UpstreamUnavailable when PostgreSQL does not answer within `wait_seconds`.
    """
    await wait_for(url, wait_seconds)
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(url), poolclass=NullPool
    )
    async with engine.begin() as connection:
        return await connection.run_sync(upgrade)


async def wait_for(url: str, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        try:
            await (await asyncpg.connect(url, timeout=5)).close()
        except NOT_THERE_YET as error:
            if loop.time() >= deadline:
                raise UpstreamUnavailable(f"PostgreSQL did not answer within {seconds:g} s.") from error
            await asyncio.sleep(0.2)
        else:
            return


def upgrade(connection: Connection) -> list[str]:
    connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    connection.execute(text("create schema if not exists chatserver"))
    before = applied(connection)
    config = Config()
    config.set_main_option("script_location", str(files("chathub") / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    return [revision for revision in sorted(applied(connection)) if revision not in before]


def applied(connection: Connection) -> set[str]:
    """The revision the schema stands at, and all before it: they are numbered."""
    context = MigrationContext.configure(connection, opts={"version_table_schema": "chatserver"})
    head = context.get_current_revision()
    if head is None:
        return set()
    return {f"{number:04d}" for number in range(1, int(head) + 1)}
