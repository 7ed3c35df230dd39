"""Tasks that are told to end do so, even where a library loses the word."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from common.adapters.companion import accompanied
from common.cache.owned_tasks import OwnedTasks
from common.ending import AGAIN_SECONDS, ended
from common.serving.background import running
from tests.virtual_time import in_virtual_time, now


async def hard_of_hearing() -> None:
    """Loses the first cancellation, as `asyncio.wait_for` of Python 3.11 may."""
    for _ in range(2):
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            continue
    await asyncio.sleep(3600)


@in_virtual_time
async def test_a_task_that_lost_the_word_is_told_again() -> None:
    task = asyncio.create_task(hard_of_hearing())
    await asyncio.sleep(0)
    await ended([task])
    assert task.done()
    assert now() == 2 * AGAIN_SECONDS


@in_virtual_time
async def test_what_runs_beside_a_server_a_block_or_a_cache_ends_with_it() -> None:
    owned = OwnedTasks()
    async with AsyncExitStack() as running_beside:
        running_beside.push_async_callback(owned.close)
        await running_beside.enter_async_context(running(hard_of_hearing))
        await running_beside.enter_async_context(accompanied(hard_of_hearing()))
        owned.keep(hard_of_hearing)
        await asyncio.sleep(0)
    assert now() <= 6 * AGAIN_SECONDS


@in_virtual_time
async def test_the_body_beside_which_a_loop_failed_is_told_again() -> None:
    async def fail() -> None:
        raise LookupError("beside")

    host = asyncio.current_task()
    assert host
    with pytest.raises(LookupError):
        async with accompanied(fail()):
            await hard_of_hearing()
    assert now() == 2 * AGAIN_SECONDS
    assert host.cancelling() == 0


@in_virtual_time
async def test_a_task_may_tidy_up_first() -> None:
    tidied: list[str] = []

    async def tidy() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(AGAIN_SECONDS / 2)
            tidied.append("done")

    task = asyncio.create_task(tidy())
    await asyncio.sleep(0)
    await ended([task])
    assert tidied == ["done"]
    assert task.cancelled()
