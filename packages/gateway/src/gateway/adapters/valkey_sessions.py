"""Sessions in Valkey, each with PocketBase's token, sealed, for as long as PocketBase would accept it.

The server must be one primary (with replicas, where wanted), not a cluster: one transition touches several keys.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import ConnectionError, RedisError

from common.core.errors import Unauthenticated, UpstreamUnavailable
from gateway.core.refusals import Banned
from gateway.core.sessions.sealed_session import NONCE_BYTES, SessionSeal
from gateway.core.sessions.session import EndReason, Held, NewSession, Owner, Presented, Session, Use

logger = structlog.get_logger(__name__)

SCRIPT = files("gateway.adapters").joinpath("sessions.lua").read_text("utf-8")

PATIENCE_SECONDS = 2.0
USE_INTERVAL_MS = 60_000
EVERY_COLLECTION = "*"
SCAN_KEYS = 500

AWAY = "Sessions are not available; please retry."


def server_time() -> int:
    """Stands for the time that Valkey's own clock shows when the transition is made."""
    return 0


class ValkeySessions:
    """Every method raises UpstreamUnavailable when Valkey is away.

    Endings are published by Valkey itself, in the same step; `ValkeyRevocations` with the same prefix hears of them.
    """

    def __init__(
        self,
        client: Redis,
        seal: SessionSeal,
        *,
        grace_seconds: float,
        max_sessions: int,
        prefix: str = "gateway",
        clock_ms: Callable[[], int] = server_time,
    ) -> None:
        self._client = client
        self._script = client.register_script(SCRIPT)
        self._seal = seal
        self._grace_ms = round(grace_seconds * 1000)
        self._max_sessions = max_sessions
        self._prefix = prefix
        self._clock_ms = clock_ms

    async def begin(self, session: NewSession) -> list[str]:
        """The owner's sessions that had to end for this one. Raises Banned."""
        sealed, expires_ms = self._sealed(session.id, session.pocketbase_token), session.expires_at * 1000
        owner, shown = session.owner, (session.device, session.address)
        told: list[Any] = await self._run(
            "begin", session.id, owner.collection_id, owner.record_id, sealed, expires_ms, *shown, self._max_sessions
        )
        if not told[0]:
            raise Banned
        return texts(told[1:])

    async def present(self, session_id: str, generation: int) -> Presented:
        """What a token of that generation is worth now. A replay ends the session before this returns."""
        told = await self._run("present", session_id, generation, self._grace_ms)
        standing = told[0].decode()
        if standing in ("ended", "replayed"):
            return Presented(standing, newest=told[2])
        token = self._opened(session_id, told[1])
        return Presented(standing, token, told[2]) if token else Presented("ended")

    async def succeed(self, session_id: str, generation: int, token: str | None, expires_at: int) -> int | None:
        """The generation of the successor to hand out; None when the session has ended: nothing brings it back.

        `token` is PocketBase's newer one, if there is one; the one that lasts longer is kept.
        """
        sealed = self._sealed(session_id, token) if token else b""
        told = await self._run("succeed", session_id, generation, self._grace_ms, sealed, expires_at * 1000)
        return told or None

    async def end(self, session_id: str, reason: EndReason, owner: Owner | None = None) -> Owner | None:
        """Whose session ended; None when there was none, or none of that owner."""
        whose = (owner.collection_id, owner.record_id) if owner else ("", "")
        told = await self._run("finish", session_id, reason, *whose)
        return Owner(*texts(told)) if told else None

    async def end_all(self, owner: Owner, reason: EndReason, *, keep: str = "") -> list[str]:
        return texts(await self._run("finish_all", owner.collection_id, owner.record_id, keep, reason))

    async def of(self, owner: Owner) -> list[Session]:
        """Newest first."""
        return [read_session(owner, row) for row in await self._run("list", owner.collection_id, owner.record_id)]

    async def held_by(self, owner: Owner) -> list[Held]:
        rows = await self._run("list", owner.collection_id, owner.record_id)
        return [self._held(owner, id=row[0], address=row[2], sealed=row[6]) for row in rows]

    async def records(self) -> AsyncGenerator[str]:
        """The id of every record that had a session throughout; some may come twice."""
        prefix, cursor = f"{self._prefix}:sessions:", 0
        while True:
            async with answering():
                told: Any = await self._client.scan(cursor, match=f"{prefix}*", count=SCAN_KEYS)
            cursor = int(told[0])
            for key in texts(told[1]):
                yield key.removeprefix(prefix)
            if not cursor:
                return

    async def now_ms(self) -> int:
        """Of the clock by which `claim` goes."""
        return await self._run("now")

    async def claim(self, record_id: str, since_ms: int) -> list[Held]:
        """The record's sessions that nobody has claimed since then, whoever asks: they are the caller's to look at."""
        rows = await self._run("claim", record_id, since_ms)
        return [self._held(Owner(row[1].decode(), record_id), id=row[0], address=row[2], sealed=row[3]) for row in rows]

    async def note(self, uses: Sequence[Use]) -> None:
        """Each session's last use is written at most once a minute."""
        told = (value for use in uses for value in (use.session_id, use.used_ms, use.address))
        await self._run("use", USE_INTERVAL_MS, *told)

    async def ban(self, record_id: str, collection_id: str, until: int) -> list[str] | None:
        """The sessions that ended by it; None when it was known. No collection is every one.

        `until` is in Unix seconds, 0 for no end.
        """
        told = await self._run("ban", collection_id or EVERY_COLLECTION, record_id, until * 1000)
        return texts(told[1:]) if told[0] else None

    async def pardon(self, record_id: str, collection_id: str) -> bool:
        """False when there was nothing to lift."""
        return bool(await self._run("pardon", collection_id or EVERY_COLLECTION, record_id))

    async def _run(self, command: str, *arguments: str | bytes | int) -> Any:
        """Tried once more on a new connection: after Valkey was away, every idle one is dead. No command changes more
        by being carried out twice.
        """
        told = [command, self._prefix, self._clock_ms(), *arguments]
        async with answering():
            try:
                return await self._script(args=told)
            except ConnectionError:
                await self._client.connection_pool.disconnect(inuse_connections=False)
                return await self._script(args=told)

    def _held(self, owner: Owner, *, id: bytes, address: bytes, sealed: bytes) -> Held:
        session_id = id.decode()
        return Held(session_id, owner, self._opened(session_id, sealed), address.decode())

    def _sealed(self, session_id: str, token: str) -> bytes:
        return self._seal.seal(session_id, token, secrets.token_bytes(NONCE_BYTES))

    def _opened(self, session_id: str, sealed: bytes) -> str:
        try:
            return self._seal.open(session_id, sealed)
        except Unauthenticated:
            logger.warning("a stored session cannot be opened with this key")
            return ""


def texts(values: Sequence[bytes]) -> list[str]:
    return [value.decode() for value in values]


def read_session(owner: Owner, row: Sequence[bytes]) -> Session:
    id, device, address, created_ms, used_ms, expires_ms = texts(row[:6])
    return Session(id, owner, device, address, int(created_ms), int(used_ms), int(expires_ms))


@asynccontextmanager
async def answering() -> AsyncGenerator[None]:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            yield
    except (RedisError, OSError, TimeoutError) as error:
        raise UpstreamUnavailable(AWAY) from error
