"""In quiet times one stream of PocketBase's takes over from another; nothing is lost, told twice or called lost."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from common.adapters.pocketbase import PocketBase, RealtimeEvent, RecordChange, Resubscribed, open_pocketbase
from common.task_group import TaskGroup
from natsync.follow_in_turn import Turns, TurnTerms
from tests.eventually import eventually
from tests.servers.pocketbase import pocketbase_server

TERMS = TurnTerms(quiet_seconds=0.05, silence_seconds=0.25)
WRITES, PAUSES = 24, (0.0, 0.0, 0.02, 0.6)


@pytest.fixture
async def control() -> AsyncGenerator[PocketBase]:
    with pocketbase_server() as known:
        async with open_pocketbase(known.url, email=known.email, password=known.password) as control:
            yield control


async def test_every_write_is_told_once_however_often_the_stream_is_another(control: PocketBase) -> None:
    begun = 0
    fields = [{"name": "title", "type": "text"}]
    await control.request("POST", "/api/collections", {"name": "turns", "type": "base", "fields": fields})

    def begin() -> AsyncGenerator[RealtimeEvent]:
        nonlocal begun
        begun += 1
        return control.follow(["turns"])

    async with TaskGroup() as tasks:
        heard: list[RealtimeEvent] = []
        turns = Turns(tasks, begin, TERMS)
        hearing = tasks.create_task(hear(turns, heard))
        await eventually(lambda: has(heard, 1))
        written = await write(control)
        await eventually(lambda: has(heard, 1 + WRITES))
        hearing.cancel()
        turns.stop()
    assert heard[0] == Resubscribed()
    told = [event.record["id"] for event in heard[1:] if isinstance(event, RecordChange)]
    assert sorted(told) == sorted(written)
    assert begun > 2, "the stream was another more than once"


async def hear(turns: Turns, heard: list[RealtimeEvent]) -> None:
    async with aclosing(turns.events()) as events:
        async for event in events:
            heard.append(event)  # noqa: PERF401 - one by one, as they come


async def has(heard: list[RealtimeEvent], count: int) -> bool:
    return len(heard) >= count


async def write(control: PocketBase) -> list[str]:
    written: list[str] = []
    for index in range(WRITES):
        written.append((await control.create("turns", {"title": str(index)}))["id"])
        await asyncio.sleep(PAUSES[index % len(PAUSES)])
    return written
