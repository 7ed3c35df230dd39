"""Leases over a real nats-server: between processes that are killed and stopped, and within one."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from uuid import uuid4

import pytest

from common.adapters.nats_bus import Bus, open_bus
from common.adapters.nats_fenced import FencedKeyValue, open_fenced
from common.adapters.nats_jetstream import ask
from common.adapters.nats_key_value import BucketTerms, Current, Deleted, Entry
from common.adapters.nats_leases import Lease, Leases
from common.core import subjects
from common.core.errors import Conflict, InvalidRequest, StaleLease
from common.core.lease import Terms
from common.core.messages import Message
from tests.eventually import eventually
from tests.servers.gate import Gate, gate
from tests.servers.lease_holder import SAID, Counted, Watch

WITHIN_SECONDS = 5
QUICK = Terms(ttl_seconds=0.4, renew_seconds=0.1, margin_seconds=0.1, look_seconds=0.1)


class Noted(Message, frozen=True):
    text: str


@pytest.fixture
async def bus(nats_url: str) -> AsyncGenerator[Bus]:
    async with open_bus(nats_url, name="ann") as opened:
        await opened.ready()
        yield opened


@pytest.fixture
def name() -> str:
    return uuid4().hex


@dataclass
class Holder:
    """`said` holds what it said and when; both processes and we share one monotonic clock."""

    name: str
    process: asyncio.subprocess.Process
    said: list[tuple[float, str, int]] = field(default_factory=list[tuple[float, str, int]])

    async def listen(self) -> None:
        assert self.process.stdout
        async for line in self.process.stdout:
            mark, *rest = line.decode().split()
            if mark != SAID:
                continue
            at, word, *number = rest
            self.said.append((float(at), word, int(number[0]) if number else 0))

    async def says(self, word: str, times: int = 1) -> tuple[float, int]:
        """When it said that for so many a time, and the number that came with it."""
        await eventually(lambda: self.count(word), lambda count: count >= times)
        return [(at, number) for at, said, number in self.said if said == word][times - 1]

    async def count(self, word: str) -> int:
        return sum(said == word for _, said, _ in self.said)


@asynccontextmanager
async def holder(url: str, bucket: str, name: str, *options: str) -> AsyncGenerator[Holder]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.servers.lease_holder", url, bucket, name, *options,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    one = Holder(name, process)
    listening = asyncio.create_task(one.listen())
    try:
        yield one
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await listening


@asynccontextmanager
async def holder_and_heir(url: str, bucket: str, *options: str) -> AsyncGenerator[tuple[Holder, Holder]]:
    """Two processes that want one lease: the one that has it and has written, and the one that waits."""
    async with holder(url, bucket, "one", *options) as one, holder(url, bucket, "two", *options) as two:
        for each in (one, two):
            await each.says("wants")
        await eventually(lambda: total("wrote", one, two), lambda count: count >= 5)
        yield (one, two) if await one.count("wrote") else (two, one)


async def total(word: str, *holders: Holder) -> int:
    return sum([await each.count(word) for each in holders])


async def test_when_the_holder_is_killed_another_holds_within_seconds(nats_url: str, name: str) -> None:
    async with holder_and_heir(nats_url, name) as (first, second):
        _, first_epoch = await first.says("held")
        killed_at = time.monotonic()
        first.process.kill()
        held_at, second_epoch = await second.says("held")
        assert held_at - killed_at < WITHIN_SECONDS
        assert second_epoch > first_epoch
        await second.says("wrote")


async def test_a_holder_that_leaves_hands_over_at_once(nats_url: str, name: str) -> None:
    async with holder_and_heir(nats_url, name) as (first, second):
        first.process.send_signal(signal.SIGINT)
        left_at, _ = await first.says("left")
        held_at, _ = await second.says("held")
        assert held_at - left_at < 1


@pytest.mark.parametrize("options", [(), ("deceived",)], ids=["clock goes on", "clock stood still"])
async def test_a_holder_that_was_stopped_writes_nothing_more(
    nats_url: str, name: str, options: tuple[str, ...]
) -> None:
    async with (
        holder_and_heir(nats_url, name, "quick", *options) as (first, second),
        open_bus(nats_url, name="ann") as bus,
    ):
        first.process.send_signal(signal.SIGSTOP)
        await second.says("wrote", 5)
        wrote = await first.count("wrote")
        first.process.send_signal(signal.SIGCONT)
        if options:
            await first.says("refused")
        await second.says("wrote", 15)
        values = await bus.key_value(name, Counted)
        assert (await values.get("count")).value.by == second.name
        assert await first.count("wrote") <= wrote + 1  # one may have been on its way


async def test_each_holder_has_a_larger_epoch(bus: Bus, name: str) -> None:
    leases, epochs = Leases(bus), list[int]()
    for _ in range(5):
        async with leases.hold(name) as lease:
            epochs.append(lease.epoch)
            assert lease.held()
        assert not lease.held()
    assert epochs == sorted(set(epochs))


async def test_epochs_grow_even_when_the_bucket_is_made_anew(bus: Bus, name: str) -> None:
    leases = Leases(bus, bucket=name)
    async with leases.hold("x") as first:
        pass
    for _ in range(3):
        async with leases.hold("x") as first:
            pass
    born = int(time.time())
    await eventually(lambda: second_after(born))  # births of buckets are told apart by the second
    await ask(bus.link, subjects.stream_request("DELETE", subjects.bucket_stream(name)), {})
    async with leases.hold("x") as second:
        assert second.epoch > first.epoch


async def second_after(born: int) -> bool:
    return int(time.time()) > born


async def test_only_one_holds_at_a_time(bus: Bus, name: str) -> None:
    leases, holders, turns = Leases(bus), 0, 0

    async def take_a_turn() -> None:
        nonlocal holders, turns
        async with leases.hold(name):
            holders += 1
            assert holders == 1
            await asyncio.sleep(0.01)
            holders -= 1
            turns += 1

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        for _ in range(6):
            tasks.create_task(take_a_turn())
    assert turns == 6


async def test_a_holder_without_nats_gives_up_before_another_holds(nats_url: str, bus: Bus, name: str) -> None:
    order: list[str] = []

    async def second() -> None:
        async with Leases(bus, terms=QUICK).hold(name):
            order.append("second holds")

    async def first(relay: Gate, cut: Bus, tasks: asyncio.TaskGroup) -> None:
        async with Leases(cut, terms=QUICK).hold(name) as lease:
            tasks.create_task(second())
            relay.shut()
            try:
                await asyncio.Event().wait()
            finally:
                assert lease.lost.is_set()
                order.append("first is stopped")

    port = int(nats_url.rsplit(":", 1)[1])
    async with (
        gate(port) as relay,
        open_bus(f"nats://127.0.0.1:{relay.port}", name="cut") as cut,
        asyncio.TaskGroup() as tasks,
    ):
        with pytest.raises(StaleLease):
            await first(relay, cut, tasks)
    assert order == ["first is stopped", "second holds"]


async def test_who_leads_runs_again_after_a_loss(bus: Bus, name: str) -> None:
    epochs: list[int] = []

    async def lead(lease: Lease) -> None:
        epochs.append(lease.epoch)
        if len(epochs) < 3:
            values = await bus.key_value(subjects.LEASES_BUCKET, bytes, BucketTerms(max_bytes=4 * 1024 * 1024))
            await values.delete(name)  # as an operator may, to make the holder go
            await asyncio.Event().wait()

    await asyncio.wait_for(Leases(bus, terms=QUICK).run_as_leader(name, lead), 20)
    assert epochs == sorted(set(epochs))
    assert len(epochs) == 3


async def test_an_error_in_the_body_comes_out_as_it_is(bus: Bus, name: str) -> None:
    with pytest.raises(LookupError, match="mine"):
        async with Leases(bus).hold(name):
            raise LookupError("mine")


async def test_a_claim_that_cannot_be_read_is_respected(bus: Bus, name: str) -> None:
    values = await bus.key_value(subjects.LEASES_BUCKET, bytes, BucketTerms(max_bytes=4 * 1024 * 1024))
    await values.put(name, b'{"v":2,"somebody":"later"}')
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1), Leases(bus, terms=QUICK).hold(name):
            pass


@pytest.mark.parametrize("bad", ["", "a b", "a.*", ">"])
async def test_a_bad_name_is_refused(bus: Bus, bad: str) -> None:
    with pytest.raises(InvalidRequest):
        async with Leases(bus).hold(bad):
            pass


# Fenced buckets


@asynccontextmanager
async def two_holders(bus: Bus, name: str) -> AsyncGenerator[tuple[FencedKeyValue[Noted], Lease]]:
    """The values as the first holder writes them, who believes in its lease, and the lease of the second."""
    clock = Watch()
    leases = Leases(bus, clock=clock)
    async with leases.hold(name) as first:
        clock.stop()
        values = await open_fenced(bus, name, Noted, first)
        await values.put("a", Noted(text="first"))
        async with Leases(bus).hold(f"{name}-other") as second:
            assert second.epoch > first.epoch
            yield values, second


async def test_once_another_has_taken_over_an_earlier_holder_writes_nothing(bus: Bus, name: str) -> None:
    async with two_holders(bus, name) as (earlier, lease):
        later = await open_fenced(bus, name, Noted, lease)
        for key in ("a", "never-written-by-the-second"):
            with pytest.raises(StaleLease):
                await earlier.put(key, Noted(text="late"))
        with pytest.raises(StaleLease):
            await earlier.delete("a")
        assert (await later.get("a")).value.text == "first"
        await later.put("a", Noted(text="second"))
        assert (await later.get("a")).value.text == "second"
        await later.delete("a")


async def test_an_earlier_holder_cannot_take_over_again(bus: Bus, name: str) -> None:
    async with two_holders(bus, name) as (earlier, lease):
        await open_fenced(bus, name, Noted, lease)
        with pytest.raises(StaleLease):
            await open_fenced(bus, name, Noted, earlier._lease)


async def test_two_parts_of_one_holder_write_side_by_side(bus: Bus, name: str) -> None:
    async with Leases(bus).hold(name) as lease:
        one = await open_fenced(bus, name, Noted, lease)
        two = await open_fenced(bus, name, Noted, lease)
        await one.put("a", Noted(text="1"))
        await two.put("b", Noted(text="2"))
        await one.put("a", Noted(text="3"))
        async with one.watching() as changes:
            seen = [await anext(changes) for _ in range(3)]
        assert [item.key for item in seen if isinstance(item, Entry)] == ["b", "a"]
        assert seen[-1] == Current()


async def test_after_leaving_nothing_is_written(bus: Bus, name: str) -> None:
    async with Leases(bus).hold(name) as lease:
        values = await open_fenced(bus, name, Noted, lease)
    with pytest.raises(StaleLease):
        await values.put("a", Noted(text="late"))


async def test_a_fenced_bucket_whose_values_go_by_themselves_is_refused(bus: Bus, name: str) -> None:
    async with Leases(bus).hold(name) as lease:
        with pytest.raises(InvalidRequest, match="max_age_seconds"):
            await open_fenced(bus, name, Noted, lease, BucketTerms(max_age_seconds=60))


# Key-value buckets


async def test_a_key_is_written_only_where_nobody_has_written_since(bus: Bus, name: str) -> None:
    values = await bus.key_value(name, Noted)
    created = await values.create("a.b", Noted(text="1"))
    with pytest.raises(Conflict):
        await values.create("a.b", Noted(text="2"))
    with pytest.raises(Conflict):
        await values.compare_and_set("a.b", Noted(text="2"), created + 1)
    changed = await values.compare_and_set("a.b", Noted(text="2"), created)
    assert changed > created
    with pytest.raises(Conflict):
        await values.delete("a.b", created)
    deleted = await values.delete("a.b", changed)
    assert await values.last("a.b") == Deleted("a.b", deleted)
    assert await values.create("a.b", Noted(text="3")) > deleted


async def test_of_many_who_compare_and_set_one_wins(bus: Bus, name: str) -> None:
    values = await bus.key_value(name, Noted)
    revision = await values.put("a", Noted(text="0"))
    won: list[int] = []

    async def try_it(number: int) -> None:
        with suppress(Conflict):
            await values.compare_and_set("a", Noted(text=str(number)), revision)
            won.append(number)

    async with asyncio.TaskGroup() as tasks:
        for number in range(20):
            tasks.create_task(try_it(number))
    assert [(await values.get("a")).value.text] == [str(number) for number in won]
