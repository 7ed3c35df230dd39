"""What leaves over the connection: all of one turn of the event loop in one write, confirmed together.

Where a publication is in it, a PING follows and its PONG confirms them all. Where the connection is lost first, or
the write is not possible, all of them fail. Nothing is kept to be sent over a later connection.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from common.adapters.nats_connection import Connection, ConnectionLost
from common.core.errors import Forbidden, ServiceError, UpstreamUnavailable

UNREAD_BYTES = 16 * 1024 * 1024
"""What may have been written and not been read by the server; with one that has stopped reading, memory ends here."""
CONFIRM_BYTES = 256 * 1024
"""After so much a PING is sent in any case, so that we know what the server has read."""

Failure: TypeAlias = Callable[[str], ServiceError]
"""From the subject that was published to: each waiter gets an error of its own."""


def lost(subject: str) -> ServiceError:
    return UpstreamUnavailable(f"NATS was lost before {subject} was confirmed: it may have arrived or not.")


def not_sent(subject: str) -> ServiceError:
    return UpstreamUnavailable(f"NATS is not connected: nothing was sent to {subject}.")


def not_read(subject: str) -> ServiceError:
    return UpstreamUnavailable(f"NATS does not read what it is sent: nothing was sent to {subject}.")


def forbidden(subject: str) -> ServiceError:
    return Forbidden(f"NATS does not allow this service to publish to {subject}.")


@dataclass(slots=True, eq=False)
class Batch:
    """`confirmed` wait for the PONG, `answered` for an answer: they are told here only of failures."""

    commands: list[bytes] = field(default_factory=list[bytes])
    confirmed: list[tuple[str, "asyncio.Future[None]"]] = field(
        default_factory=list[tuple[str, "asyncio.Future[None]"]]
    )
    answered: list[tuple[str, "asyncio.Future[Any]"]] = field(default_factory=list[tuple[str, "asyncio.Future[Any]"]])
    size_bytes: int = 0

    def confirm(self) -> None:
        for _, waiter in self.confirmed:
            if not waiter.done():
                waiter.set_result(None)

    def fail(self, failure: Failure) -> None:
        fail_all(self.confirmed, failure)
        fail_all(self.answered, failure)


def fail_all(waiting: list[tuple[str, "asyncio.Future[Any]"]], failure: Failure) -> None:
    for subject, waiter in waiting:
        if not waiter.done():
            waiter.set_exception(failure(subject))


class Outgoing:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._open: Batch | None = None
        self._unconfirmed: deque[Batch] = deque()
        self._unread_bytes = 0
        self._since_ping_bytes = 0

    def send(self, command: bytes) -> Batch:
        """Leaves in this turn of the loop. Raises ConnectionLost when it cannot."""
        if not self._connection.stands:
            raise ConnectionLost("NATS is not connected.")
        batch = self._open
        if batch is None:
            batch = self._open = Batch()
            asyncio.get_running_loop().call_soon(self._commit)
        batch.commands.append(command)
        return batch

    def lost(self) -> None:
        self._unread_bytes = self._since_ping_bytes = 0
        while self._unconfirmed:
            self._unconfirmed.popleft().fail(lost)

    def refused(self, subject: str) -> None:
        """The server answers in order: what it refuses now was written before the oldest PING without a PONG."""
        if self._unconfirmed:
            fail_all([one for one in self._unconfirmed[0].confirmed if one[0].lower() == subject], forbidden)

    def _commit(self) -> None:
        batch, self._open = self._open, None
        if batch is None:
            return
        data = b"".join(batch.commands)
        if self._unread_bytes + len(data) > UNREAD_BYTES:
            batch.fail(not_read)
            return
        self._unread_bytes += len(data)
        self._since_ping_bytes += len(data)
        try:
            if batch.confirmed or self._since_ping_bytes > CONFIRM_BYTES:
                self._connection.confirm(data, self._confirmed)
                batch.size_bytes, self._since_ping_bytes = self._since_ping_bytes, 0
                self._unconfirmed.append(batch)
            else:
                self._connection.write(data)
        except ConnectionLost:
            batch.fail(not_sent)

    def _confirmed(self) -> None:
        batch = self._unconfirmed.popleft()
        self._unread_bytes -= batch.size_bytes
        batch.confirm()


class Room:
    """So much may be under way at once. Who comes later waits, in order."""

    def __init__(self, *, calls: int, size_bytes: int) -> None:
        self._calls = calls
        self._size_bytes = size_bytes
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def taken(self, size_bytes: int) -> Coroutine[Any, Any, None] | None:
        """None when there is room, which is then taken; else what is to be awaited for it."""
        if self._waiting or not self._fits(size_bytes):
            return self._turn(size_bytes)
        self._take(size_bytes)
        return None

    def give(self, size_bytes: int) -> None:
        self._calls += 1
        self._size_bytes += size_bytes
        while self._waiting and (self._waiting[0][1].done() or self._fits(self._waiting[0][0])):
            size, turn = self._waiting.popleft()
            if not turn.done():
                self._take(size)
                turn.set_result(None)

    def _fits(self, size_bytes: int) -> bool:
        return self._calls > 0 and self._size_bytes >= size_bytes

    def _take(self, size_bytes: int) -> None:
        self._calls -= 1
        self._size_bytes -= size_bytes

    async def _turn(self, size_bytes: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size_bytes, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # given and cancelled in one turn of the loop
                self.give(size_bytes)
            raise
