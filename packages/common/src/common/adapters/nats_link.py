"""Bytes over one connection, each call confirmed or failed: what the bus is made of."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any, TypeVar

from common.adapters.bus_metrics import CONNECTED, LOSSES
from common.adapters.nats_connection import Connection, ConnectionLost
from common.adapters.nats_outgoing import Outgoing, Room, fail_all, forbidden, lost, not_sent
from common.adapters.nats_subscriptions import Arrived, Change, Subscription, Subscriptions
from common.core.errors import DeadlineExceeded, Forbidden, NoResponders, ServiceError
from common.core.messages import MessageTooLarge
from common.core.nats_protocol import Violation, publication
from common.core.subjects import exact, pattern

IN_FLIGHT_BYTES = 8 * 1024 * 1024
IN_FLIGHT_CALLS = 4096
LEAVE_SECONDS = 2.0
NO_RESPONDERS = "503"

T = TypeVar("T")


class Link:
    def __init__(self, connection: Connection, name: str) -> None:
        self.connection = connection
        self.losses = 0
        """How often the connection was lost: between two equal counts it was one and the same."""
        self._id = secrets.token_hex(8)
        self._inbox = f"_INBOX.{name}.{self._id}"
        self._outgoing = Outgoing(connection)
        self._room = Room(calls=IN_FLIGHT_CALLS, size_bytes=IN_FLIGHT_BYTES)
        self._subscriptions = Subscriptions(connection)
        self._tokens = count(1)
        self._asked: dict[bytes, tuple[str, asyncio.Future[Arrived]]] = {}
        self._answers_sid = 0
        self._connected = asyncio.Event()
        connection.watch(self)
        if connection.stands:
            self.regained()

    # What the connection tells

    def regained(self) -> None:
        CONNECTED.set(1)
        self._connected.set()
        self._subscriptions.regained()

    def lost(self) -> None:
        CONNECTED.set(0)
        LOSSES.inc()
        self.losses += 1
        self._connected.clear()
        self._outgoing.lost()
        fail_all(list(self._asked.values()), lost)
        self._subscriptions.lost()

    def refused(self, violation: Violation) -> None:
        if violation.operation == "publish" and violation.subject is not None:
            self._outgoing.refused(violation.subject)
            fail_all([one for one in self._asked.values() if one[0].lower() == violation.subject], forbidden)
        elif self._answers_sid and violation.subject == f"{self._inbox}.*".lower():
            self._answers_refused()
        else:
            self._subscriptions.refused(violation)

    # What the bus asks for

    async def until_connected(self) -> None:
        await self._connected.wait()

    async def publish(
        self, subject: str, payload: bytes, headers: Mapping[str, str], *, deadline: float, reply: str = ""
    ) -> None:
        """Returns once the server has read it. `deadline` is in the loop's time, as everywhere here."""
        command = self._command(subject, reply, payload, headers)
        if turn := self._room.taken(len(command)):
            await room_in_time(turn, deadline, subject)
        try:
            await self._confirmed(command, subject, deadline)
        finally:
            self._room.give(len(command))

    async def request(self, subject: str, payload: bytes, headers: Mapping[str, str], *, deadline: float) -> Arrived:
        """The answer, whatever it says. Raises NoResponders when nobody listens there."""
        token = b"%x" % next(self._tokens)
        command = self._command(subject, f"{self._inbox}.{token.decode()}", payload, headers)
        if turn := self._room.taken(len(command)):
            await room_in_time(turn, deadline, subject)
        answer: asyncio.Future[Arrived] = asyncio.get_running_loop().create_future()
        self._asked[token] = (subject, answer)
        try:
            self._listen_for_answers()
            self._outgoing.send(command).answered.append((subject, answer))
            arrived = await told_in_time(answer, deadline, subject)
        except ConnectionLost:
            raise not_sent(subject) from None
        finally:
            del self._asked[token]
            self._room.give(len(command))
        if arrived.block and not arrived.payload and arrived.headers.status == NO_RESPONDERS:
            raise NoResponders(f"Nobody listens on {subject}.")
        return arrived

    def send(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        """Without confirmation. Raises UpstreamUnavailable when it cannot even be tried."""
        try:
            self._outgoing.send(self._command(subject, "", payload, headers))
        except ConnectionLost:
            raise not_sent(subject) from None

    async def barrier(self, *, deadline: float) -> None:
        """Returns once the server has read, and we have, all that was sent before."""
        await self._confirmed(b"", "the server", deadline)

    @asynccontextmanager
    async def subscribed(
        self,
        subject: str,
        deliver: Callable[[Arrived], None],
        *,
        queue: str = "",
        changed: Callable[[Change], None] = lambda _: None,
    ) -> AsyncGenerator[Subscription]:
        """In place when entered, however long NATS is away; on leaving, what is on its way is still delivered.

        Raises Forbidden.
        """
        subscription = Subscription(pattern(subject), queue, deliver, changed)
        try:
            await self._place(subscription)
            yield subscription
        finally:
            await self._leave(subscription)

    def new_inbox(self) -> str:
        """A subject on which nobody else listens."""
        return f"{self._inbox}.pulled.{next(self._tokens):x}"

    def new_id(self) -> str:
        """Not used before by anyone: for messages that are stored once however often they are sent."""
        return f"{self._id}.{next(self._tokens):x}"

    async def _place(self, subscription: Subscription) -> None:
        while not subscription.sid:
            await self._connected.wait()
            try:
                self._subscriptions.add(subscription)
            except ConnectionLost:
                await asyncio.sleep(0)
        await subscription.settled

    async def _leave(self, subscription: Subscription) -> None:
        self._subscriptions.end(subscription)
        try:
            with suppress(ServiceError):  # then nothing is on its way any more
                await self.barrier(deadline=deadline_in(LEAVE_SECONDS))
        finally:
            self._subscriptions.forget(subscription)

    async def _confirmed(self, command: bytes, subject: str, deadline: float) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            self._outgoing.send(command).confirmed.append((subject, waiter))
        except ConnectionLost:
            raise not_sent(subject) from None
        await told_in_time(waiter, deadline, subject)

    def _command(self, subject: str, reply: str, payload: bytes, headers: Mapping[str, str]) -> bytes:
        command = publication(exact(subject), reply, headers, payload)
        limit = min(self.connection.max_payload, IN_FLIGHT_BYTES)
        if len(command) > limit:
            raise MessageTooLarge(f"The message to {subject} has {len(command)} bytes; NATS takes {limit}.")
        return command

    def _listen_for_answers(self) -> None:
        if not self._answers_sid:
            self._answers_sid = self.connection.subscribe_directly(f"{self._inbox}.*", "", self._answered)

    def _answered(self, subject: bytes, reply: bytes, block: bytes | None, payload: bytes) -> None:
        asked = self._asked.get(subject[len(self._inbox) + 1 :])
        if asked and not asked[1].done():
            asked[1].set_result(Arrived("", reply.decode("utf-8", "replace"), block, payload))

    def _answers_refused(self) -> None:
        self.connection.forget(self._answers_sid)
        self._answers_sid = 0
        fail_all(list(self._asked.values()), deaf)


def deaf(subject: str) -> ServiceError:
    return Forbidden(f"NATS does not allow this service to receive an answer from {subject}.")


def expire(waiter: asyncio.Future[Any], subject: str) -> None:
    if not waiter.done():
        waiter.set_exception(DeadlineExceeded(f"NATS did not answer in time about {subject}."))


async def told_in_time(waiter: asyncio.Future[T], deadline: float, subject: str) -> T:
    timer = asyncio.get_running_loop().call_at(deadline, expire, waiter, subject)
    try:
        return await waiter
    finally:
        timer.cancel()


async def room_in_time(turn: Coroutine[Any, Any, None], deadline: float, subject: str) -> None:
    try:
        async with asyncio.timeout_at(deadline):
            await turn
    except TimeoutError:
        raise DeadlineExceeded(f"Too much is under way: nothing was sent to {subject}.") from None


def deadline_in(seconds: float) -> float:
    """In the loop's time."""
    return asyncio.get_running_loop().time() + seconds
