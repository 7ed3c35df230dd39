"""Drives one session between its socket and the log."""

import asyncio
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from chathub.core.bus_messages import DirectMessage, Message
from chathub.core.outbox import Frame
from chathub.core.session import (
    Action,
    Appended,
    Close,
    Event,
    NotAppended,
    Publish,
    PublishDirect,
    Reason,
    Reply,
    Session,
    TimePassed,
)
from common.core.errors import NotFound, ServiceError


class Socket(Protocol):
    @property
    def inbox(self) -> asyncio.Queue[Event]: ...

    async def listen(self) -> None:
        """Put whatever the client does into the inbox, ClientGone last."""
        ...

    async def write(self) -> None:
        """Send what is pushed, for as long as the client takes it."""
        ...

    def push(self, frame: Frame) -> None: ...

    async def close(self, reason: Reason) -> None: ...


class Log(Protocol):
    async def append(self, message: Message) -> int:
        """The message's sequence, once the log has it for good. Raises UpstreamUnavailable."""
        ...


class People(Protocol):
    async def username_of(self, user_id: str) -> str:
        """Raises NotFound, or UpstreamUnavailable."""
        ...


class Conversation:
    def __init__(self, session: Session, socket: Socket, log: Log, people: People) -> None:
        self._session = session
        self._socket = socket
        self._log = log
        self._people = people

    async def run(self) -> None:
        """Feed the session whatever arrives, in order, and carry out what it decides; return when it is over."""
        closing: Close | None = None
        async with asyncio.TaskGroup() as tasks:
            beside = [tasks.create_task(self._socket.listen()), tasks.create_task(self._socket.write())]
            while not self._session.closed:
                closing = await self._handle(await self._next_event())
            for task in beside:
                task.cancel()
        if closing:
            await self._socket.close(closing.reason)

    async def _next_event(self) -> Event:
        try:
            async with asyncio.timeout_at(self._session.deadline):
                return await self._socket.inbox.get()
        except TimeoutError:
            return TimePassed()

    async def _handle(self, event: Event) -> Close | None:
        now, wall = asyncio.get_running_loop().time(), datetime.now(UTC)
        for action in self._session.handle(event, now, wall):
            if isinstance(action, Close):
                return action
            await self._perform(action)
        return None

    async def _perform(self, action: Action) -> None:
        match action:
            case Reply(frame):
                self._socket.push(frame)
            case Publish(message):
                await self._handle(await self._append(message))
            case PublishDirect(message):
                await self._handle(await self._append_direct(message))
            case Close():
                raise AssertionError("closing is for the loop to do")

    async def _append(self, message: Message) -> Event:
        try:
            return Appended(message.client_msg_id, await self._log.append(message))
        except ServiceError as error:
            return NotAppended(message.client_msg_id, error.code, str(error))

    async def _append_direct(self, message: DirectMessage) -> Event:
        try:
            recipient = await self._people.username_of(message.recipient_id)
        except NotFound:
            return NotAppended(message.client_msg_id, "unknown_recipient", "There is no such user.")
        except ServiceError as error:
            return NotAppended(message.client_msg_id, error.code, str(error))
        return await self._append(msgspec.structs.replace(message, recipient=recipient))
