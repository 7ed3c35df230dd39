"""One HTTP/1.1 connection to PocketBase for reads: no body goes out, and what comes in waits until somebody takes it.

connected -> ask -> head -> chunks -> is_reusable -> ask -> ...

Whatever is not a whole answer to what was asked ends the connection: an answer that breaks off, bytes that nobody asked
for, a silence that lasts too long.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

MAX_HEAD_BYTES = 64 * 1024
MAX_HELD_BYTES = 256 * 1024
"""What may wait to be taken before no more is read."""

_WITH_A_LENGTH = frozenset((b"content-length", b"transfer-encoding"))


class Unanswered(Exception):
    """The connection was closed before a byte of the answer came."""


class BrokenAnswer(Exception):
    """The answer makes no sense, breaks off, or does not go on."""


class ReadConnection(asyncio.Protocol):
    """`status` and `headers` are the answer's, once `head` has returned."""

    def __init__(self, loop: asyncio.AbstractEventLoop, silence_seconds: float) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.idle_since = 0.0
        self._loop = loop
        self._silence_seconds = silence_seconds
        self._parser = HttpResponseParser(self)
        self._transport: asyncio.Transport
        self._timer: asyncio.TimerHandle | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._fault: Unanswered | BrokenAnswer | None = None
        self._is_asked = self._is_reading = False
        self._begin()

    @property
    def is_open(self) -> bool:
        return self._fault is None and not self._transport.is_closing()

    @property
    def is_reusable(self) -> bool:
        """Whether the answer has been taken to its end, and another may be asked for."""
        return self._is_over and self._is_kept_alive and not self._held and self.is_open

    def ask(self, request: bytes) -> None:
        self._begin()
        self._is_asked = self._is_reading = True
        self._transport.write(request)
        self._watch()

    async def head(self) -> None:
        """Wait for status and headers. Raises Unanswered or BrokenAnswer."""
        while not self.status:
            await self._more()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes in. Raises BrokenAnswer."""
        while True:
            if self._held:
                taken = self._held[0] if len(self._held) == 1 else b"".join(self._held)
                self._held, self._held_bytes = [], 0
                self._read_on()
                yield taken
            elif self._is_over:
                return
            else:
                await self._more()

    def close(self) -> None:
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has its methods, but is none

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        if not self._is_asked or self._is_over:
            self._fail(BrokenAnswer("PocketBase said something that nobody asked for."))
            return
        self._is_begun = True
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._fail(BrokenAnswer(f"PocketBase's answer cannot be read: {type(error).__name__}."))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if exc is None and self._lasts_until_close():
            self._is_over = True
        if not self._is_over:
            self._fault = self._fault or (BrokenAnswer("It broke off.") if self._is_begun else Unanswered())
        self._wake()

    def on_message_begin(self) -> None:
        if self._is_over:
            raise BrokenAnswer("PocketBase said more than it was asked.")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD_BYTES:
            raise BrokenAnswer("Its head is too large.")
        if not self.status:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            self.headers = []
            return
        self.status, self._is_kept_alive = status, self._parser.should_keep_alive()
        self._wake()

    def on_body(self, body: bytes) -> None:
        self._held.append(body)
        self._held_bytes += len(body)
        if self._held_bytes > MAX_HELD_BYTES and self._is_reading:
            self._is_reading = False
            self._transport.pause_reading()
        self._wake()

    def on_message_complete(self) -> None:
        if self.status:
            self._is_over = True
            self._wake()

    def _begin(self) -> None:
        self.status, self.headers = 0, []
        self._held: list[bytes] = []
        self._held_bytes = self._head_bytes = 0
        self._is_begun = self._is_over = self._is_kept_alive = False
        self._heard_at = self._loop.time()

    async def _more(self) -> None:
        if self._fault:
            raise self._fault
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _read_on(self) -> None:
        if not self._is_reading:
            self._is_reading = True
            self._heard_at = self._loop.time()
            self._transport.resume_reading()
            self._watch()

    def _lasts_until_close(self) -> bool:
        """RFC 9112 §6.3: an answer without a length ends with the connection."""
        return bool(self.status) and not any(name.lower() in _WITH_A_LENGTH for name, _ in self.headers)

    def _watch(self) -> None:
        """One timer for many answers: to set and cancel one for each costs more."""
        if self._timer is None:
            self._timer = self._loop.call_later(self._silence_seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._is_over or not self._is_reading:
            return
        left_seconds = self._heard_at + self._silence_seconds - self._loop.time()
        if left_seconds > 0:
            self._timer = self._loop.call_later(left_seconds, self._look)
        else:
            self._fail(BrokenAnswer("It does not go on."))

    def _fail(self, fault: BrokenAnswer) -> None:
        self._fault = self._fault or fault
        self._transport.abort()
        self._wake()
