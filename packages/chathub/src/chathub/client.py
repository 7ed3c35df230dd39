"""A chat client for programs.

    async with open_chat("wss://example.org/ws", token) as chat:
        await chat.say("general", "hello")  # returns once the message is on disk
        async for event in chat:
            ...

It comes back by itself, on any node, and goes on where it stood. What was not confirmed is sent again, which the server
tells from a second message, so each message is there once, whatever happened in between.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypedDict, Unpack
from uuid import uuid4

import orjson
import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from chathub.core.standing import NEW, Event, Frame, Placed, Standing, UnexpectedFrame, read_frame
from common.core.errors import DeadlineExceeded, ServiceError
from common.ending import ended

logger = structlog.get_logger(__name__)

TokenSource: TypeAlias = Callable[[], Awaitable[str]]
"""Asked before each connect, and when a token is about to expire; whatever it raises, it is asked again later."""

MAX_FRAME_BYTES = 64 * 1024 * 1024
"""The largest frame names everybody who is there: a hundred bytes for each, or a few thousand at worst."""
MAX_UNREAD_EVENTS = 10_000
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 10.0
AGAIN_SECONDS = 0.5
RESENT_AT_ONCE = 100
RESENT_PER_SECOND = 25.0
"""Well below what a node takes of one socket, `CHATHUB_FRAMES_BURST` and `CHATHUB_FRAMES_PER_SECOND`, by default."""
TERMINAL_CODES = range(4500, 5000)
TERMINAL_STATUSES = (400, 401, 403)
PASSING = frozenset(("log_set_back", "upstream_unavailable", "deadline_exceeded", "no_responders"))
"""Errors after which the same message may be sent again."""


class Ended(ServiceError):
    """The server does not want this client back; `reason` is what it said."""

    code = "ended"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The chat has ended: {reason}")
        self.reason = reason


class TokenUnavailable(ServiceError):
    """The program's own token source failed; the chat goes on as long as the last token does."""

    code = "token_unavailable"


class Refused(ServiceError):
    """The server does not take this message, and would not later."""

    code = "refused"

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Terms:
    """`urls` are nodes or what stands before them, tried in turn; for the rest see `Wishes`."""

    urls: tuple[str, ...]
    listens: bool = True
    connect_seconds: float = 10.0
    max_frame_bytes: int = MAX_FRAME_BYTES
    proxy: str | bool | None = True


class Wishes(TypedDict, total=False):
    """`listens` is false for who only sends. A frame larger than `max_frame_bytes` is not read: the connection is made
    anew."""

    listens: bool
    connect_seconds: float
    max_frame_bytes: int
    proxy: str | bool | None


@dataclass(frozen=True, slots=True)
class Later:
    """The message was not taken, and may be sent again after so long."""

    seconds: float


@dataclass(slots=True)
class Unconfirmed:
    frame: dict[str, Any]
    answer: asyncio.Future[int | Later] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Chat:
    """Iterate over it for what happens; one iteration at a time. Made by `open_chat`."""

    def __init__(self, terms: Terms, token: TokenSource, standing: Standing) -> None:
        self._terms = terms
        self._token = token
        self._standing = standing
        self._events: asyncio.Queue[Placed | None] = asyncio.Queue(MAX_UNREAD_EVENTS)
        self._handled = self._in_hand = standing.place
        self._unconfirmed: dict[str, Unconfirmed] = {}
        self._socket: ClientConnection | None = None
        self._ended: Ended | None = None
        self._pause_seconds = 0.0
        self._blocked_until = 0.0
        self._turn = 0
        self._failures = 0
        self._refused = 0
        self._connects = 0

    @property
    def place(self) -> str:
        """Up to where the program has handled everything: given to `open_chat` after a restart, it goes on from there.

        An event is handled once the next one is asked for.
        """
        return self._handled if self._terms.listens else self._standing.place

    @property
    def connects(self) -> int:
        """How often it has connected so far."""
        return self._connects

    async def say(self, channel: str, message: str, **more: Any) -> int:
        """The message's `cacheID`. Raises Refused, Ended, or DeadlineExceeded: then it may be there or not.

        More: `client_msg_id`, by which a message is known if it is said again; `deadline_seconds`.
        """
        return await self._confirmed({"type": "chat_message", "channel": channel, "message": message}, **more)

    async def whisper(self, recipient_id: str, message: str, **more: Any) -> int:
        frame = {"type": "private_chat_message", "recipient_id": recipient_id, "message": message}
        return await self._confirmed(frame, **more)

    async def edit(self, cache_id: int, message: str, **more: Any) -> int:
        return await self._confirmed({"type": "edit_message", "cacheID": cache_id, "message": message}, **more)

    async def delete(self, cache_id: int, **more: Any) -> int:
        return await self._confirmed({"type": "delete_message", "cacheID": cache_id}, **more)

    async def signal(self, type: str, **place: Any) -> None:
        """`typing` or `read`, in a `channel` or to a `recipient_id`; lost if there is no connection."""
        await self._send({"type": type, **place})

    def __aiter__(self) -> "Chat":
        return self

    async def __anext__(self) -> Event:
        """Raises Ended."""
        self._handled = self._in_hand
        if self._ended and self._events.empty():
            raise self._ended
        placed = await self._events.get()
        if placed is None:
            raise self._ended or Ended("closed")
        event, self._in_hand = placed
        return event

    async def _confirmed(
        self, frame: dict[str, Any], *, client_msg_id: str | None = None, deadline_seconds: float = 30
    ) -> int:
        if self._ended:
            raise self._ended
        id = client_msg_id or uuid4().hex
        waiting = self._unconfirmed[id] = Unconfirmed({**frame, "client_msg_id": id})
        try:
            async with asyncio.timeout(deadline_seconds):
                return await self._insist(waiting)
        except TimeoutError:
            raise DeadlineExceeded("The message was not confirmed in time; it may be there or not.") from None
        finally:
            self._unconfirmed.pop(id, None)

    async def _insist(self, waiting: Unconfirmed) -> int:
        while True:
            await self._send(waiting.frame)
            answer = await waiting.answer
            if isinstance(answer, int):
                return answer
            await self._unblocked(answer.seconds)
            waiting.answer = asyncio.get_running_loop().create_future()

    async def _unblocked(self, seconds: float) -> None:
        """So long after the node takes frames again; it may say meanwhile that it does later."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._blocked_until - loop.time()) + seconds)
        while (blocked_seconds := self._blocked_until - loop.time()) > 0:  # noqa: ASYNC110 - a time, which may move
            await asyncio.sleep(blocked_seconds + seconds)

    # The connection

    async def run(self) -> None:
        """Until the server says that it is for good."""
        try:
            while self._ended is None:
                await self._visit_and_note()
                if self._ended is None:
                    await asyncio.sleep(self._pause())
        finally:
            self._finish(self._ended or Ended("closed"))

    async def _visit_and_note(self) -> None:
        try:
            await self._visit()
        except (OSError, TimeoutError, WebSocketException, ServiceError, UnexpectedFrame) as error:
            self._note(error)
        finally:
            self._socket = None
            self._standing.disconnected()

    async def _visit(self) -> None:
        url = self._terms.urls[self._turn % len(self._terms.urls)]
        headers = {"Authorization": f"Bearer {await self._fresh_token()}"}
        async with connect(
            with_query(url, f"resume={self._standing.place}"),
            additional_headers=headers,
            open_timeout=self._terms.connect_seconds,
            max_size=self._terms.max_frame_bytes,
            compression=None,
            proxy=None if self._terms.proxy is False else self._terms.proxy,
        ) as socket:
            self._connects += 1
            self._pause_seconds = 0.0
            async for text in socket:
                await self._hear(read_frame(text), socket)

    async def _hear(self, frame: Frame, socket: ClientConnection) -> None:
        match frame.type:
            case "ack":
                self._resolve(frame.payload)
            case "error" | "rate_limited":
                self._answered(frame)
            case "token_expiring":
                await self._refresh(socket)
            case _:
                for placed in self._standing.take_placed(frame):
                    await self._tell(placed)
                if frame.type == "connected_users" and self._socket is None:
                    await self._welcomed(socket)
                if frame.type == "reconnect":
                    self._pause_seconds = frame.payload.get("after_ms", 0) / 1000

    async def _fresh_token(self) -> str:
        """Raises TokenUnavailable."""
        try:
            return await self._token()
        except Exception as error:
            raise TokenUnavailable(f"The token source failed: {type(error).__name__}") from error

    async def _refresh(self, socket: ClientConnection) -> None:
        try:
            token = await self._fresh_token()
        except TokenUnavailable as error:
            logger.warning("token not renewed", error=str(error))
        else:
            await socket.send(encoded({"type": "refresh", "token": token}))

    async def _welcomed(self, socket: ClientConnection) -> None:
        """What was not confirmed goes first, in the order in which it was said; no more at once than a node takes."""
        self._socket, self._failures = socket, 0
        unconfirmed = list(self._unconfirmed.values())
        for waiting in unconfirmed[:RESENT_AT_ONCE]:
            await socket.send(encoded(waiting.frame))
        say_later(unconfirmed[RESENT_AT_ONCE:])

    async def _tell(self, placed: Placed) -> None:
        if self._terms.listens:
            await self._events.put(placed)

    async def _send(self, frame: dict[str, Any]) -> None:
        try:
            if self._socket:
                await self._socket.send(encoded(frame))
        except ConnectionClosed:
            return  # it is sent again once there is another

    def _resolve(self, payload: dict[str, Any]) -> None:
        waiting = self._unconfirmed.get(payload.get("client_msg_id", ""))
        if waiting and not waiting.answer.done():
            waiting.answer.set_result(payload["cacheID"])

    def _answered(self, frame: Frame) -> None:
        id = frame.payload.get("client_msg_id")
        if frame.type == "rate_limited" and id is None:  # a frame was dropped unread: it may be any of them
            self._blocked_until = asyncio.get_running_loop().time() + frame.payload["retry_after_ms"] / 1000
            say_later(list(self._unconfirmed.values()))
            return
        waiting = self._unconfirmed.get(id or "")
        if waiting is None or waiting.answer.done():
            return
        reason = str(frame.payload.get("code", frame.type))
        if frame.type == "rate_limited":
            waiting.answer.set_result(Later(frame.payload["retry_after_ms"] / 1000))
        elif reason in PASSING:
            waiting.answer.set_result(Later(AGAIN_SECONDS))
        else:
            waiting.answer.set_exception(Refused(reason, str(frame.payload.get("message", ""))))

    def _note(self, error: Exception) -> None:
        """Another node may be better; a token that was refused may have been too old by a moment."""
        self._turn += 1
        self._failures += 1
        reason = final(error)
        self._refused = self._refused + 1 if reason else 0
        if reason and (isinstance(error, ConnectionClosed) or self._refused > 1):
            self._ended = Ended(reason)
        else:
            logger.info("chat interrupted", error=type(error).__name__, attempt=self._failures)

    def _finish(self, ended: Ended) -> None:
        self._ended = ended
        for waiting in self._unconfirmed.values():
            if not waiting.answer.done():
                waiting.answer.set_exception(ended)
        if self._events.empty():
            self._events.put_nowait(None)

    def _pause(self) -> float:
        """Anything up to twice as long as the last time: many clients must not come back in step."""
        ceiling = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(self._failures, 10))
        return self._pause_seconds or random.uniform(0, ceiling)  # noqa: S311 - nobody guards anything by it


def final(error: Exception) -> str | None:
    """Why there is no use in coming back, if there is none."""
    if isinstance(error, ConnectionClosed) and error.rcvd and error.rcvd.code in TERMINAL_CODES:
        return error.rcvd.reason or str(error.rcvd.code)
    if isinstance(error, InvalidStatus) and error.response.status_code in TERMINAL_STATUSES:
        return f"refused with {error.response.status_code}"
    return None


def say_later(unconfirmed: list[Unconfirmed]) -> None:
    """Each is said again, one behind the other; what was taken already is not taken twice."""
    waiting = [one for one in unconfirmed if not one.answer.done()]
    for place, one in enumerate(waiting, 1):
        one.answer.set_result(Later(place / RESENT_PER_SECOND))


def with_query(url: str, query: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}{query}"


def encoded(frame: dict[str, Any]) -> str:
    return orjson.dumps(frame).decode()


@asynccontextmanager
async def open_chat(
    urls: str | tuple[str, ...], token: TokenSource, *, resume: str = NEW, **wishes: Unpack[Wishes]
) -> AsyncGenerator[Chat]:
    """Connects in the background, and again for as long as it is open; `resume` is the `place` of an earlier one."""
    terms = Terms((urls,) if isinstance(urls, str) else urls, **wishes)
    chat = Chat(terms, token, Standing(resume))
    running = asyncio.create_task(chat.run())  # noqa: TID251 - ended below, and nowhere else
    try:
        yield chat
    finally:
        await ended([running])
