"""Streams that are worked off, and buckets that are watched."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from uuid import uuid4

import pytest
from nats.js.api import DiscardPolicy, StorageType, StreamConfig
from structlog.testing import capture_logs

from common import correlation
from common.adapters.nats_bus import Bus, open_bus
from common.adapters.nats_consuming import ConsumerTerms, Poison, Taken
from common.adapters.nats_jetstream import StreamFull, StreamRefused, ask, stream_info
from common.adapters.nats_key_value import BucketTerms, Current, Deleted, Entry, KeyValue, Watched
from common.adapters.nats_listening import Gap
from common.core import subjects
from common.core.errors import Conflict, InvalidRequest, NoResponders, NotFound, UpstreamUnavailable
from common.core.messages import InvalidMessage, Message
from tests.eventually import eventually
from tests.servers.gate import Gate, gate


class Said(Message, frozen=True):
    number: int


@pytest.fixture
async def bus(nats_url: str) -> AsyncGenerator[Bus]:
    async with open_bus(nats_url, name="ann") as opened:
        await opened.ready()
        yield opened


@pytest.fixture
def name() -> str:
    return uuid4().hex


def memory(name: str, max_msgs: int | None = None) -> StreamConfig:
    return StreamConfig(name=name, subjects=[f"{name}.>"], storage=StorageType.MEMORY, max_msgs=max_msgs)


class Worker:
    """Keeps what it was handed, and fails for the numbers it is told to."""

    def __init__(self, *bad: int, error: Exception | None = None) -> None:
        self.bad = set(bad)
        self.error = error or ValueError("bad")
        self.failures = 0
        self.batches: list[list[int]] = []
        self.poison: list[Poison] = []
        self.request_ids: set[str] = set()

    async def work(self, batch: Sequence[Taken[Said]]) -> None:
        numbers = [taken.message.number for taken in batch]
        if self.bad.intersection(numbers):
            self.failures += 1
            raise self.error
        self.batches.append(numbers)
        for taken in batch:
            with taken.correlated() as request_id:
                self.request_ids.add(request_id)

    async def take_poison(self, poison: Poison) -> None:
        self.poison.append(poison)

    @property
    def done(self) -> list[int]:
        return sorted(number for batch in self.batches for number in batch)


async def done(worker: Worker) -> list[int]:
    return worker.done


async def failures(worker: Worker) -> int:
    return worker.failures


async def poisoned(worker: Worker) -> int:
    return len(worker.poison)


async def unsettled(bus: Bus, stream: str, durable: str) -> int:
    told = await ask(bus.link, subjects.consumer_request("INFO", stream, durable), {})
    return told["num_ack_pending"] + told["num_pending"]


# Streams


async def test_a_stream_is_made_once_and_changed_where_it_differs(bus: Bus, name: str) -> None:
    for limit in (5, 5, 7):
        await bus.ensure_stream(memory(name, max_msgs=limit))
    assert (await stream_info(bus.link, name)).config.max_msgs == 7
    with pytest.raises(Conflict):
        await bus.ensure_stream(StreamConfig(name=name, subjects=[f"{name}.>"], storage=StorageType.FILE))


async def test_a_message_is_stored_once_however_often_it_is_sent(bus: Bus, name: str) -> None:
    await bus.ensure_stream(memory(name))
    first = await bus.publish_durable(f"{name}.a", Said(number=1), message_id="m")
    again = await bus.publish_durable(f"{name}.a", Said(number=1), message_id="m")
    assert (again.sequence, again.duplicate) == (first.sequence, True)
    assert (await bus.publish_durable(f"{name}.a", Said(number=1))).sequence == first.sequence + 1


async def test_what_no_stream_takes_is_told(bus: Bus, name: str) -> None:
    with pytest.raises(NoResponders):
        await bus.publish_durable(f"{name}.a", Said(number=1))


async def test_another_stream_than_the_one_named_does_not_take_it(bus: Bus, name: str) -> None:
    await bus.ensure_stream(memory(name))
    with pytest.raises(StreamRefused):
        await bus.publish_durable(f"{name}.a", Said(number=1), stream="other")


async def test_a_full_stream_says_so_at_once(bus: Bus, name: str) -> None:
    config = memory(name, max_msgs=1)
    config.discard = DiscardPolicy.NEW
    await bus.ensure_stream(config)
    await bus.publish_durable(f"{name}.a", Said(number=1))
    with pytest.raises(StreamFull):
        await bus.publish_durable(f"{name}.a", Said(number=2), deadline_seconds=60)


async def test_what_answers_and_is_no_stream_is_told(bus: Bus, name: str) -> None:
    async def echo(said: Said) -> Said:
        return said

    async with bus.answering(f"{name}.a", Said, echo):
        with pytest.raises(UpstreamUnavailable, match="no stream"):
            await bus.publish_durable(f"{name}.a", Said(number=1), deadline_seconds=0.2)


# Consumers


async def test_all_is_worked_off_in_batches_and_acknowledged(bus: Bus, name: str) -> None:
    await bus.ensure_stream(memory(name))
    with correlation.incoming({"x-request-id": "abc-3"}):
        for number in range(25):
            await bus.publish_durable(f"{name}.a", Said(number=number))
    worker = Worker()
    async with asyncio.TaskGroup() as tasks:
        consuming = tasks.create_task(
            bus.consume(name, "c", Said, worker.work, poison=worker.take_poison, terms=ConsumerTerms(batch=10))
        )
        await eventually(lambda: done(worker), lambda numbers: numbers == list(range(25)))
        await bus.publish_durable(f"{name}.a", Said(number=25))
        await eventually(lambda: done(worker), lambda numbers: numbers == list(range(26)))
        await eventually(lambda: unsettled(bus, name, "c"), lambda count: count == 0)
        consuming.cancel()
    assert [len(batch) for batch in worker.batches] == [10, 10, 5, 1]
    assert "abc-3" in worker.request_ids


async def test_a_message_that_fails_holds_up_no_other_and_ends_as_poison(bus: Bus, name: str) -> None:
    await bus.ensure_stream(memory(name))
    for number in range(5):
        await bus.publish_durable(f"{name}.a", Said(number=number))
    await bus.publish_durable(f"{name}.a", b"nonsense")
    worker = Worker(3)
    terms = ConsumerTerms(max_deliveries=3)
    async with asyncio.TaskGroup() as tasks:
        consuming = tasks.create_task(bus.consume(name, "c", Said, worker.work, poison=worker.take_poison, terms=terms))
        await eventually(lambda: done(worker), lambda numbers: numbers == [0, 1, 2, 4])
        await eventually(lambda: poisoned(worker), lambda count: count == 2)
        await eventually(lambda: unsettled(bus, name, "c"), lambda count: count == 0)
        consuming.cancel()
    unreadable, failing = worker.poison
    assert (unreadable.payload, unreadable.sequence, unreadable.reason) == (b"nonsense", 6, "Said is not JSON.")
    assert (failing.sequence, failing.reason) == (4, "ValueError after 3 deliveries")


async def test_what_fails_for_want_of_a_dependency_is_never_poison(bus: Bus, name: str) -> None:
    await bus.ensure_stream(memory(name))
    await bus.publish_durable(f"{name}.a", Said(number=1))
    worker = Worker(1, error=UpstreamUnavailable("away"))
    terms = ConsumerTerms(max_deliveries=1)
    async with asyncio.TaskGroup() as tasks:
        consuming = tasks.create_task(bus.consume(name, "c", Said, worker.work, poison=worker.take_poison, terms=terms))
        await eventually(lambda: failures(worker), lambda count: count > terms.max_deliveries)
        worker.bad.clear()
        await eventually(lambda: done(worker), lambda numbers: numbers == [1])
        consuming.cancel()
    assert not worker.poison


async def test_those_who_share_a_consumer_share_its_messages(bus: Bus, name: str) -> None:
    await bus.ensure_stream(memory(name))
    workers = [Worker(), Worker()]
    async with asyncio.TaskGroup() as tasks:
        consuming = [
            tasks.create_task(
                bus.consume(name, "c", Said, one.work, poison=one.take_poison, terms=ConsumerTerms(batch=5))
            )
            for one in workers
        ]
        for number in range(100):
            await bus.publish_durable(f"{name}.a", Said(number=number))
        await eventually(lambda: together(workers), lambda numbers: numbers == list(range(100)))
        for one in consuming:
            one.cancel()
    assert all(one.done for one in workers)


async def together(workers: list[Worker]) -> list[int]:
    return sorted(number for worker in workers for number in worker.done)


async def test_who_leaves_in_the_middle_gives_back_what_it_was_handed(bus: Bus, name: str) -> None:
    await bus.ensure_stream(memory(name))
    await bus.publish_durable(f"{name}.a", Said(number=1))
    begun = asyncio.Event()

    async def endless(_: Sequence[Taken[Said]]) -> None:
        begun.set()
        await asyncio.Event().wait()

    worker = Worker()
    terms = ConsumerTerms(ack_seconds=60)
    leaving = asyncio.create_task(bus.consume(name, "c", Said, endless, poison=worker.take_poison, terms=terms))
    await begun.wait()
    leaving.cancel()
    async with asyncio.TaskGroup() as tasks:
        consuming = tasks.create_task(bus.consume(name, "c", Said, worker.work, poison=worker.take_poison, terms=terms))
        await eventually(lambda: done(worker), lambda numbers: numbers == [1])
        consuming.cancel()


async def test_a_stream_that_is_made_later_is_waited_for(bus: Bus, name: str) -> None:
    worker = Worker()

    async def has_looked() -> bool:
        return any(line["event"] == "stream not read" for line in lines)

    async with asyncio.TaskGroup() as tasks:
        with capture_logs() as lines:
            consuming = tasks.create_task(bus.consume(name, "c", Said, worker.work, poison=worker.take_poison))
            await eventually(has_looked)
        await bus.ensure_stream(memory(name))
        await bus.publish_durable(f"{name}.a", Said(number=1))
        await eventually(lambda: done(worker), lambda numbers: numbers == [1])
        consuming.cancel()


async def test_a_consumer_that_is_deleted_is_made_again(bus: Bus, name: str) -> None:
    await bus.ensure_stream(memory(name))
    worker = Worker()
    async with asyncio.TaskGroup() as tasks:
        consuming = tasks.create_task(bus.consume(name, "c", Said, worker.work, poison=worker.take_poison))
        await bus.publish_durable(f"{name}.a", Said(number=1))
        await eventually(lambda: done(worker), lambda numbers: numbers == [1])
        await eventually(lambda: unsettled(bus, name, "c"), lambda count: count == 0)
        await ask(bus.link, subjects.consumer_request("DELETE", name, "c"), {})
        await bus.publish_durable(f"{name}.a", Said(number=2))
        await eventually(lambda: done(worker), lambda numbers: numbers[-1] == 2)
        consuming.cancel()


# Buckets


@pytest.mark.parametrize("overwritten", [False, True])
async def test_a_conditional_write_whose_answer_was_lost_is_known_for_its_own(
    nats_url: str, bus: Bus, name: str, overwritten: bool
) -> None:
    values = await bus.key_value(name, Said)
    revision = await values.put("a", Said(number=1))
    async with (
        gate(int(nats_url.rsplit(":", 1)[1])) as relay,
        open_bus(f"nats://127.0.0.1:{relay.port}", name="cut") as cut,
    ):
        await cut.ready()
        relay.mute = True
        writing = asyncio.create_task(KeyValue(cut.link, name, Said).compare_and_set("a", Said(number=2), revision))
        await eventually(lambda: values.get("a"), lambda entry: entry.value.number == 2)
        if overwritten:
            await values.put("a", Said(number=3))
        relay.shut()
        relay.mute = False
        await relay.open()
        if overwritten:
            with pytest.raises(UpstreamUnavailable, match="may have been done"):
                await writing
        else:
            assert await writing == revision + 1


async def test_a_value_of_another_kind_is_refused_when_it_is_read(bus: Bus, name: str) -> None:
    values = await bus.key_value(name, Said)
    raw = await bus.key_value(name, bytes)
    await raw.put("a", b'{"v":9}')
    with pytest.raises(InvalidMessage, match="`v`"):
        await values.get("a")
    with pytest.raises(NotFound):
        await values.get("b")


async def test_a_watch_tells_all_and_then_each_change(bus: Bus, name: str) -> None:
    values = await bus.key_value(name, Said)
    await values.put("a.x", Said(number=1))
    await values.put("b.x", Said(number=2))
    async with values.watching() as changes:
        assert await told(changes, 3) == [("a.x", 1), ("b.x", 2), Current()]
        await values.put("c.x", Said(number=3))
        deleted = await values.delete("a.x")
        assert await told(changes, 2) == [("c.x", 3), Deleted("a.x", deleted)]
    async with values.watching("b.>") as changes:
        assert await told(changes, 2) == [("b.x", 2), Current()]


async def test_an_empty_bucket_is_current_at_once(bus: Bus, name: str) -> None:
    values = await bus.key_value(name, Said)
    async with values.watching() as changes:
        assert await told(changes, 1) == [Current()]


async def test_a_bucket_that_is_not_there_is_not_watched(bus: Bus, name: str) -> None:
    with pytest.raises(NotFound):
        async with KeyValue(bus.link, name, Said).watching() as changes:
            await anext(changes)


async def test_a_value_that_cannot_be_read_is_left_out_of_a_watch(bus: Bus, name: str) -> None:
    values = await bus.key_value(name, Said)
    await (await bus.key_value(name, bytes)).put("a", b"nonsense")
    await values.put("b", Said(number=2))
    async with values.watching() as changes:
        assert await told(changes, 2) == [("b", 2), Current()]


async def test_after_a_gap_a_watch_tells_all_anew(nats_url: str, bus: Bus, name: str) -> None:
    values = await bus.key_value(name, Said)
    await values.put("a", Said(number=1))
    await values.put("b", Said(number=1))
    async with (
        gate(int(nats_url.rsplit(":", 1)[1])) as relay,
        open_bus(f"nats://127.0.0.1:{relay.port}", name="cut") as cut,
        KeyValue(cut.link, name, Said).watching() as changes,
    ):
        assert await told(changes, 3) == [("a", 1), ("b", 1), Current()]
        await away(relay, values)
        assert await told(changes, 5) == [Gap("lost"), Gap("restored"), ("a", 2), Deleted("b", 4), Current()]


async def away(relay: Gate, values: KeyValue[Said]) -> None:
    relay.shut()
    await values.put("a", Said(number=2))
    await values.delete("b")
    await relay.open()


async def told(changes: AsyncIterator[Watched[Said]], count: int) -> list[object]:
    async with asyncio.timeout(10):
        items = [await anext(changes) for _ in range(count)]
    return [(item.key, item.value.number) if isinstance(item, Entry) else item for item in items]


async def test_values_go_by_themselves_where_that_is_asked_for(bus: Bus, name: str) -> None:
    values = await bus.key_value(name, Said, BucketTerms(max_age_seconds=0.3, in_memory=True))
    await values.put("a", Said(number=1))

    async def there() -> bool:
        try:
            await values.get("a")
        except NotFound:
            return False
        return True

    await eventually(there, lambda answer: not answer)
    assert await values.create("a", Said(number=2)) == 2


@pytest.mark.parametrize("bad", ["", "a b", "a.b", "*", "x" * 65])
async def test_a_bad_bucket_is_refused(bus: Bus, bad: str) -> None:
    with pytest.raises(InvalidRequest):
        await bus.key_value(bad, Said)
