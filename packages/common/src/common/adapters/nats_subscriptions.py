"""What a process listens to: each subscription confirmed by the server, restored after every loss, or refused."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, NamedTuple, TypeAlias

import structlog

from common.adapters.nats_connection import Connection, ConnectionLost
from common.core.errors import Forbidden, ServiceError, UpstreamUnavailable
from common.core.nats_protocol import Headers, Violation, read_headers

logger = structlog.get_logger(__name__)


class Arrived(NamedTuple):
    """A message as it came; its headers are read when they are asked for."""

    subject: str
    reply: str
    block: bytes | None
    payload: bytes

    @property
    def headers(self) -> Headers:
        return read_headers(self.block)


Change: TypeAlias = Literal["in_place", "lost"] | ServiceError
"""`lost`: what is published from now on does not arrive. `in_place`: it does again. An error: it never will."""


class Subscription:
    """Interest in one subject. `deliver` and `changed` are called at once and must not raise."""

    def __init__(
        self, subject: str, queue: str, deliver: Callable[[Arrived], None], changed: Callable[[Change], None]
    ) -> None:
        self.subject = subject
        self.queue = queue
        self.sid = 0
        self.settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once it is in place for the first time, or refused."""
        self._in_place = False
        self._deliver = deliver
        self._changed = changed

    def arrived(self, subject: bytes, reply: bytes, block: bytes | None, payload: bytes) -> None:
        try:
            self._deliver(Arrived(subject.decode("utf-8", "replace"), reply.decode("utf-8", "replace"), block, payload))
        except Exception:  # the reading goes on for all others
            logger.exception("message not handed on")

    def change(self, change: Change) -> None:
        was, self._in_place = self._in_place, change == "in_place"
        if not self.settled.done():
            self._settle(change)
        elif not self.settled.cancelled() and (change != "lost" or was):
            self._changed(change)

    def _settle(self, change: Change) -> None:
        if isinstance(change, ServiceError):
            self.settled.set_exception(change)
        elif change == "in_place":
            self.settled.set_result(None)

    def matches(self, violation: Violation) -> bool:
        if violation.subject is None:
            return not self._in_place
        return (self.subject.lower(), self.queue.lower()) == (violation.subject, violation.queue)


class Subscriptions:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._kept: dict[int, Subscription] = {}

    def add(self, subscription: Subscription) -> None:
        """From now on it is kept in place; `settled` says when it is. Raises ConnectionLost."""
        subscription.sid = self._connection.subscribe_directly(
            subscription.subject, subscription.queue, subscription.arrived
        )
        self._kept[subscription.sid] = subscription
        self._confirm((subscription,))

    def end(self, subscription: Subscription) -> None:
        """No more is wanted; what is on its way still arrives until `forget`."""
        self._connection.unsubscribe_directly(subscription.sid)
        self._kept.pop(subscription.sid, None)

    def forget(self, subscription: Subscription) -> None:
        self._connection.forget(subscription.sid)
        self._kept.pop(subscription.sid, None)

    def regained(self) -> None:
        """nats-py writes its restoring lines right after this call; the PING has to follow them."""
        if self._kept:
            asyncio.get_running_loop().call_soon(self._confirm, tuple(self._kept.values()))

    def lost(self) -> None:
        for subscription in tuple(self._kept.values()):
            subscription.change("lost")

    def refused(self, violation: Violation) -> None:
        for subscription in tuple(self._kept.values()):
            if subscription.matches(violation):
                self.forget(subscription)
                subscription.change(refusal(subscription, violation))

    def _confirm(self, placed: tuple[Subscription, ...]) -> None:
        def confirmed() -> None:
            for subscription in placed:
                if subscription.sid in self._kept:
                    subscription.change("in_place")

        with suppress(ConnectionLost):  # they are confirmed once the connection is regained
            self._connection.confirm(b"", confirmed)


def refusal(subscription: Subscription, violation: Violation) -> ServiceError:
    if violation.subject is None:
        return UpstreamUnavailable(f"NATS allows no further subscription: {subscription.subject} is not listened to.")
    return Forbidden(f"NATS does not allow this service to listen to {subscription.subject}.")
