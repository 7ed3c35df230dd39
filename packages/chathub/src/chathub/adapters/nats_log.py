"""The chat log: one JetStream stream, and the copies of its messages that NATS republishes."""

import asyncio
import secrets
from base64 import b64decode
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    RePublish,
    RetentionPolicy,
    StorageType,
    StreamConfig,
    StreamInfo,
)

from chathub.core.bus_messages import (
    Amendment,
    Message,
    Position,
    Stored,
    Unreadable,
    encode,
    message_key,
    read_message,
    subject_of,
    superseded,
)
from chathub.core.resume import LogBounds
from chathub.deliver import Arrived, Interrupted, LogReplaced
from chathub.persist import Pending
from chathub.vouch import Place
from common.adapters.nats_bus import Bus
from common.adapters.nats_jetstream import ask, stream_info
from common.adapters.nats_link import Link, deadline_in
from common.adapters.nats_listening import Gap, Listening
from common.adapters.nats_pulling import Handed, Pull, ensure_consumer
from common.core import subjects
from common.core.errors import NotFound, ServiceError, UpstreamUnavailable

STREAM = subjects.CHAT_STREAM

APPEND_SECONDS = 5.0
ASK_SECONDS = 3.0
READ_BATCH = 500
REPEAT_WINDOW_SECONDS = 300
PERSIST_SECONDS = 5.0
"""After which what was handed out is handed out again, so that what a lost connection swallowed has its rows soon."""
UNCONFIRMED = 50_000
"""What all nodes together may have in hand; beyond it the consumer would be silent."""
READER_SECONDS = 30
LIVE_MESSAGES = 65_536
LIVE_BYTES = 64 * 1024 * 1024


@contextmanager
def translated() -> Generator[None]:
    """What the log has to say is that it is not to be used now; the cause is chained."""
    try:
        yield
    except UpstreamUnavailable:
        raise
    except ServiceError as error:
        raise UpstreamUnavailable(f"The log cannot be used: {error}") from error


class NatsLog:
    def __init__(self, bus: Bus, *, days: int, size: int) -> None:
        self._bus = bus
        self._link: Link = bus.link
        self._config = stream_config(days, size)

    def available(self) -> None:
        """Raises UpstreamUnavailable unless the connection stands."""
        if not self._link.connection.stands:
            raise UpstreamUnavailable("NATS is not connected.")

    @property
    def losses(self) -> int:
        return self._link.losses

    async def append(self, message: Message) -> Place:
        """Where the log has the message for good.

        Raises UpstreamUnavailable when that was not confirmed: it may have it, or not. Sent again with the same
        client message id it is still there only once.
        """
        self.available()
        with translated():
            stored = await self._bus.publish_durable(
                subject_of(message),
                encode(message),
                message_id=message_key(message),
                stream=STREAM,
                deadline_seconds=APPEND_SECONDS,
            )
        return Place(stored.sequence, is_new=not stored.duplicate)

    async def ensure(self, after: int) -> LogBounds:
        self.available()
        with translated():
            try:
                first = (await stream_info(self._link, STREAM)).config.first_seq
            except NotFound:
                first = after + 1
            return bounds(await self._bus.ensure_stream(replace(self._config, first_seq=first)))

    async def purge_room(self, channel_id: int) -> None:
        self.available()
        said_in = subjects.room_in(str(channel_id))
        with translated():
            for filtered in (said_in, subjects.changes_in(said_in)):
                await ask(self._link, subjects.stream_request("PURGE", STREAM), {"filter": filtered})

    async def erase_superseded(self, epoch: int, amendments: Sequence[Amendment]) -> None:
        """In a log made anew other messages stand at these places."""
        if (await self.state()).epoch != epoch:
            return
        for amendment in amendments:
            changes = [stored async for stored in self._all_on(subject_of(amendment), epoch)]
            for place in superseded(changes) if changes else ():
                if place.epoch == epoch:
                    await self._erase(place.sequence)

    async def erase(self, position: Position) -> None:
        """Overwrite one entry of the log, if it is there."""
        if (await self.state()).epoch == position.epoch:
            await self._erase(position.sequence)

    async def _erase(self, sequence: int) -> None:
        """JetStream fails in the same way whether the message is gone already or cannot be erased now."""
        place = {"seq": sequence}
        with translated(), suppress(NotFound):
            try:
                await ask(self._link, subjects.delete_message(STREAM), place)
            except UpstreamUnavailable:
                await ask(self._link, subjects.stored_message(STREAM), place)
                raise

    async def _all_on(self, subject: str, epoch: int) -> AsyncIterator[Stored]:
        sequence = 0
        with translated(), suppress(NotFound):
            while True:
                wanted = {"seq": sequence + 1, "next_by_subj": subject}
                told = (await ask(self._link, subjects.stored_message(STREAM), wanted))["message"]
                sequence = int(told["seq"])
                with suppress(Unreadable):
                    yield Stored(Position(epoch, sequence), read_message(b64decode(told["data"])))

    async def state(self) -> LogBounds:
        self.available()
        with translated():
            try:
                return bounds(await stream_info(self._link, STREAM))
            except NotFound as error:
                raise LogReplaced("The log is gone.") from error

    async def at(self, sequence: int) -> Stored | None:
        """The message at one place, if the log still has it and it can be read."""
        state = await self.state()
        with translated():
            body = msgspec.json.encode({"seq": sequence})
            deadline = deadline_in(ASK_SECONDS)
            found = await self._link.request(subjects.message_at(STREAM), body, {}, deadline=deadline)
        if found.headers.status:
            return None
        try:
            return Stored(Position(state.epoch, sequence), read_message(found.payload))
        except Unreadable:
            return None

    async def stored_to(self) -> int:
        """Up to where everything was handed out to be stored and confirmed; what is not there needs not be."""
        state = await self.state()
        before = state.first - 1
        with translated():
            try:
                told = await ask(self._link, subjects.consumer_request("INFO", STREAM, persisting(state.epoch)), {})
            except NotFound:
                return before
        return max(before, int(told["ack_floor"]["stream_seq"]))

    async def delete(self) -> None:
        with translated():
            await ask(self._link, subjects.stream_request("DELETE", STREAM), {})

    @asynccontextmanager
    async def following(self) -> AsyncGenerator["LiveMessages"]:
        self.available()
        listening = self._bus.listening(subjects.CHAT_OUT, bytes, messages=LIVE_MESSAGES, size_bytes=LIVE_BYTES)
        async with listening as live:
            yield LiveMessages(live)

    async def read(self, first: int, last: int) -> AsyncIterator[Arrived]:
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=first,
            ack_policy=AckPolicy.NONE,
            inactive_threshold=READER_SECONDS,
            mem_storage=True,
        )
        async with self._pulling(f"read-{secrets.token_hex(8)}", config) as (pull, waiting):
            while waiting > 0:
                handed = await self._fetched(pull, min(READ_BATCH, waiting), ASK_SECONDS)
                if not handed:
                    raise UpstreamUnavailable("NATS does not deliver what the log holds.")
                waiting -= len(handed)
                for arrived, delivered in handed:
                    if delivered.stream_sequence > last:
                        return
                    yield Arrived(delivered.stream_sequence, arrived.payload)

    @asynccontextmanager
    async def _pulling(self, name: str, config: ConsumerConfig) -> AsyncGenerator[tuple[Pull, int]]:
        """A consumer of this moment's own, and how much waits for it."""
        self.available()
        with translated():
            config.name = name
            waiting = await ensure_consumer(self._link, STREAM, name, config)
        try:
            async with Pull(self._link, STREAM, name).opened() as pull:
                yield pull, waiting
        finally:
            with suppress(ServiceError):
                self._link.send(subjects.consumer_request("DELETE", STREAM, name), b"", {})

    async def _fetched(self, pull: Pull, limit: int, seconds: float) -> list[Handed]:
        with translated():
            return await pull.fetch(limit, seconds)

    @asynccontextmanager
    async def backlog(self) -> AsyncGenerator["NatsBacklog"]:
        """What is not persisted yet. All nodes share one consumer, each message is handed to one of them.

        Its name bears the log's epoch: of a log made anew nothing is taken for what stood at the same place before.
        """
        state = await self.state()
        name = persisting(state.epoch)
        config = ConsumerConfig(
            durable_name=name,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=PERSIST_SECONDS,
            max_ack_pending=UNCONFIRMED,
            max_deliver=-1,
        )
        with translated():
            await ensure_consumer(self._link, STREAM, name, config)
        if (await self.state()).epoch != state.epoch:
            raise LogReplaced("The log was made anew.")
        async with Pull(self._link, STREAM, name).opened() as pull:
            yield NatsBacklog(self._link, pull, state.epoch)


class LiveMessages:
    def __init__(self, listening: Listening[bytes]) -> None:
        self._listening = listening

    async def next(self, seconds: float) -> Arrived | Interrupted | None:
        received = self._listening.here()
        if received is None:
            try:
                async with asyncio.timeout(seconds):
                    received = await anext(self._listening)
            except TimeoutError:
                return None
        if isinstance(received, Gap):
            return Interrupted()
        return Arrived(int(received.headers["nats-sequence"]), received.message)


class NatsBacklog:
    def __init__(self, link: Link, pull: Pull, epoch: int) -> None:
        self._link = link
        self._pull = pull
        self._epoch = epoch

    async def fetch(self, limit: int, seconds: float) -> Sequence[Pending]:
        with translated():
            handed = await self._pull.fetch(limit, seconds)
        return [
            Pending(Position(self._epoch, delivered.stream_sequence), arrived.subject, arrived.payload, arrived.reply)
            for arrived, delivered in handed
        ]

    async def done(self, batch: Sequence[Pending]) -> None:
        """All in one write, confirmed by the last: what is not acknowledged is handed out again."""
        *others, last = [pending.receipt for pending in batch]
        with translated():
            for receipt in others:
                self._link.send(receipt, b"+ACK", {})
            await self._link.publish(last, b"+ACK", {}, deadline=deadline_in(ASK_SECONDS))


def persisting(epoch: int) -> str:
    return f"persist-{epoch}"


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


def bounds(info: StreamInfo) -> LogBounds:
    created = info.created
    assert created is not None  # noqa: S101 - the server always says
    epoch = (created - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return LogBounds(epoch, max(info.state.first_seq, 1), info.state.last_seq)  # an unused log says 0
