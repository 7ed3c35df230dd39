import asyncio
import tracemalloc

import pytest

from common.serving.mailbox import Gate, Mailbox

MANY = 1000


async def test_what_is_put_in_comes_out_in_order() -> None:
    mailbox = Mailbox[int]()
    for number in (1, 2, 3):
        mailbox.put_nowait(number)
    assert [await mailbox.get(), await mailbox.get(), await mailbox.get()] == [1, 2, 3]
    assert mailbox.empty()


async def test_a_reader_waits_for_what_is_not_there_yet() -> None:
    mailbox = Mailbox[str]()
    reading = asyncio.create_task(mailbox.get())
    await asyncio.sleep(0)
    mailbox.put_nowait("first")
    mailbox.put_nowait("second")
    assert [await reading, await mailbox.get()] == ["first", "second"]


async def test_a_reader_that_is_cancelled_leaves_what_came_to_the_next() -> None:
    mailbox = Mailbox[str]()
    reading = asyncio.create_task(mailbox.get())
    await asyncio.sleep(0)
    mailbox.put_nowait("still here")
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    mailbox.put_nowait("and more")
    assert [await mailbox.get(), await mailbox.get()] == ["still here", "and more"]


async def test_a_gate_lets_all_through_once_it_is_opened() -> None:
    gate = Gate()
    await gate.wait()
    gate.clear()
    gate.clear()
    first, second, gone = (asyncio.create_task(gate.wait()) for _ in range(3))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    assert not first.done()
    assert not second.done()
    gate.set()
    gate.set()
    await asyncio.wait_for(asyncio.wait([first, second]), 1)
    assert gone.cancelled()


async def test_both_take_little_while_nothing_happens() -> None:
    tracemalloc.start()
    try:
        kept = [(Mailbox[int](), Gate()) for _ in range(MANY)]
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken / len(kept) < 400
