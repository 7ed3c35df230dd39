"""uvicorn's HTTP/1.1 connection with the bounds that it lacks: on what a request's head may take, in bytes and in time,
on requests sent ahead of their turn, and on a client that does not read its answer.

llhttp, which parses here, holds a head of any size for as long as the client likes.
"""

import asyncio
from asyncio.events import TimerHandle
from collections.abc import Iterable
from typing import Any, ClassVar, cast

import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from common.serving.gathered_writes import GatheringHttp

logger = structlog.get_logger(__name__)

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 128
MAX_AHEAD = 8
"""Requests of one connection that may wait for the one before them, with small bodies. Browsers and proxies send none
ahead."""

HEAD_SECONDS = 10.0
"""What a connection has to come up with a whole head, from its beginning and from the last answer on."""

STALLED_SECONDS = 60.0
"""How long a client may read nothing of an answer that waits to be sent."""

INVALID = 400, b"Invalid HTTP request received."
TOO_LARGE = 431, b"Request Header Fields Too Large"

_TARGETS = (b"/", b"*")
"""How a target begins that names nothing beside path and query, which only some of those before us would look at."""


def is_framed(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """llhttp lets codings pass that it does not undo, for whoever reads the body to stumble over."""
    codings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
    return codings in ([], [b"chunked"])


class Unfit(Exception):
    """Stops the parser, which wraps it."""


class BoundedHttp(GatheringHttp):
    head_seconds: ClassVar[float] = HEAD_SECONDS
    stalled_seconds: ClassVar[float] = STALLED_SECONDS

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._headed: Any = None  # the scope whose head is whole
        self._is_upgraded = False
        self._ahead: list[RequestResponseCycle] = []
        self._chunk_bytes = self._head_bytes = 0
        self._refusal = INVALID
        self._head_timer: TimerHandle | None = None
        self._stall_timer: TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        self._head_timer = self.loop.call_later(self.head_seconds, self._close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Of requests sent ahead uvicorn tells only the last one, which may not be the one that is being answered."""
        super().connection_lost(exc)
        self._stop_timers()
        self.pipeline.clear()
        for cycle in self._ahead:
            cycle.disconnected = True
            cycle.message_event.set()

    def data_received(self, data: bytes) -> None:
        scope, self._chunk_bytes = self.scope, len(data)
        super().data_received(data)
        if self.scope is not self._headed:
            self._head_bytes = self._head_bytes + len(data) if self.scope is scope else 0
            self._await_head()
        elif not self.cycle or (self.cycle.response_complete and self.timeout_keep_alive_task is None):
            self._await_head()  # something came in that is no request: uvicorn's own timer is not set again
        elif self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def on_headers_complete(self) -> None:
        is_small = self._chunk_bytes + self._head_bytes <= MAX_HEAD_BYTES or self._exact_size() <= MAX_HEAD_BYTES
        if not is_small or len(self.headers) > MAX_HEADERS:
            self._refusal = TOO_LARGE
            raise Unfit
        if b"#" in self.url or self.url[:1] not in _TARGETS or not is_framed(self.headers):
            raise Unfit
        if len(self.pipeline) >= MAX_AHEAD:
            raise Unfit
        self._headed, self._head_bytes = self.scope, 0
        before = self.cycle
        super().on_headers_complete()
        if before and not before.response_complete:
            self._ahead = [cycle for cycle in (*self._ahead, before, self.cycle) if not cycle.response_complete]
            self.flow.resume_reading()  # or it would not be noticed that the client has left

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        if self.pipeline and self.flow.read_paused:
            raise Unfit

    def handle_websocket_upgrade(self) -> None:
        self._is_upgraded = True
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - ours says which of two faults it was
        """uvicorn has logged it."""
        self._refuse(*self._refusal)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stall_timer is None:
            self._stall_timer = self.loop.call_later(self.stalled_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def timeout_keep_alive_handler(self) -> None:
        self._close()

    def _exact_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _unsupported_upgrade_warning(self) -> None:
        """Nothing that follows such a request is parsed any more: the connection ends with its answer."""
        self.cycle.keep_alive = False

    def _await_head(self) -> None:
        if self._is_upgraded or self.transport.is_closing():
            self._stop_timers()
        elif self._head_bytes > MAX_HEAD_BYTES:
            logger.warning("a request's head is too large", client=self.client[0] if self.client else "")
            self._refuse(*TOO_LARGE)
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_seconds, self._close)

    def _refuse(self, status: int, text: bytes) -> None:
        """Without a word where it would run into an answer that is under way."""
        if not self.cycle or self.cycle.response_complete:
            head = b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
            self.transport.write(STATUS_LINE[status] + head % len(text) + text)
        self._close()

    def _close(self) -> None:
        """A client that reads nothing cannot keep open what is only to be closed."""
        self._stop_timers()
        if not self.transport.is_closing():
            self.transport.close()
            self._stall_timer = self.loop.call_later(self.stalled_seconds, self.transport.abort)

    def _stop_timers(self) -> None:
        for timer in (self._head_timer, self._stall_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = self._stall_timer = None
