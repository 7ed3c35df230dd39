"""One client's WebSocket: what comes in by ASGI, and what goes out past it, straight to the connection."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from starlette.types import Receive, Scope, Send

from chathub.core.client_frames import Frame
from chathub.core.closing import CODES, TEXTS, Reason
from chathub.core.hub import Peer
from chathub.core.session import BinaryReceived, ClientGone, TextReceived
from chathub.observe import CLOSED
from common.core.event_frames import websocket_text
from common.serving.direct_writes import Outlet, outlet_of
from common.serving.fanout import Fanout, Seat


class Sockets:
    """All that are open here."""

    def __init__(self) -> None:
        self._fanout = Fanout()

    def tell(self, frame: Frame, *, but: Iterable[Peer] = ()) -> None:
        seats = [peer.seat for peer in but if isinstance(peer, WebSocketPeer) and peer.seat]
        self._fanout.to_all(websocket_text(frame), but=seats)

    def peer(self, *, outbox_bytes: int) -> "WebSocketPeer":
        return WebSocketPeer(self._fanout, outbox_bytes)


class WebSocketPeer:
    """What the client does not read waits in its connection; when that is more than it may, the client is closed."""

    __slots__ = ("_fanout", "_outbox_bytes", "_outlet", "_receive", "_send", "_stop", "reason", "seat")

    def __init__(self, fanout: Fanout, outbox_bytes: int) -> None:
        self.seat: Seat | None = None
        self.reason: Reason | None = None
        self._fanout = fanout
        self._outbox_bytes = outbox_bytes
        self._stop: Callable[[], None] | None = None

    async def accept(self, scope: Scope, receive: Receive, send: Send, subprotocol: str | None) -> None:
        await send({"type": "websocket.accept", "subprotocol": subprotocol})
        self._receive, self._send = receive, send
        self._outlet: Outlet = outlet_of(scope)
        scope.update(headers=[], query_string=b"", subprotocols=[])  # tokens, mostly; nobody asks for them again

    # What the hub does

    def welcome(self, frames: Sequence[Frame]) -> None:
        """History must not close who asks for it, so it comes on top of what may wait. Who was ended gets none."""
        if self.reason:
            return
        data = b"".join([websocket_text(frame) for frame in frames])
        allowed = self._outbox_bytes + len(data)
        self.seat = self._fanout.seat(self._outlet, allowed_bytes=allowed, slow=self._fell_behind)
        self._fanout.to_one(self.seat, data)

    def push(self, frame: Frame) -> None:
        if self.seat:
            self._fanout.to_one(self.seat, websocket_text(frame))

    def leave(self) -> None:
        if self.seat:
            self._fanout.leave(self.seat)
            self.seat = None

    def end(self, reason: Reason) -> None:
        if self.reason is None:
            self.reason = reason
            self.leave()
            if self._stop:
                self._stop()

    # What the conversation does

    def answer(self, frame: Frame) -> None:
        """At once: it has no place in the order of what is said."""
        if self.seat:
            self._fanout.aside(self.seat, websocket_text(frame))

    def when_ended(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        if self.reason:
            stop()

    async def receive(self) -> TextReceived | BinaryReceived | ClientGone:
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            return ClientGone()
        text = message.get("text")
        return BinaryReceived() if text is None else TextReceived(text)

    async def close(self) -> None:
        """The server ends the connection in any case, also of one who reads nothing."""
        self._stop = None
        self.leave()
        CLOSED.labels(self.reason or "gone").inc()
        if self.reason:
            with suppress(RuntimeError):  # the server was faster, over a frame that it did not understand
                await self._send({"type": "websocket.close", "code": CODES[self.reason], "reason": TEXTS[self.reason]})

    def _fell_behind(self) -> None:
        self.end("too_slow")
