"""Code that hangs, blocks or breaks out is left behind, and what runs beside it goes on."""

import asyncio
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from threading import Event, Thread, get_ident
from threading import enumerate as enumerate_threads

import pytest

from gateway.isolate.lanes import Lanes, open_lanes
from gateway.isolate.loops import Loops
from gateway.isolate.outcome import Crowded, GivenUp, Overdue
from gateway.isolate.threads import Threads
from tests.eventually import eventually

SOON = 0.05
SOON_BUT_BEGUN = 1.0  # also on a busy machine
LONG = 30.0
BURNT_SECONDS = 0.05

label: ContextVar[str] = ContextVar("label", default="")


@pytest.fixture
def lanes() -> Generator[Lanes]:
    with open_lanes(
        Lanes(Threads(count=2, max_lost=3, max_waiting=4), Loops(max_lost=2, grace_seconds=SOON))
    ) as opened:
        yield opened


@pytest.fixture(scope="module", autouse=True)
def no_thread_is_left_behind() -> Generator[None]:
    """One that spins would take half of the processor time of every test after these."""
    before = set(enumerate_threads())
    yield
    asyncio.run(eventually(partial(have_ended, set(enumerate_threads()) - before)))


def spin() -> None:
    while True:
        pass


async def spin_async() -> None:
    spin()


async def wait_for_ever() -> None:
    await asyncio.Event().wait()


async def test_what_a_function_returns_comes_back_with_the_callers_context(lanes: Lanes) -> None:
    async def read_label() -> str:
        return label.get()

    label.set("request 1")
    assert (await lanes.threads.run(label.get, seconds=LONG)).value == "request 1"
    assert (await lanes.loops.run(read_label, seconds=LONG)).value == "request 1"


async def test_neither_runs_in_the_servers_thread(lanes: Lanes) -> None:
    async def own() -> int:
        return get_ident()

    assert (await lanes.threads.run(get_ident, seconds=LONG)).value != get_ident()
    assert (await lanes.loops.run(own, seconds=LONG)).value != get_ident()


ERRORS: list[BaseException] = [
    ValueError("x"),
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    StopIteration(),
    asyncio.CancelledError(),
    RecursionError(),
    MemoryError(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_whatever_is_raised_is_told_and_ends_nothing(lanes: Lanes, error: BaseException) -> None:
    def fails() -> None:
        raise error

    async def fails_async() -> None:
        raise error

    assert (await lanes.threads.run(fails, seconds=LONG)).error is error
    told = (await lanes.loops.run(fails_async, seconds=LONG)).error
    assert told is error or isinstance(told, RuntimeError)  # Python itself makes one of StopIteration in a coroutine
    assert (await lanes.threads.run(lambda: 1, seconds=LONG)).value == 1


async def test_a_function_that_spins_is_interrupted_and_its_place_taken(lanes: Lanes) -> None:
    with pytest.raises(Overdue) as overdue:
        await lanes.threads.run(spin, seconds=SOON_BUT_BEGUN)
    assert overdue.value.has_begun
    for _ in range(4):
        with pytest.raises(Overdue):
            await lanes.threads.run(spin, seconds=SOON)
    assert (await lanes.threads.run(lambda: 1, seconds=LONG)).value == 1

    async def nobody_is_lost() -> bool:
        return lanes.lost == 0

    await eventually(nobody_is_lost)


async def test_threads_that_never_come_back_are_counted_and_beyond_the_bound_nothing_is_begun(lanes: Lanes) -> None:
    release = Event()
    try:

        async def all_are_lost() -> bool:
            with suppress(Overdue):
                await lanes.threads.run(release.wait, seconds=SOON)
            return lanes.threads.lost == 5  # 2 working and 3 that may be lost

        await eventually(all_are_lost)
        with pytest.raises(Crowded):
            await lanes.threads.run(lambda: 1, seconds=LONG)
    finally:
        release.set()

    async def works() -> bool:
        with suppress(Crowded):
            return (await lanes.threads.run(lambda: 1, seconds=LONG)).value == 1
        return False

    await eventually(works)


async def test_who_waits_for_a_thread_too_long_was_never_begun(lanes: Lanes) -> None:
    release, ran = Event(), Event()
    holding = [asyncio.create_task(lanes.threads.run(release.wait, seconds=LONG)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overdue) as overdue:
        await lanes.threads.run(ran.set, seconds=SOON)
    assert not overdue.value.has_begun
    release.set()
    await asyncio.wait(holding)
    assert (await lanes.threads.run(lambda: 1, seconds=LONG)).value == 1
    assert not ran.is_set()


async def test_what_waits_for_threads_is_bounded(lanes: Lanes) -> None:
    release = Event()
    holding = [asyncio.create_task(lanes.threads.run(release.wait, seconds=LONG)) for _ in range(4)]
    await asyncio.sleep(0)
    with pytest.raises(Crowded):
        await lanes.threads.run(lambda: 1, seconds=LONG)
    release.set()
    await asyncio.wait(holding)
    assert (await lanes.threads.run(lambda: 1, seconds=LONG)).value == 1


async def test_a_caller_that_leaves_does_not_keep_a_hanging_thread_from_being_given_up(lanes: Lanes) -> None:
    release = Event()
    left = asyncio.create_task(lanes.threads.run(release.wait, seconds=SOON_BUT_BEGUN))
    await asyncio.sleep(0)
    left.cancel()

    async def is_given_up() -> bool:
        return lanes.threads.lost == 1

    await eventually(is_given_up)
    release.set()


async def test_code_that_awaits_for_ever_is_cancelled(lanes: Lanes) -> None:
    with pytest.raises(Overdue):
        await lanes.loops.run(wait_for_ever, seconds=SOON)
    assert lanes.loops.lost == 0


async def test_a_caller_that_leaves_cancels_what_awaits(lanes: Lanes) -> None:
    begun, cancelled = Event(), Event()

    async def waits() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    left = asyncio.create_task(lanes.loops.run(waits, seconds=LONG))
    await asyncio.to_thread(begun.wait, LONG)
    left.cancel()
    assert await asyncio.to_thread(cancelled.wait, LONG)


async def test_what_is_cancelled_before_its_first_step_is_not_counted_for_ever(lanes: Lanes) -> None:
    begun, release = Event(), Event()

    async def blocks() -> None:
        begun.set()
        release.wait()

    blocking = asyncio.create_task(lanes.loops.run(blocks, seconds=LONG))
    await asyncio.to_thread(begun.wait, LONG)
    left = asyncio.create_task(lanes.loops.run(wait_for_ever, seconds=LONG))
    await asyncio.sleep(0)
    left.cancel()
    release.set()
    await blocking

    async def nothing_is_counted() -> bool:
        return lanes.loops.unfinished == 0

    await eventually(nothing_is_counted)


async def test_code_that_will_not_be_cancelled_is_left_behind(lanes: Lanes) -> None:
    release, ended = Event(), Event()

    async def stubborn() -> None:
        while not release.is_set():
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.001)
        ended.set()

    with pytest.raises(Overdue):
        await lanes.loops.run(stubborn, seconds=SOON_BUT_BEGUN)
    release.set()
    assert await asyncio.to_thread(ended.wait, LONG)


async def test_code_that_will_not_be_cancelled_does_not_crowd_out_the_rest_for_ever() -> None:
    async def stubborn() -> None:
        while True:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)

    async def answers() -> int:
        await asyncio.sleep(0.01)
        return 1

    loops = Loops(max_tasks=4, max_stubborn=3, grace_seconds=SOON, drain_seconds=SOON)
    with open_lanes(Lanes(loops=loops)) as lanes:
        for _ in range(3):
            with pytest.raises(Overdue):
                await lanes.loops.run(stubborn, seconds=SOON)
        with pytest.raises(Overdue):
            await lanes.loops.run(stubborn, seconds=SOON)

        async def works() -> bool:
            with suppress(Crowded):
                return (await lanes.loops.run(answers, seconds=LONG)).value == 1
            return False

        async def nobody_is_lost() -> bool:
            return lanes.loops.lost == 0

        await eventually(works)
        await eventually(nobody_is_lost)


@pytest.mark.parametrize("block", [spin, lambda: time.sleep(0.5)], ids=["spinning", "sleeping"])
async def test_blocking_in_the_rules_loop_stops_neither_the_server_nor_later_rules(
    lanes: Lanes, block: Callable[[], None]
) -> None:
    async def blocks() -> None:
        block()

    async def answers() -> int:
        return 1

    with pytest.raises(Overdue):
        await lanes.loops.run(blocks, seconds=SOON)

    async def works() -> bool:
        with suppress(Overdue):
            return (await lanes.loops.run(answers, seconds=1)).value == 1
        return False

    await eventually(works)

    async def nobody_is_lost() -> bool:
        return lanes.loops.lost == 0

    await eventually(nobody_is_lost)


async def test_loops_that_never_come_back_are_bounded(lanes: Lanes) -> None:
    release = Event()

    async def blocks() -> None:
        release.wait()

    async def is_refused() -> bool:
        with suppress(Overdue):
            await lanes.loops.run(blocks, seconds=SOON)
        return False

    with pytest.raises(Crowded):
        await eventually(is_refused)
    assert lanes.loops.lost == 2
    release.set()


async def test_a_stray_task_that_exits_takes_nobody_with_it(lanes: Lanes) -> None:
    async def exits() -> None:
        raise SystemExit

    async def strays() -> None:
        stray = asyncio.create_task(exits())
        await asyncio.wait([stray])

    outcome = await lanes.loops.run(strays, seconds=LONG)
    assert outcome.error is None


async def test_a_rule_that_stops_the_loop_it_runs_in_stops_nothing(lanes: Lanes) -> None:
    async def stops() -> int:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0)
        return 1

    assert (await lanes.loops.run(stops, seconds=LONG)).value == 1


async def test_closing_does_not_wait_for_what_hangs() -> None:
    release = Event()
    with open_lanes() as lanes:
        hanging = asyncio.create_task(lanes.threads.run(release.wait, seconds=LONG))
        await asyncio.sleep(0)
    hanging.cancel()
    release.set()


@pytest.mark.parametrize("grace_seconds", [SOON, LONG], ids=["replaced", "not yet replaced"])
@pytest.mark.parametrize("lane", ["threads", "loops"])
def test_closing_ends_what_was_given_up_and_still_burns_the_processor(lane: str, grace_seconds: float) -> None:
    """Nobody looks after it once the loop that it was called from has ended."""
    closing = Event()

    def spin_till_closing() -> None:
        while not closing.is_set():
            with suppress(GivenUp):
                spin()

    async def spin_till_closing_async() -> None:
        spin_till_closing()

    async def called() -> None:
        with pytest.raises(Overdue):
            await (
                lanes.threads.run(spin_till_closing, seconds=SOON_BUT_BEGUN)
                if lane == "threads"
                else lanes.loops.run(spin_till_closing_async, seconds=SOON_BUT_BEGUN)
            )
        if grace_seconds == SOON:
            await eventually(partial(lost, lanes))

    before = set(enumerate_threads())
    with open_lanes(Lanes(loops=Loops(grace_seconds=grace_seconds))) as lanes:
        asyncio.run(called())
        begun = set(enumerate_threads()) - before
        assert begun
        until_burnt(begun)
        closing.set()
    asyncio.run(eventually(partial(have_ended, begun)))


def until_burnt(threads: set[Thread]) -> None:
    """They have had the processor for a while; on a busy machine that takes longer."""
    begun = time.process_time()
    while any(thread.is_alive() for thread in threads) and time.process_time() - begun < BURNT_SECONDS:
        time.sleep(0.001)


async def have_ended(threads: set[Thread]) -> bool:
    assert not [thread.name for thread in threads if thread.is_alive()]
    return True


async def lost(lanes: Lanes) -> int:
    return lanes.lost
