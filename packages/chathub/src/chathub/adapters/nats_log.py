"""The chat log: one JetStream stream, and the copies of its messages that NATS republishes."""

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    Header,
    RePublish,
    RetentionPolicy,
    StorageType,
    StreamConfig,
    StreamInfo,
)

from chathub.core.bus_messages import Message, Position, encode, message_key, subject_of
from chathub.deliver import Arrived, LogReplaced, LogState
from chathub.persist import Pending
from common.core import subjects
from common.core.errors import UpstreamUnavailable

STREAM = subjects.CHAT_STREAM
PERSISTING = "persist"
"""The durable consumer that all nodes share: each message is handed to one of them."""

APPEND_SECONDS = 5.0
ASK_SECONDS = 3.0
READ_BATCH = 500
REPEAT_WINDOW_SECONDS = 120
PERSIST_SECONDS = 15.0
READER_SECONDS = 30
REST_SECONDS = 0.2
"""For the rest of a batch, of which another node may meanwhile have taken a part."""
NAME_IN_USE = 10058


@contextmanager
def translated() -> Generator[None]:
    try:
        yield
    except (nats.errors.Error, TimeoutError, OSError) as error:
        raise UpstreamUnavailable(f"NATS does not answer: {type(error).__name__} {error}") from error


class NatsLog:
    def __init__(self, client: Client, *, days: int, size: int) -> None:
        self._client = client
        self._stream = JetStreamContext(client, timeout=ASK_SECONDS)
        self._config = stream_config(days, size)

    @property
    def connections(self) -> int:
        return self._client.stats["reconnects"]

    def available(self) -> None:
        """Raises UpstreamUnavailable unless the connection stands."""
        if not self._client.is_connected:
            raise UpstreamUnavailable("NATS is not connected.")

    async def append(self, message: Message) -> int:
        """The sequence under which the log has the message for good.

        Raises UpstreamUnavailable when that was not confirmed: it may have it, or not. Sent again with the same
        client message id it is still there only once.
        """
        self.available()
        key = message_key(message)
        headers = {str(Header.MSG_ID.value): key} if key else None
        with translated():
            ack = await self._stream.publish(
                subject_of(message), encode(message), timeout=APPEND_SECONDS, stream=STREAM, headers=headers
            )
        return ack.seq

    async def ensure(self) -> LogState:
        self.available()
        with translated():
            try:
                return state_of(await self._stream.add_stream(self._config))
            except nats.js.errors.BadRequestError as error:
                if error.err_code != NAME_IN_USE:
                    raise
                return state_of(await self._stream.update_stream(self._config))

    async def purge_room(self, channel_id: int) -> None:
        self.available()
        with translated():
            await self._stream.purge_stream(STREAM, subject=subjects.room_in(str(channel_id)))

    async def state(self) -> LogState:
        self.available()
        with translated():
            try:
                return state_of(await self._stream.stream_info(STREAM))
            except nats.js.errors.NotFoundError as error:
                raise LogReplaced("The log is gone.") from error

    @asynccontextmanager
    async def following(self) -> AsyncGenerator["LiveMessages"]:
        self.available()
        with translated():
            subscription = await self._client.subscribe(subjects.CHAT_OUT)
            await self._client.flush(timeout=2)
        async with left(subscription):
            yield LiveMessages(subscription)

    async def read(self, first: int, last: int) -> AsyncIterator[Arrived]:
        async with self._reader(first) as reader:
            remaining = await reader.pending()
            while remaining > 0:
                messages = await reader.fetch(min(READ_BATCH, remaining), ASK_SECONDS)
                if not messages:
                    raise UpstreamUnavailable("NATS does not deliver what the log holds.")
                remaining -= len(messages)
                for message in messages:
                    sequence = message.metadata.sequence.stream
                    if sequence > last:
                        return
                    yield Arrived(sequence, message.data)

    @asynccontextmanager
    async def _reader(self, first: int) -> AsyncGenerator["Pulled"]:
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=first,
            ack_policy=AckPolicy.NONE,
            inactive_threshold=READER_SECONDS,
            mem_storage=True,
        )
        with translated():
            subscription = await self._stream.pull_subscribe("", stream=STREAM, config=config)
        async with left(subscription):
            yield Pulled(subscription)

    @asynccontextmanager
    async def backlog(self) -> AsyncGenerator["NatsBacklog"]:
        state = await self.ensure()
        config = ConsumerConfig(
            ack_policy=AckPolicy.EXPLICIT, ack_wait=PERSIST_SECONDS, max_ack_pending=5000, max_deliver=-1
        )
        with translated():
            subscription = await self._stream.pull_subscribe("", durable=PERSISTING, stream=STREAM, config=config)
        async with left(subscription):
            yield NatsBacklog(Pulled(subscription), state.epoch)


class LiveMessages:
    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription

    async def next(self, seconds: float) -> Arrived | None:
        try:
            message = await self._subscription.next_msg(seconds)
        except nats.errors.TimeoutError:
            return None
        except nats.errors.Error as error:
            raise UpstreamUnavailable(f"NATS does not deliver: {type(error).__name__}.") from error
        return Arrived(int((message.headers or {})["Nats-Sequence"]), message.data)


class Pulled:
    """A pull consumer, as one of us fetches from it."""

    def __init__(self, subscription: JetStreamContext.PullSubscription) -> None:
        self._subscription = subscription

    async def fetch(self, limit: int, seconds: float) -> list[Msg]:
        try:
            return await self._subscription.fetch(limit, seconds)
        except TimeoutError:
            return []
        except nats.errors.Error as error:
            raise UpstreamUnavailable(f"NATS does not answer: {type(error).__name__}.") from error

    async def pending(self) -> int:
        with translated():
            return (await self._subscription.consumer_info()).num_pending or 0


class NatsBacklog:
    def __init__(self, pulled: Pulled, epoch: int) -> None:
        self._pulled = pulled
        self._epoch = epoch
        self._handed_out: dict[int, Msg] = {}

    async def fetch(self, limit: int, seconds: float) -> Sequence[Pending]:
        messages = await self._pulled.fetch(1, seconds)
        more = min(limit - 1, messages[0].metadata.num_pending) if messages else 0
        if more:  # asked for by number: a fetch waits until it has what it asked for
            messages += await self._pulled.fetch(more, REST_SECONDS)
        self._handed_out = {message.metadata.sequence.stream: message for message in messages}
        return [
            Pending(Position(self._epoch, sequence), message.subject, message.data)
            for sequence, message in self._handed_out.items()
        ]

    async def done(self, batch: Sequence[Pending]) -> None:
        with translated():
            for pending in batch:
                await self._handed_out[pending.position.sequence].ack()


@asynccontextmanager
async def left(subscription: Subscription | JetStreamContext.PullSubscription) -> AsyncGenerator[None]:
    """Unsubscribe in the end; a connection that is gone has done so already."""
    try:
        yield
    finally:
        with suppress(nats.errors.Error):
            await subscription.unsubscribe()


def stream_config(days: int, size: int) -> StreamConfig:
    return StreamConfig(
        name=STREAM,
        subjects=[subjects.CHAT_IN],
        republish=RePublish(src=subjects.CHAT_IN, dest=subjects.CHAT_OUT),
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        max_age=days * 86_400,
        max_bytes=size,
        duplicate_window=REPEAT_WINDOW_SECONDS,
        allow_direct=True,
    )


def state_of(info: StreamInfo) -> LogState:
    created = info.created
    assert created is not None  # noqa: S101 - the server always says
    epoch = (created - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return LogState(epoch, max(info.state.first_seq, 1), info.state.last_seq)  # an unused log says 0
