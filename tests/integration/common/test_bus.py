"""The bus against a real nats-server: what is confirmed has arrived, what fails says so, and nothing hangs."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest
import structlog

from common import correlation
from common.adapters.nats_bus import Bus, open_bus
from common.adapters.nats_listening import Gap, Listening, Received
from common.core.errors import (
    DeadlineExceeded,
    InvalidRequest,
    NoResponders,
    NotFound,
    RateLimited,
    ServiceError,
    UpstreamUnavailable,
)
from common.core.messages import Done, InvalidMessage, Message, MessageTooLarge
from tests.eventually import eventually


class Said(Message, frozen=True):
    number: int


class SaidLater(Message, frozen=True, kw_only=True):
    v: int = 2
    number: int


class NoSuchAccount(NotFound):
    code = "no_such_account"


@pytest.fixture
async def bus(nats_url: str) -> AsyncGenerator[Bus]:
    async with open_bus(nats_url, name="ann") as opened:
        await opened.ready()
        yield opened


@pytest.fixture
async def other(nats_url: str) -> AsyncGenerator[Bus]:
    async with open_bus(nats_url, name="bob") as opened:
        await opened.ready()
        yield opened


@pytest.fixture
def subject() -> str:
    return f"test.{uuid4().hex}"


async def next_said(listening: Listening[Said]) -> Said:
    async with asyncio.timeout(5):
        item = await anext(listening)
    assert isinstance(item, Received)
    return item.message


async def echo(said: Said) -> Said:
    return said


# Publishing and listening


async def test_what_is_published_reaches_whoever_listens(bus: Bus, other: Bus, subject: str) -> None:
    async with other.listening(f"{subject}.*", Said) as one, bus.listening(f"{subject}.>", Said) as two:
        await bus.publish(f"{subject}.a", Said(number=1))
        assert await next_said(one) == await next_said(two) == Said(number=1)


async def test_a_subscription_is_in_place_when_it_is_entered(bus: Bus, other: Bus, subject: str) -> None:
    for number in range(100):
        async with other.listening(subject, Said) as listening:
            await bus.publish(subject, Said(number=number))
            assert (await next_said(listening)).number == number


async def test_messages_of_one_sender_keep_their_order(bus: Bus, other: Bus, subject: str) -> None:
    async with other.listening(subject, Said) as listening, asyncio.TaskGroup() as tasks:
        for number in range(500):
            tasks.create_task(bus.publish(subject, Said(number=number)))
        assert [(await next_said(listening)).number for _ in range(500)] == list(range(500))


async def test_each_message_goes_to_one_of_a_queue(bus: Bus, other: Bus, subject: str) -> None:
    async with other.listening(subject, Said, queue="q") as one, bus.listening(subject, Said, queue="q") as two:
        for number in range(40):
            await bus.publish(subject, Said(number=number))
        await bus.answers()
        await other.answers()
        seen = [*drained(one), *drained(two)]
        assert sorted(seen) == list(range(40))


def drained(listening: Listening[Said]) -> list[int]:
    items = listening._backlog._items
    return [int(item.payload.split(b'"number":')[1].split(b",")[0]) for item in items if not isinstance(item, Gap)]


async def test_a_slow_listener_is_told_how_much_it_missed(bus: Bus, other: Bus, subject: str) -> None:
    async with other.listening(subject, Said, messages=10) as listening:
        for number in range(15):
            await bus.publish(subject, Said(number=number))
        await other.answers()
        assert [(await next_said(listening)).number for _ in range(10)] == list(range(10))
        assert await anext(listening) == Gap("overflow", missed=5)
        await bus.publish(subject, Said(number=99))
        assert (await next_said(listening)).number == 99


async def test_a_slow_listener_is_bounded_in_bytes_too(bus: Bus, other: Bus, subject: str) -> None:
    async with other.listening(subject, bytes, size_bytes=3000) as listening:
        for _ in range(10):
            await bus.publish(subject, b"x" * 1000)
        await other.answers()
        items = [await anext(listening) for _ in range(4)]
        assert items[-1] == Gap("overflow", missed=7)


@pytest.mark.parametrize(
    "nonsense", [b"", b"\xff", b"[]", b'{"v":1}', b'{"number":1}', b'{"v":2,"number":1}', b'{"v":1,"number":"x"}']
)
async def test_what_cannot_be_read_is_left_out(bus: Bus, subject: str, nonsense: bytes) -> None:
    async with bus.listening(subject, Said) as listening:
        with structlog.testing.capture_logs() as logs:
            await bus.publish(subject, nonsense)
            await bus.publish(subject, nonsense)
            await bus.publish(subject, Said(number=7))
            assert (await next_said(listening)).number == 7
        assert [line["event"] for line in logs] == ["message left out"]


async def test_the_request_id_goes_along(bus: Bus, other: Bus, subject: str) -> None:
    async with other.listening(subject, Said) as listening:
        with correlation.incoming({"x-request-id": "abc-1"}):
            await bus.publish(subject, Said(number=1), {"Mood": "good"})
        item = await anext(listening)
        assert isinstance(item, Received)
        assert item.headers["mood"] == "good"
        with item.correlated() as request_id:
            assert request_id == "abc-1"


@pytest.mark.parametrize("bad", ["", "a b", "a.*", "a.>", ".a", "a..b", "a\r\nPUB x 1", "a" * 2000])
async def test_a_bad_subject_is_refused_before_anything_is_sent(bus: Bus, bad: str) -> None:
    with pytest.raises(InvalidRequest):
        await bus.publish(bad, Done())


@pytest.mark.parametrize("headers", [{"a b": "c"}, {"": "c"}, {"a": "x\r\ny: z"}, {"a": "\ud800"}, {"a:": "b"}])
async def test_a_bad_header_is_refused_before_anything_is_sent(bus: Bus, subject: str, headers: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        await bus.publish(subject, Done(), headers)


async def test_a_message_that_is_too_large_is_refused_and_the_connection_stands(bus: Bus, subject: str) -> None:
    with pytest.raises(MessageTooLarge):
        await bus.publish(subject, b"x" * 2_000_000)
    await bus.answers()


async def test_a_websocket_is_refused(nats_url: str) -> None:
    with pytest.raises(InvalidRequest, match="url"):
        async with open_bus("ws://127.0.0.1:1", name="ann"):
            pass


# Requests


async def test_a_request_is_answered(bus: Bus, other: Bus, subject: str) -> None:
    async with other.answering(subject, Said, echo):
        assert await bus.request(subject, Said(number=3), Said) == Said(number=3)


async def test_a_handler_that_returns_nothing_says_done(bus: Bus, other: Bus, subject: str) -> None:
    async def silent(_: Said) -> None:
        return

    async with other.answering(subject, Said, silent):
        assert await bus.request(subject, Said(number=3), Done) == Done()


async def test_nobody_there_is_told_at_once(bus: Bus, subject: str) -> None:
    with pytest.raises(NoResponders):
        await bus.request(subject, Done(), Done, deadline_seconds=60)


async def test_a_known_failure_comes_back_as_it_was_raised(bus: Bus, other: Bus, subject: str) -> None:
    async def limited(_: Said) -> Said:
        raise RateLimited("Slow down.", retry_seconds=7)

    async with other.answering(subject, Said, limited):
        with pytest.raises(RateLimited, match="Slow down") as raised:
            await bus.request(subject, Said(number=1), Said)
    assert raised.value.retry_seconds == 7


async def test_a_failure_of_a_service_of_its_own_comes_back_as_the_nearest_that_all_know(
    bus: Bus, other: Bus, subject: str
) -> None:
    async def unknown(_: Said) -> Said:
        raise NoSuchAccount("No account of that name.")

    async with other.answering(subject, Said, unknown):
        with pytest.raises(NotFound, match="No account"):
            await bus.request(subject, Said(number=1), Said)


async def test_a_bug_is_told_without_its_text(bus: Bus, other: Bus, subject: str) -> None:
    async def broken(_: Said) -> Said:
        raise ValueError("hunter2")

    async with other.answering(subject, Said, broken):
        with structlog.testing.capture_logs() as logs, pytest.raises(ServiceError) as raised:
            await bus.request(subject, Said(number=1), Said)
    assert type(raised.value) is ServiceError
    assert "hunter2" not in str(raised.value)
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["handler failed"]


async def test_a_handler_that_awaits_what_was_cancelled_has_failed_and_the_next_is_answered(
    bus: Bus, other: Bus, subject: str
) -> None:
    async def cancelled(said: Said) -> Said:
        if said.number:
            raise asyncio.CancelledError
        return said

    async with other.answering(subject, Said, cancelled, concurrency=1):
        for _ in range(3):
            with pytest.raises(ServiceError, match="failed"):
                await bus.request(subject, Said(number=1), Said)
        assert await bus.request(subject, Said(number=0), Said) == Said(number=0)


async def test_a_malformed_request_is_answered_with_the_field_at_fault(bus: Bus, other: Bus, subject: str) -> None:
    async with other.answering(subject, Said, echo):
        with pytest.raises(InvalidRequest, match="`number`"):
            await bus.request(subject, b'{"v":1,"number":"x"}', Said)
        with pytest.raises(InvalidRequest, match="`v`"):
            await bus.request(subject, SaidLater(number=1), Said)
        assert await bus.request(subject, Said(number=1), Said) == Said(number=1)


async def test_an_answer_that_cannot_be_read_is_the_answering_sides_fault(bus: Bus, other: Bus, subject: str) -> None:
    async def nonsense(_: Said) -> bytes:
        return b"nonsense"

    async with other.answering(subject, Said, nonsense):
        with pytest.raises(UpstreamUnavailable) as raised:
            await bus.request(subject, Said(number=1), Said)
        assert isinstance(raised.value.__cause__, InvalidMessage)


async def test_a_request_that_is_only_heard_has_a_deadline(bus: Bus, other: Bus, subject: str) -> None:
    async with other.listening(subject, Said):
        with pytest.raises(DeadlineExceeded):
            await bus.request(subject, Said(number=1), Said, deadline_seconds=0.1)


async def test_a_late_answer_is_not_waited_for_on_either_side(bus: Bus, other: Bus, subject: str) -> None:
    stopped = asyncio.Event()

    async def slow(_: Said) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async with other.answering(subject, Said, slow):
        with pytest.raises(DeadlineExceeded):
            await bus.request(subject, Said(number=1), Done, deadline_seconds=0.1)
        await asyncio.wait_for(stopped.wait(), 5)


async def test_requests_of_a_queue_are_shared(bus: Bus, other: Bus, subject: str) -> None:
    answered = {"bus": 0, "other": 0}

    async def by_bus(_: Said) -> None:
        answered["bus"] += 1

    async def by_other(_: Said) -> None:
        answered["other"] += 1

    async with (
        other.answering(subject, Said, by_other, queue="q"),
        bus.answering(subject, Said, by_bus, queue="q"),
        asyncio.TaskGroup() as tasks,
    ):
        for number in range(100):
            tasks.create_task(bus.request(subject, Said(number=number), Done))
    assert sum(answered.values()) == 100
    assert all(answered.values())


async def test_no_more_handlers_run_than_allowed_and_what_is_too_much_is_refused_at_once(
    bus: Bus, other: Bus, subject: str
) -> None:
    running, most, go_on = 0, 0, asyncio.Event()

    async def counted(said: Said) -> Said:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await go_on.wait()
        running -= 1
        return said

    outcomes: list[str] = []

    async def ask(number: int) -> None:
        try:
            await bus.request(subject, Said(number=number), Said, deadline_seconds=10)
            outcomes.append("answered")
        except UpstreamUnavailable:
            outcomes.append("refused")

    async with other.answering(subject, Said, counted, concurrency=3, waiting=4), asyncio.TaskGroup() as tasks:
        for number in range(3):
            tasks.create_task(ask(number))
        await eventually(lambda: answer(running), lambda count: count == 3)
        for number in range(10):
            tasks.create_task(ask(number))
        await eventually(lambda: answer(len(outcomes)), lambda count: count == 6)
        go_on.set()
    assert most == 3
    assert outcomes.count("answered") == 7


async def answer(value: int) -> int:
    return value


async def test_what_is_under_way_is_answered_on_leaving(bus: Bus, other: Bus, subject: str) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(said: Said) -> Said:
        begun.set()
        await go_on.wait()
        return said

    async with asyncio.TaskGroup() as tasks:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(other.answering(subject, Said, slow, concurrency=1))
            asked = [tasks.create_task(bus.request(subject, Said(number=n), Said)) for n in range(3)]
            await begun.wait()
            asyncio.get_running_loop().call_later(0.1, go_on.set)
        assert [(await one).number for one in asked] == [0, 1, 2]
        with pytest.raises(NoResponders):
            await bus.request(subject, Said(number=1), Said)


async def test_who_cannot_be_answered_before_the_end_is_told(bus: Bus, other: Bus, subject: str) -> None:
    begun = asyncio.Event()

    async def endless(_: Said) -> None:
        begun.set()
        await asyncio.Event().wait()

    asked: list[asyncio.Task[Done]] = []
    async with other.answering(subject, Said, endless, concurrency=1, drain_seconds=0.05):
        asked += [
            asyncio.create_task(bus.request(subject, Said(number=n), Done, deadline_seconds=20)) for n in range(3)
        ]
        await begun.wait()
    for one in asked:
        with pytest.raises(UpstreamUnavailable, match="stopping"):
            await one


async def test_an_error_in_the_body_comes_out_as_it_is(bus: Bus, subject: str) -> None:
    with pytest.raises(LookupError, match="mine"):
        async with bus.answering(subject, Said, echo), bus.listening(subject, Said):
            raise LookupError("mine")


async def test_answers_go_to_inboxes_only(bus: Bus, other: Bus, subject: str) -> None:
    """Or a request could make us publish on a subject that is ours alone."""
    async with other.answering(subject, Said, echo), other.listening(f"{subject}.stolen", Said) as stolen:
        command = f"PUB {subject} {subject}.stolen 20\r\n".encode() + b'{"v":1,"number":10} \r\n'
        bus.link.connection.write(command)
        assert (await bus.request(subject, Said(number=2), Said)).number == 2
        await other.answers()
        assert not drained(stolen)


async def test_the_request_id_is_bound_while_a_request_is_answered(bus: Bus, other: Bus, subject: str) -> None:
    async def who(_: Said) -> bytes:
        return str(structlog.contextvars.get_contextvars()["request_id"]).encode()

    async with other.answering(subject, Said, who):
        with correlation.incoming({"x-request-id": "abc-2"}):
            assert await bus.request(subject, Said(number=1), bytes) == b"abc-2"
