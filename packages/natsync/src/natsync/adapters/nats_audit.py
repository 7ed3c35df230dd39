"""Keeps the audit where it cannot be changed: each of its lines goes into the log and into a stream of NATS's.

Nobody can delete a message of that stream or empty it, natsync least of all: it may make the stream, add to it and
read it. While NATS is away, lines wait here; those that find no room are in the log alone.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import msgspec
import structlog
from nats.js.api import StreamConfig

from common.adapters.nats_bus import Bus
from common.core import subjects
from common.core.errors import Forbidden, ServiceError
from common.core.messages import Message
from common.core.redaction import redact_event

logger = structlog.get_logger(__name__)

AUDIT = "natsync.audit"
KEPT_SECONDS = 365 * 24 * 3600
KEPT_BYTES = 256 * 1024 * 1024
WAITING = 10_000
AT_ONCE = 200
BYTES_AT_ONCE = 256 * 1024
PAUSE_SECONDS = 1.0
LEAVE_SECONDS = 2.0


class AuditLines(Message, frozen=True):
    """As the log has them: JSON objects with `timestamp`, `event`, and what belongs to it."""

    lines: tuple[msgspec.Raw, ...]


class NatsAudit(logging.Handler):
    def __init__(self, bus: Bus) -> None:
        super().__init__(logging.INFO)
        self.dropped = 0
        self._bus = bus
        self._waiting: deque[bytes] = deque()
        self._there = asyncio.Event()
        self._sending: tuple[str, list[bytes]] = ("", [])

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[None]:
        """On leaving, what waits is sent if that can be done within two seconds."""
        audited = logging.getLogger(AUDIT)
        audited.setLevel(logging.INFO)
        audited.addHandler(self)
        try:
            yield
        finally:
            audited.removeHandler(self)
            with suppress(ServiceError, TimeoutError):
                async with asyncio.timeout(LEAVE_SECONDS):
                    await self._send_all()

    def emit(self, record: logging.LogRecord) -> None:
        if len(self._waiting) >= WAITING:
            self.dropped += 1
            return
        said: object = record.msg
        line = cast("dict[str, Any]", said) if isinstance(said, dict) else {"event": record.getMessage()}
        self._waiting.append(msgspec.json.encode(redact_event(line), enc_hook=str))
        self._there.set()

    async def run(self) -> None:
        """Loop: what was told goes into the stream, in order."""
        while True:
            await self._bus.ready()
            try:
                await self._ensure()
                while True:
                    await self._there.wait()
                    await self._send_all()
            except ServiceError as error:
                logger.warning("audit waits", lines=len(self._waiting), dropped=self.dropped, error=str(error))
            await asyncio.sleep(PAUSE_SECONDS)

    async def _ensure(self) -> None:
        with suppress(Forbidden):  # it is there, as its operator has changed it
            await self._bus.ensure_stream(
                StreamConfig(
                    name=subjects.AUDIT_STREAM,
                    subjects=[subjects.AUDIT],
                    max_age=KEPT_SECONDS,
                    max_bytes=KEPT_BYTES,
                    deny_delete=True,
                    deny_purge=True,
                )
            )

    async def _send_all(self) -> None:
        while self._waiting or self._sending[1]:
            if not self._sending[1]:
                self._sending = (secrets.token_hex(12), self._taken())
            id, lines = self._sending
            told = AuditLines(lines=tuple(map(msgspec.Raw, lines)))
            await self._bus.publish_durable(subjects.AUDIT, told, message_id=id, stream=subjects.AUDIT_STREAM)
            self._sending = ("", [])
        self._there.clear()

    def _taken(self) -> list[bytes]:
        taken: list[bytes] = []
        while self._waiting and len(taken) < AT_ONCE and sum(map(len, taken)) < BYTES_AT_ONCE:
            taken.append(self._waiting.popleft())
        return taken
