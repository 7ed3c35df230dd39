"""One question, as many answers as there are servers, over one connection."""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import TypeAlias

from common.adapters.nats_connection import Connection, ConnectionLost
from common.core.errors import Forbidden, InvalidRequest, NoResponders, ServiceError, UpstreamUnavailable
from common.core.nats_protocol import Violation, publication, read_headers

NO_RESPONDERS = "503"


class NatsAway(UpstreamUnavailable):
    """There is no connection, or it was lost before there was an answer: nobody has refused anything."""


Enough: TypeAlias = Callable[[Sequence[bytes]], bool]
"""Whether no further answer is wanted."""
Heard: TypeAlias = Callable[[str, bytes], None]
"""Takes subject and payload of what was listened to, at once and without raising."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long all answers together may take, and how long each may come after the one before it."""

    seconds: float
    straggler_seconds: float


@dataclass(slots=True, eq=False)
class Gathering:
    subject: str
    enough: Enough
    patience: Patience
    ends_at: float
    done: "asyncio.Future[None]"
    answers: list[bytes] = field(default_factory=list[bytes])
    due_at: float = 0
    timer: asyncio.TimerHandle | None = None

    def wait_until(self, due_at: float) -> None:
        """There is no point in waiting any longer than that, unless an answer comes."""
        self.due_at = min(due_at, self.ends_at)
        if self.timer is None or self.timer.when() > self.due_at:
            self._set_timer()

    def take(self, payload: bytes, now: float) -> None:
        self.answers.append(payload)
        if self.enough(self.answers):
            self.finish()
        else:
            self.wait_until(now + self.patience.straggler_seconds)

    def finish(self, error: ServiceError | None = None) -> None:
        if self.timer is not None:
            self.timer.cancel()
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)

    def _set_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.timer = asyncio.get_running_loop().call_at(self.due_at, self._expire)

    def _expire(self) -> None:
        if asyncio.get_running_loop().time() < self.due_at:
            self._set_timer()
        else:
            self.finish()


class Scatter:
    """Over a connection that stands. Whoever is asked answers into an inbox where nobody else may listen."""

    def __init__(self, connection: Connection, name: str, heard: Heard) -> None:
        self.connection = connection
        self.ended = asyncio.Event()
        """Set once the connection is lost; it does not come back."""
        self._inbox = f"_INBOX.{name}.{secrets.token_hex(8)}"
        self._heard = heard
        self._numbers = count(1)
        self._outgoing: list[bytes] = []
        self._under_way: dict[bytes, Gathering] = {}
        self._heartbeats: set[asyncio.Future[bool]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        connection.watch(self)
        connection.subscribe_directly(f"{self._inbox}.*", "", self._answered)

    def listen(self, subject: str) -> None:
        """What arrives there is handed on, as long as the connection lasts and if the server allows it."""
        self.connection.subscribe_directly(subject, "", self._told)

    async def gather(self, subject: str, payload: bytes, enough: Enough, patience: Patience) -> list[bytes]:
        """The answers until there are enough of them, or none comes any more: too few are the caller's to notice.

        Raises NoResponders, Forbidden, InvalidRequest, or NatsAway.
        """
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + patience.seconds
        gathering = Gathering(subject, enough, patience, ends_at, loop.create_future())
        number = next(self._numbers)
        self._under_way[b"%x" % number] = gathering
        self._idle.clear()
        try:
            self.send(subject, payload, f"{self._inbox}.{number:x}")
            gathering.wait_until(ends_at)
            await gathering.done
        finally:
            gathering.finish()
            del self._under_way[b"%x" % number]
            if not self._under_way:
                self._idle.set()
        return gathering.answers

    def send(self, subject: str, payload: bytes, reply: str) -> None:
        """Raises InvalidRequest or NatsAway."""
        if len(payload) > self.connection.max_payload:
            raise InvalidRequest(f"{len(payload)} bytes are more than NATS takes at once.")
        if not self.connection.stands:
            raise NatsAway("NATS is not connected.")
        if not self._outgoing:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outgoing.append(publication(subject, reply, {}, payload))

    def _flush(self) -> None:
        """What is said in one turn of the loop leaves in one write."""
        data, self._outgoing = b"".join(self._outgoing), []
        with suppress(ConnectionLost):  # whoever waits for an answer is told of the loss
            self.connection.write(data)

    async def answers(self, seconds: float) -> bool:
        """Whether the server answers within that time, everything that was sent before included."""
        loop = asyncio.get_running_loop()
        heartbeat: asyncio.Future[bool] = loop.create_future()
        self._heartbeats.add(heartbeat)
        timer = loop.call_later(seconds, settle, heartbeat, False)
        try:
            self.connection.confirm(b"", lambda: settle(heartbeat, True))
            return await heartbeat
        except ConnectionLost:
            return False
        finally:
            timer.cancel()
            self._heartbeats.discard(heartbeat)

    async def settled(self) -> None:
        """Returns once nothing is under way."""
        await self._idle.wait()

    # What the connection tells

    def regained(self) -> None:
        """Never: a connection that is lost is left."""

    def lost(self) -> None:
        self.ended.set()
        for heartbeat in self._heartbeats:
            settle(heartbeat, False)
        for gathering in self._under_way.values():
            gathering.finish(NatsAway(f"NATS was lost before it answered {gathering.subject}."))

    def refused(self, violation: Violation) -> None:
        if violation.operation != "publish":
            return
        for gathering in self._under_way.values():
            if gathering.subject.lower() == violation.subject:
                gathering.finish(Forbidden(f"NATS does not allow natsync to publish to {gathering.subject}."))

    def _answered(self, subject: bytes, _reply: bytes | None, block: bytes | None, payload: bytes) -> None:
        gathering = self._under_way.get(subject.rpartition(b".")[2])
        if gathering is None or gathering.done.done():
            return
        if block and not payload and read_headers(block).status == NO_RESPONDERS:
            gathering.finish(NoResponders(f"No NATS server answers {gathering.subject}."))
        else:
            gathering.take(payload, asyncio.get_running_loop().time())

    def _told(self, subject: bytes, _reply: bytes | None, _block: bytes | None, payload: bytes) -> None:
        self._heard(subject.decode("utf-8", "replace"), payload)


def settle(heartbeat: "asyncio.Future[bool]", answered: bool) -> None:
    if not heartbeat.done():
        heartbeat.set_result(answered)
