"""nats-py's client with what a bus needs and nats-py 2.16 lacks. Nothing else touches its inner parts.

What it mends, for whoever uses the client: a PING is sent behind what was published before it, so that `flush` is a
barrier (upstream sends it ahead); a PONG whose waiter gave up no longer ends the reading; an error line such as an
expired login no longer closes the client for good, since the server hangs up by itself and a later login may be good
again; a refused login leaves no socket open; nothing but `close` ends the reconnecting.

What it adds, for the link: writing at once, PONGs as they come, messages handed on without a queue and a task of
their own, and word of every loss, recovery and refusal.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, cast

import nats.errors
import structlog
from nats.aio.client import PING_PROTO, Client, Srv
from nats.aio.subscription import Subscription
from nats.aio.transport import TcpTransport
from nats.protocol.parser import PERMISSIONS_ERR, STALE_CONNECTION

from common.core.nats_protocol import Violation, read_violation, subscription, unsubscription

logger = structlog.get_logger(__name__)

Deliver: TypeAlias = Callable[[bytes, bytes, bytes | None, bytes], None]
"""Takes subject, reply subject, header block and payload of a message, at once and without raising."""


class ConnectionLost(nats.errors.Error):
    """There is no connection, or it went before the server had answered."""


class Watcher(Protocol):
    """Is told what becomes of the connection, in the order in which it happens."""

    def regained(self) -> None:
        """Connected, at first or again. Subscriptions are restored before anything that is written from now on."""

    def lost(self) -> None:
        """What was not confirmed yet never will be."""

    def refused(self, violation: Violation) -> None:
        """The server refused something that was written before the PINGs that are not answered yet."""


class Connection(Client):
    def __init__(self) -> None:
        super().__init__()
        self._watchers: list[Watcher] = []
        self._told_connected = self._is_left = False
        self._delivers: dict[int, Deliver] = {}
        self._confirmations: dict[asyncio.Future[Any], Callable[[], None]] = {}

    def watch(self, watcher: Watcher) -> None:
        self._watchers.append(watcher)

    @property
    def stands(self) -> bool:
        return self._told_connected and self.is_connected

    def write(self, data: bytes) -> None:
        """Hand bytes to the socket. Raises ConnectionLost when there is none; nothing is kept for a later one."""
        if not self.stands or self._transport is None:
            raise ConnectionLost("NATS is not connected.")
        self._transport.write(data)

    def confirm(self, data: bytes, told: Callable[[], None]) -> None:
        """The same, and call `told` once the server has read it; never, if the connection is lost first."""
        if not self.stands:
            raise ConnectionLost("NATS is not connected.")
        pong = unawaited()
        self.write_before_ping(data, pong)
        self._confirmations[pong] = told

    def write_before_ping(self, data: bytes, pong: asyncio.Future[Any]) -> None:
        """What nats-py has yet to send goes first. In one step, so that PONGs match their PINGs."""
        if self._transport is None:
            raise ConnectionLost("NATS is not connected.")
        waiting, self._pending, self._pending_data_size = self._pending, [], 0
        self._transport.writelines([*waiting, data, PING_PROTO])
        self._pongs.append(pong)

    def subscribe_directly(self, subject: str, queue: str, deliver: Deliver) -> int:
        """Listen from now on, over reconnections, until `unsubscribe_directly` is given the number returned."""
        self._sid += 1
        sid = self._sid
        self.write(subscription(subject, queue, sid))
        self._subs[sid] = Subscription(self, sid, subject, queue=queue)  # by which nats-py restores it
        self._delivers[sid] = deliver
        return sid

    def unsubscribe_directly(self, sid: int) -> None:
        """Messages that are on their way still arrive, unless `forget` follows."""
        if sid in self._delivers and self.stands:
            self.write(unsubscription(sid))
        self._subs.pop(sid, None)

    def forget(self, sid: int) -> None:
        self._subs.pop(sid, None)
        self._delivers.pop(sid, None)

    async def _send_ping(self, future: asyncio.Future[Any] | None = None) -> None:
        if isinstance(self._transport, TcpTransport):
            self.write_before_ping(b"", future or unawaited())
        else:
            await super()._send_ping(future)

    async def _process_pong(self) -> None:
        if not self._pongs:
            return
        future = cast("asyncio.Future[Any]", self._pongs.pop(0))
        self._pongs_received += 1
        self._pings_outstanding = 0
        if told := self._confirmations.pop(future, None):
            told()
        elif not future.done():
            future.set_result(True)

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        deliver = self._delivers.get(sid)
        if deliver is None:
            await super()._process_msg(sid, subject, reply, data, headers)  # pyright: ignore[reportArgumentType] - None
            return
        self.stats["in_msgs"] += 1
        self.stats["in_bytes"] += len(data)
        deliver(subject, reply, headers, data)

    async def _process_err(self, err_msg: str) -> None:
        if violation := read_violation(err_msg):
            for watcher in self._watchers:
                watcher.refused(violation)
        if PERMISSIONS_ERR in err_msg or STALE_CONNECTION in err_msg:
            await super()._process_err(err_msg)
        else:  # where it is fatal the server hangs up, and that is a loss like any other
            self._err = nats.errors.Error(f"nats: {err_msg}")
            await self._error_cb(self._err)

    async def _connect_to_server(self, s: Srv) -> None:
        """Upstream leaves what an attempt that failed half-way had begun: a socket, and tasks that would read on.

        Nor does it look whether it was closed meanwhile: a cancellation that comes as an attempt fails is lost in
        `asyncio.wait_for` (Python 3.11), and it would try for ever.
        """
        if self._is_left:
            raise asyncio.CancelledError
        begun = cast(
            "list[asyncio.Task[None] | None]", [self._reading_task, self._ping_interval_task, self._flusher_task]
        )
        for task in begun:
            if task is not None:
                task.cancel()
        if isinstance(self._transport, TcpTransport):
            self._transport.close()
        await super()._connect_to_server(s)

    async def _process_connect_init(self) -> None:
        self._tell_lost()  # an attempt that got thus far may still have failed, and nobody was told
        try:
            await super()._process_connect_init()
        except BaseException:
            if self._transport is not None:
                self._transport.close()
            raise
        self._told_connected = True
        for watcher in self._watchers:
            watcher.regained()

    async def _read_loop(self) -> None:
        await super()._read_loop()
        if self._reading_task is asyncio.current_task() and self.is_connected and not self.is_draining:
            await self._process_op_err(nats.errors.UnexpectedEOF())

    async def _attempt_reconnect(self) -> None:
        self._tell_lost()
        while not self._is_left:
            try:
                await super()._attempt_reconnect()
            except Exception as error:  # noqa: BLE001 - upstream gives up for ever on what it does not expect
                if self._is_left:
                    return
                self._status = Client.RECONNECTING
                await self._error_cb(error)
                await asyncio.sleep(self.options["reconnect_time_wait"])
            else:
                return

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        self._is_left = self._is_left or status == Client.CLOSED
        try:
            if self._flush_queue is not None:  # else `connect` has not begun
                await super()._close(status, do_cbs)
        finally:
            self._tell_lost()

    def _tell_lost(self) -> None:
        self._confirmations.clear()
        for pong in cast("list[asyncio.Future[Any]]", self._pongs):
            if not pong.done():
                pong.set_exception(ConnectionLost("NATS was lost before it answered."))
        self._pongs.clear()
        if self._told_connected:
            self._told_connected = False
            for watcher in self._watchers:
                watcher.lost()


def unawaited() -> asyncio.Future[Any]:
    """What nats-py keeps for a PONG that no task waits for."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    future.set_result(True)
    return future
