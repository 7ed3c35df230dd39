"""How much may be under way, and loops that live as long as a block."""

import asyncio
from contextlib import suppress

import pytest

from common.adapters.companion import accompanied, cancelled_from_outside_only
from common.adapters.nats_outgoing import Room


def granted(room: Room, size: int) -> bool:
    turn = room.taken(size)
    if turn is None:
        return True
    turn.close()
    return False


async def test_there_is_room_for_so_many_calls_and_bytes() -> None:
    room = Room(calls=2, size_bytes=10)
    assert granted(room, 4)
    assert not granted(room, 7)
    assert granted(room, 6)
    assert not granted(room, 0)
    room.give(6)
    assert granted(room, 6)


async def test_turns_come_in_order_and_a_small_one_does_not_overtake() -> None:
    room, order = Room(calls=10, size_bytes=10), list[str]()

    async def take(name: str, size: int) -> None:
        if turn := room.taken(size):
            await turn
        order.append(name)

    assert granted(room, 10)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(take("large", 9))
        tasks.create_task(take("small", 1))
        await asyncio.sleep(0)
        room.give(5)
        await asyncio.sleep(0)
        assert not order
        room.give(5)
    assert order == ["large", "small"]


async def test_who_gives_up_waiting_holds_up_nobody() -> None:
    room = Room(calls=10, size_bytes=10)
    assert granted(room, 10)
    turn = room.taken(10)
    assert turn
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(turn, 0.01)
    room.give(10)
    assert granted(room, 10)


async def test_a_turn_that_is_given_as_its_task_is_cancelled_is_given_back() -> None:
    room = Room(calls=10, size_bytes=10)
    assert granted(room, 10)
    turn = room.taken(10)
    assert turn
    waiting = asyncio.create_task(turn)
    await asyncio.sleep(0)
    room.give(10)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert granted(room, 10)


# Companions


async def fail() -> None:
    await asyncio.sleep(0)
    raise LookupError("beside")


async def test_a_loop_ends_with_its_block() -> None:
    ended = asyncio.Event()

    async def loop() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with accompanied(loop()):
        await asyncio.sleep(0)
    assert ended.is_set()


async def test_a_loop_that_ends_by_itself_is_no_failure() -> None:
    async with accompanied(asyncio.sleep(0)):
        await asyncio.sleep(0.01)


async def test_a_loop_that_fails_ends_the_block_with_its_error() -> None:
    task = asyncio.current_task()
    assert task
    with pytest.raises(LookupError, match="beside"):
        async with accompanied(fail()):
            await asyncio.Event().wait()
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_an_error_of_the_body_comes_out_as_it_is() -> None:
    with pytest.raises(ValueError, match="body"):
        async with accompanied(asyncio.Event().wait()):  # pyright: ignore[reportArgumentType] - its True is not used
            raise ValueError("body")


async def test_a_cancellation_from_outside_stays_one() -> None:
    async def host() -> None:
        async with accompanied(asyncio.sleep(60)):
            await asyncio.Event().wait()

    task = asyncio.create_task(host())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_timeout_around_a_block_is_told_from_a_failure_beside_it() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01), accompanied(asyncio.sleep(60)):
            await asyncio.Event().wait()
    with pytest.raises(LookupError):
        async with asyncio.timeout(60), accompanied(fail()):
            await asyncio.Event().wait()


async def test_a_body_that_swallows_its_cancellation_still_ends_with_the_error_beside_it() -> None:
    async def swallow() -> None:
        async with accompanied(fail()):
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    task = asyncio.current_task()
    assert task
    with pytest.raises(LookupError):
        await swallow()
    assert task.cancelling() == 0


async def test_awaiting_what_was_cancelled_is_a_failure_and_no_cancellation() -> None:
    cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    cancelled.cancel()
    with pytest.raises(RuntimeError, match="cancelled"):
        await cancelled_from_outside_only(cancelled)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(cancelled_from_outside_only(asyncio.Event().wait()), 0.01)
