"""A host whose children fail can still be told to end, and is told so once."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from common.adapters.companion import accompanied
from common.task_group import TaskGroup
from tests.virtual_time import in_virtual_time


async def fail(seconds: float = 0) -> None:
    await asyncio.sleep(seconds)
    raise LookupError("a child")


async def fail_when_told_to_end() -> None:
    try:
        await asyncio.sleep(3600)
    finally:
        raise LookupError("a child")


async def wait_at_the_end() -> None:
    async with TaskGroup() as tasks:
        tasks.create_task(fail())
        tasks.create_task(asyncio.sleep(3600))


async def wait_in_the_block() -> None:
    async with TaskGroup() as tasks:
        tasks.create_task(fail())
        await asyncio.sleep(3600)


async def fail_in_the_block() -> None:
    async with TaskGroup() as tasks:
        tasks.create_task(asyncio.sleep(3600))
        await fail()


WAYS: list[Callable[[], Coroutine[Any, Any, None]]] = [wait_at_the_end, wait_in_the_block, fail_in_the_block]


@pytest.mark.parametrize("way", WAYS)
@in_virtual_time
async def test_a_failure_leaves_no_cancellation_behind(way: Callable[[], Coroutine[Any, Any, None]]) -> None:
    task = asyncio.current_task()
    assert task
    with pytest.raises(ExceptionGroup):
        await way()
    assert task.cancelling() == 0
    await asyncio.sleep(1)


@in_virtual_time
async def test_a_cancellation_is_not_lost_in_the_failure_of_a_child() -> None:
    async def host(is_waiting_in_the_block: bool) -> None:
        async with TaskGroup() as tasks:
            tasks.create_task(fail_when_told_to_end())
            if is_waiting_in_the_block:
                await asyncio.sleep(3600)

    for is_waiting_in_the_block in (True, False):
        task = asyncio.create_task(host(is_waiting_in_the_block))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()


@in_virtual_time
async def test_a_cancellation_in_the_moment_in_which_a_child_has_failed_counts() -> None:
    async def host() -> None:
        async with TaskGroup() as tasks:
            tasks.create_task(fail(1))
            tasks.create_task(slow_to_end())

    async def slow_to_end() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(1)

    task = asyncio.create_task(host())
    await asyncio.sleep(1.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@in_virtual_time
async def test_a_timeout_around_it_is_told_from_the_failure_of_a_child() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1), TaskGroup() as tasks:
            tasks.create_task(fail_when_told_to_end())
    with pytest.raises(ExceptionGroup):
        async with asyncio.timeout(10), TaskGroup() as tasks:
            tasks.create_task(fail(1))


@in_virtual_time
async def test_what_fails_beside_a_block_comes_out_of_it_after_any_number_of_failed_groups() -> None:
    async def lose_the_lease() -> None:
        await asyncio.sleep(10)
        raise PermissionError("the lease")

    async def lead() -> None:
        async with accompanied(lose_the_lease()):
            for _ in range(3):
                with pytest.raises(ExceptionGroup):
                    await wait_at_the_end()
            await asyncio.sleep(3600)

    with pytest.raises(PermissionError):
        await lead()
