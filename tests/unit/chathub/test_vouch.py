"""Whoever follows the log does not wait for PostgreSQL, and still hears what it has to say."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from chathub.core.bus_messages import Message, Position
from chathub.core.extent import Extent
from chathub.core.recent import Recent
from chathub.core.resume import LogBounds
from chathub.deliver import Arrived, Live
from chathub.vouch import ROWS_EVERY_SECONDS, ROWS_SECONDS, LogSetBack, Place, VouchedLog
from common.core.errors import UpstreamUnavailable
from common.serving.background import running
from tests.eventually import eventually
from tests.unit.chathub.silent import unanswered
from tests.virtual_time import in_virtual_time, now


class Log:
    def __init__(self) -> None:
        self.losses = 0

    def available(self) -> None: ...

    async def append(self, message: Message) -> Place:
        raise NotImplementedError

    async def ensure(self, after: int) -> LogBounds:
        return LogBounds(7, after, 9)

    async def state(self) -> LogBounds:
        return LogBounds(7, 1, 9)

    def following(self) -> AbstractAsyncContextManager[Live]:
        raise NotImplementedError

    def read(self, first: int, last: int) -> AsyncIterator[Arrived]:
        raise NotImplementedError


class Rows:
    def __init__(self, last: int) -> None:
        self.last = last
        self.is_silent = False
        self.asked = 0

    async def extent(self) -> Extent:
        self.asked += 1
        if self.is_silent:
            await unanswered()
        return Extent(Position(7, self.last), self.last)

    async def reach(self, position: Position) -> None:
        self.last = max(self.last, position.sequence)


@asynccontextmanager
async def vouching(log: Log, rows: Rows) -> AsyncGenerator[VouchedLog]:
    vouched = VouchedLog(log, rows, Recent())
    async with running(vouched.run):
        yield vouched


@in_virtual_time
async def test_while_postgresql_is_silent_the_log_is_looked_at_without_a_wait() -> None:
    log, rows = Log(), Rows(last=5)
    async with vouching(log, rows) as vouched:
        await vouched.ensure()
        rows.is_silent = True
        begun = now()
        for _ in range(100):
            assert await vouched.state() == LogBounds(7, 1, 9)
        assert now() == begun


@in_virtual_time
async def test_after_a_loss_it_is_waited_for_but_no_longer_than_that() -> None:
    log, rows = Log(), Rows(last=5)
    async with vouching(log, rows) as vouched:
        await vouched.ensure()
        rows.is_silent, log.losses, begun = True, 1, now()
        await vouched.state()
        assert now() - begun == ROWS_SECONDS


@in_virtual_time
async def test_it_is_not_asked_for_every_look() -> None:
    log, rows = Log(), Rows(last=5)
    async with vouching(log, rows) as vouched:
        await vouched.ensure()
        for _ in range(100):
            await vouched.state()
    assert rows.asked == 1


@in_virtual_time
async def test_what_another_node_has_stored_shows_soon_that_the_log_was_set_back() -> None:
    log, rows = Log(), Rows(last=5)
    async with vouching(log, rows) as vouched:
        await vouched.ensure()
        rows.last, begun = 12, now()

        async def is_refused() -> bool:
            try:
                await vouched.state()
            except LogSetBack:
                return True
            return False

        await eventually(is_refused)
        assert now() - begun < 2 * ROWS_EVERY_SECONDS


@in_virtual_time
async def test_from_the_beginning_postgresql_has_to_answer() -> None:
    log, rows = Log(), Rows(last=5)
    rows.is_silent = True
    async with vouching(log, rows) as vouched:
        with pytest.raises(UpstreamUnavailable):
            await vouched.ensure()
