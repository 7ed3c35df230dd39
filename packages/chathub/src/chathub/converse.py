"""Drives one session between its socket and the log."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from chathub.core.bus_messages import Amendment, DirectMessage, Message, Stored
from chathub.core.client_frames import Amend, Frame
from chathub.core.closing import Reason
from chathub.core.session import (
    Action,
    Appended,
    BinaryReceived,
    ClientGone,
    Close,
    Event,
    Find,
    Found,
    Limited,
    NotAppended,
    Publish,
    PublishDirect,
    Reply,
    Session,
    Tell,
    TextReceived,
    TimePassed,
    Verified,
    Verify,
)
from chathub.core.signals import Signal
from chathub.observe import APPEND_SECONDS, APPENDED, FRAMES
from chathub.search import ADMIN
from common.core.errors import NotFound, ServiceError
from common.core.identity import Identity

_IS_APPENDED = APPENDED.labels("appended")


class Socket(Protocol):
    async def receive(self) -> TextReceived | BinaryReceived | ClientGone: ...

    def answer(self, frame: Frame) -> None: ...

    def end(self, reason: Reason) -> None:
        """Send nothing more but why; then what `when_ended` named is called, once."""
        ...

    def when_ended(self, stop: Callable[[], None]) -> None: ...

    async def close(self) -> None:
        """Say why it ended, if it was ended from here."""
        ...


class Log(Protocol):
    async def append(self, message: Message) -> int:
        """The message's sequence, once the log has it for good. Raises UpstreamUnavailable."""
        ...


class People(Protocol):
    async def username_of(self, user_id: str) -> str:
        """Raises NotFound, or UpstreamUnavailable."""
        ...


class Messages(Protocol):
    async def said(self, cache_id: int) -> Stored | None:
        """A message as it stands, wherever it is kept. Raises UpstreamUnavailable."""
        ...


class Limits(Protocol):
    async def wait_ms(self, user_id: str) -> int:
        """Count one message of the user; 0 if it may pass, else when to try again."""
        ...


class Tokens(Protocol):
    async def identify(self, token: str | None) -> Identity:
        """Raises Unauthenticated, or UpstreamUnavailable when the issuer is away."""
        ...


class Signalling(Protocol):
    def tell(self, signal: Signal) -> None: ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a conversation needs beside its socket, by role."""

    log: Log
    people: People
    messages: Messages
    limits: Limits
    tokens: Tokens
    signals: Signalling


class Conversation:
    __slots__ = ("_alarm", "_around", "_over", "_session", "_socket", "_stopped")

    def __init__(self, session: Session, socket: Socket, around: Surroundings) -> None:
        self._session = session
        self._socket = socket
        self._around = around
        self._over = asyncio.timeout(None)
        self._stopped = False

    async def run(self) -> None:
        """Feed the session whatever arrives, in order, and carry out what it decides; return when it is over.

        One task does all: tens of thousands of these go on at once.
        """
        try:
            async with self._over:
                self._socket.when_ended(self._stop)
                self._set_alarm()
                while not (self._session.closed or self._stopped):
                    await self._handle(await self._socket.receive())
        except TimeoutError:
            if not self._stopped:
                raise
        finally:
            self._alarm.cancel()
        await self._socket.close()

    def _stop(self) -> None:
        """Whatever is waited for; some of that loses a cancellation (`common.ending`)."""
        self._stopped = True
        self._over.reschedule(asyncio.get_running_loop().time())

    def _set_alarm(self) -> None:
        self._alarm = asyncio.get_running_loop().call_at(self._session.deadline, self._ring)

    def _ring(self) -> None:
        """The deadline moves on while the client talks, so most alarms find that nothing is due."""
        for action in self._decisions(TimePassed()):
            self._perform_at_once(action)
        if not self._session.closed:
            self._set_alarm()

    def _decisions(self, event: Event) -> list[Action]:
        return self._session.handle(event, asyncio.get_running_loop().time(), datetime.now(UTC))

    async def _handle(self, event: Event) -> None:
        if isinstance(event, TextReceived):
            FRAMES.inc()
        actions = self._decisions(event)
        if isinstance(event, Verified):  # the newer token may end earlier
            self._alarm.cancel()
            self._set_alarm()
        for action in actions:
            if not self._perform_at_once(action):
                await self._handle(await self._outcome(action))

    def _perform_at_once(self, action: Action) -> bool:
        """False for what takes time."""
        match action:
            case Reply(frame):
                self._socket.answer(frame)
            case Tell(signal):
                self._around.signals.tell(signal)
            case Close(reason):
                self._socket.end(reason)
            case _:
                return False
        return True

    async def _outcome(self, action: Action) -> Event:
        match action:
            case Publish(Amendment() as message):
                return await self._append(message)  # it was counted when it was looked for
            case Publish(message):
                return await self._limited(message.client_msg_id) or await self._append(message)
            case PublishDirect(message):
                return await self._limited(message.client_msg_id) or await self._append_direct(message)
            case Find(wanted):
                return await self._limited(wanted.client_msg_id) or await self._find(wanted)
            case Verify(token):
                return await self._verify(token)
            case _:
                raise AssertionError("done at once")

    async def _limited(self, client_msg_id: str | None) -> Limited | None:
        """Before anything is looked up: what leads nowhere costs as much."""
        if wait_ms := await self._around.limits.wait_ms(self._session.user.id):
            APPENDED.labels("rate_limited").inc()
            return Limited(client_msg_id, wait_ms)
        return None

    async def _append(self, message: Message) -> Event:
        begun = time.perf_counter()
        try:
            sequence = await self._around.log.append(message)
        except ServiceError as error:
            APPENDED.labels("refused").inc()
            return NotAppended(message.client_msg_id, error.code, str(error))
        _IS_APPENDED.inc()
        APPEND_SECONDS.observe(time.perf_counter() - begun)
        return Appended(message.client_msg_id, sequence)

    async def _append_direct(self, message: DirectMessage) -> Event:
        try:
            recipient = await self._around.people.username_of(message.recipient_id)
        except NotFound:
            return NotAppended(message.client_msg_id, "unknown_recipient", "There is no such user.")
        except ServiceError as error:
            return NotAppended(message.client_msg_id, error.code, str(error))
        return await self._append(msgspec.structs.replace(message, recipient=recipient))

    async def _find(self, wanted: Amend) -> Event:
        try:
            return Found(wanted, await self._around.messages.said(wanted.cache_id))
        except ServiceError as error:
            return NotAppended(wanted.client_msg_id, error.code, str(error))

    async def _verify(self, token: str) -> Event:
        try:
            newer = await self._around.tokens.identify(token)
        except ServiceError as error:
            return NotAppended(None, error.code, str(error))
        return Verified(
            newer.subject,
            newer.client_id,
            ADMIN in newer.roles,
            expires_in=newer.expires_at - time.time(),
            expires_at=newer.expires_at,
            session_id=newer.session_id,
        )
