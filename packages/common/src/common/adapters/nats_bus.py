"""The bus: typed messages over the one NATS connection of a process. Nothing that is sent is lost without an error."""

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from nats.js.api import StreamConfig, StreamInfo

from common import correlation
from common.adapters.bus_metrics import ANSWER_SECONDS, Tally
from common.adapters.nats_answering import TIMEOUT_HEADER, Answering, Handler, answering
from common.adapters.nats_connection import Connection
from common.adapters.nats_connections import open_nats
from common.adapters.nats_consuming import ConsumerTerms, Consuming, PoisonTaker, Work
from common.adapters.nats_jetstream import EXPECTED_STREAM, MESSAGE_ID, Stored, ensure_stream, store
from common.adapters.nats_key_value import BucketTerms, KeyValue
from common.adapters.nats_link import Link, deadline_in
from common.adapters.nats_listening import BACKLOG_BYTES, BACKLOG_MESSAGES, Listening, listening
from common.core.errors import InvalidRequest, UpstreamUnavailable
from common.core.failures import FAILURE_HEADER, read_failure
from common.core.messages import InvalidMessage, M, Message, decode, encode

NONE: Mapping[str, str] = {}
CONSUMER_TERMS = ConsumerTerms()
BUCKET_TERMS = BucketTerms()


@asynccontextmanager
async def open_bus(url: str, *, name: str, creds: Path | None = None) -> AsyncGenerator["Bus"]:
    """The bus of one process, with the service's own credentials; it connects for ever, at first and after a loss.

    `url` holds one or more servers, with commas between; `name` is the service's, under whose `_INBOX.<name>.>` it
    receives answers. It is handed over before it is connected. On leaving, what is under way is finished, within
    seconds. Raises InvalidRequest for WebSocket URLs.
    """
    if any(server.strip().startswith(("ws:", "wss:")) for server in url.split(",")):
        raise InvalidRequest("The bus speaks NATS over TCP or TLS: `url` names a WebSocket.")
    async with open_nats(url, name=name, creds=creds) as connection:
        yield Bus(connection, name=name)


class Bus:
    def __init__(self, connection: Connection, *, name: str) -> None:
        self.link = Link(connection, name)
        """For adapters that need bytes instead of messages."""
        self._published = Tally("publish")
        self._stored = Tally("publish_durable")
        self._requested = Tally("request")
        self._answer_seconds = ANSWER_SECONDS.labels("request").observe

    async def publish(
        self,
        subject: str,
        message: Message | bytes,
        headers: Mapping[str, str] = NONE,
        *,
        deadline_seconds: float = 5.0,
    ) -> None:
        """Returns once the server has read it and passed it to whoever listens at that moment.

        Raises UpstreamUnavailable (it may have arrived or not), DeadlineExceeded, Forbidden, InvalidRequest. Nothing
        is sent again by itself: use `publish_durable` for what has to arrive.
        """
        try:
            told = {**correlation.outgoing(), **headers}
            await self.link.publish(subject, encode(message), told, deadline=deadline_in(deadline_seconds))
        except BaseException as error:
            self._published.failed(error)
            raise
        self._published.done()

    async def publish_durable(
        self,
        subject: str,
        message: Message | bytes,
        headers: Mapping[str, str] = NONE,
        *,
        message_id: str | None = None,
        stream: str | None = None,
        deadline_seconds: float = 10.0,
    ) -> Stored:
        """Returns once a stream has it. Sent again until then, always under one id, so that it is stored once.

        Give `message_id` where you may call again after an error: the stream then knows the repetition, within its
        duplicate window (two minutes unless configured otherwise). With `stream`, no other may take it.

        Raises NoResponders (no stream takes the subject), Forbidden, DeadlineExceeded (it may be stored or not),
        NotStored (an UpstreamUnavailable; StreamFull is one), StreamRefused (a Conflict), InvalidRequest.
        """
        try:
            told = {**correlation.outgoing(), **headers, MESSAGE_ID: message_id or self.link.new_id()}
            if stream:
                told[EXPECTED_STREAM] = stream
            stored = await store(self.link, subject, encode(message), told, deadline=deadline_in(deadline_seconds))
        except BaseException as error:
            self._stored.failed(error)
            raise
        self._stored.done()
        return stored

    async def request(
        self,
        subject: str,
        message: Message | bytes,
        reply_kind: type[M],
        headers: Mapping[str, str] = NONE,
        *,
        deadline_seconds: float = 2.0,
    ) -> M:
        """The answer. The answering side learns the deadline and gives up with us.

        Raises the ServiceError that the answering side raised, if it is one that `common` knows, else its nearest
        ancestor or UpstreamUnavailable; NoResponders, DeadlineExceeded, Forbidden, InvalidRequest of our own.
        """
        begun = time.perf_counter()
        try:
            timeout = {TIMEOUT_HEADER: str(int(deadline_seconds * 1000))}
            told = {**correlation.outgoing(), **timeout, **headers}
            arrived = await self.link.request(subject, encode(message), told, deadline=deadline_in(deadline_seconds))
            if code := arrived.headers.values.get(FAILURE_HEADER):
                raise read_failure(code, arrived.payload)
            answer = read_answer(subject, reply_kind, arrived.payload)
        except BaseException as error:
            self._requested.failed(error)
            raise
        self._requested.done()
        self._answer_seconds(time.perf_counter() - begun)
        return answer

    def answering(
        self,
        subject: str,
        kind: type[M],
        handler: Handler[M],
        *,
        queue: str = "",
        concurrency: int = 16,
        waiting: int = 256,
        drain_seconds: float = 5.0,
    ) -> AbstractAsyncContextManager[None]:
        """Answer requests while the block runs; each request goes to one of those who share a `queue`.

        At most `concurrency` handlers run, and `waiting` requests wait for one; more are refused at once. A
        ServiceError of the handler reaches the asking side as it is; any other exception is logged, and it learns
        only that it failed. On leaving, no more is taken and what has arrived is finished within `drain_seconds`.
        Entered once the server knows of it, however long NATS is away. Raises Forbidden, then or later.
        """
        answers = Answering(self.link, kind, handler, concurrency=concurrency, waiting=waiting)
        return answering(self.link, subject, answers, queue=queue, drain_seconds=drain_seconds)

    def listening(
        self,
        subject: str,
        kind: type[M],
        *,
        queue: str = "",
        messages: int = BACKLOG_MESSAGES,
        size_bytes: int = BACKLOG_BYTES,
    ) -> AbstractAsyncContextManager[Listening[M]]:
        """What is published from now on: an iterator of `Received` and, wherever something may be missing, `Gap`.

        Entered once the server knows of it, however long NATS is away. Messages that cannot be read are counted,
        logged and left out. Raises Forbidden, then or from the iterator later.
        """
        return listening(self.link, subject, kind, queue=queue, messages=messages, size_bytes=size_bytes)

    async def ensure_stream(self, config: StreamConfig) -> StreamInfo:
        """Make the stream, or bring the one of that name to that configuration; the same call again changes nothing.

        Raises StreamRefused (a Conflict) where that cannot be, such as another kind of storage.
        """
        return await ensure_stream(self.link, config)

    async def consume(
        self,
        stream: str,
        durable: str,
        kind: type[M],
        work: Work[M],
        *,
        poison: PoisonTaker,
        terms: ConsumerTerms = CONSUMER_TERMS,
    ) -> None:
        """Work off a stream, for ever, with all processes that name the same `durable`; at least once each.

        A batch is acknowledged when `work` has returned. Raises Forbidden, InvalidRequest and Conflict, which time
        does not mend; while NATS or the stream is away it waits.
        """
        await Consuming(self.link, kind, work, poison, stream=stream, terms=terms).run(durable)

    async def key_value(self, bucket: str, kind: type[M], terms: BucketTerms = BUCKET_TERMS) -> KeyValue[M]:
        """The bucket of that name, made or brought to those terms. Raises Conflict where that cannot be."""
        values = KeyValue(self.link, bucket, kind)
        await values.ensure(terms)
        return values

    async def ready(self) -> None:
        """Returns once connected, however long that takes."""
        await self.link.until_connected()

    async def answers(self) -> None:
        """Health probe: raises UpstreamUnavailable unless the connection stands and the server answers within 1 s."""
        await self.link.barrier(deadline=deadline_in(1))


def read_answer(subject: str, kind: type[M], payload: bytes) -> M:
    """An answer that cannot be read is the other side's fault, not the caller's."""
    try:
        return decode(kind, payload)
    except InvalidMessage as error:
        raise UpstreamUnavailable(f"The answer on {subject} cannot be read: {error}") from error
