"""One client's WebSocket, as Starlette hands it to us, and the close codes of the wire."""

import asyncio
from collections.abc import Sequence

from fastapi import WebSocket, WebSocketDisconnect

from chathub.core.outbox import Frame, Outbox
from chathub.core.session import BinaryReceived, ClientGone, Event, FellBehind, Reason, TextReceived

CLOSE_CODES: dict[Reason, int] = {"binary": 1003, "too_slow": 4008, "token_expired": 4401}
REASONS: dict[Reason, str] = {
    "binary": "Only text frames are understood.",
    "too_slow": "Too much was waiting to be read.",
    "token_expired": "The token has expired.",
}

CLOSE_SECONDS = 1.0
INBOX = 4


class WebSocketPeer:
    """Frames to the client wait in an outbox bounded in bytes; when it is full the session is told, once."""

    def __init__(self, websocket: WebSocket, *, outbox_bytes: int) -> None:
        self.inbox: asyncio.Queue[Event] = asyncio.Queue(INBOX)
        self._websocket = websocket
        self._outbox = Outbox(outbox_bytes)
        self._waiting = asyncio.Event()
        self._behind = False

    def push(self, frame: Frame) -> None:
        if self._behind:
            return
        if self._outbox.put(frame):
            self._waiting.set()
        else:
            self._behind = True
            self._outbox.clear()
            self._say_so()

    def welcome(self, frames: Sequence[Frame]) -> None:
        self._outbox.welcome(frames)
        self._waiting.set()

    async def listen(self) -> None:
        event = await self._receive()
        while event != ClientGone():
            await self.inbox.put(event)
            event = await self._receive()
        await self.inbox.put(event)

    async def write(self) -> None:
        try:
            while True:
                await self._waiting.wait()
                self._waiting.clear()
                while frame := self._outbox.take():
                    await self._websocket.send_text(frame.text)
        except (WebSocketDisconnect, RuntimeError):
            return  # closed by the client, or by the server (the RuntimeError); `listen` hears of either

    async def close(self, reason: Reason) -> None:
        """Say why, if the client still listens; the server ends the connection in any case."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._websocket.close(CLOSE_CODES[reason], REASONS[reason])
        except (TimeoutError, WebSocketDisconnect, RuntimeError):
            return  # the client was faster: Starlette says so by a RuntimeError

    async def _receive(self) -> Event:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            return ClientGone()
        text = message.get("text")
        return BinaryReceived() if text is None else TextReceived(text)

    def _say_so(self) -> None:
        """Ahead of whatever the client sent: there is nothing more to answer it."""
        while self.inbox.full():
            self.inbox.get_nowait()
        self.inbox.put_nowait(FellBehind())
