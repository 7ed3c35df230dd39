"""What follows from a write: whoever keeps answers is told, and sessions end, before the client hears of it."""

import asyncio
from collections.abc import Sequence

import pytest

from common.core.errors import UpstreamUnavailable
from gateway.core.front_door.exchange import UpstreamRequest
from gateway.core.sessions.account_change import CHANGED_THOUGH_REFUSED, Doubtful, Ended
from gateway.core.sessions.principal import Principal
from gateway.core.sessions.session import Owner
from gateway.follow_write import Effects, Writing, effects_of
from tests.fakes.memory_upstream import MemoryUpstream

ANN, BOB = Owner("u", "ann"), Owner("u", "bob")
PRINCIPAL = Principal("ann", "u", "users", "ann", frozenset(), "c", "s", 0, 0, 0)
REQUEST = UpstreamRequest("PATCH", "/x", [("Authorization", "")], None)
PASSWORD = [Ended(ANN, "credentials changed")]


class Told:
    """In the place of both who is told."""

    def __init__(self) -> None:
        self.written_to: list[str] = []
        self.followed: list[Ended | Doubtful] = []

    async def written(self, collection_ids: Sequence[str]) -> None:
        self.written_to += collection_ids

    async def follow(self, changes: Sequence[Ended | Doubtful]) -> None:
        self.followed += changes


async def after(status: int, effects: Effects, principal: Principal | None = None) -> Told:
    """What was told by the time that the answer was there to be passed on, or had failed to come."""
    told = Told()
    writing = Writing(MemoryUpstream(lambda _: status), told, told)
    if not status:
        with pytest.raises(UpstreamUnavailable):
            async with writing.exchange(REQUEST, effects, principal):
                pass
        return told
    async with writing.exchange(REQUEST, effects, principal):
        return told


async def test_a_write_that_was_done_is_followed_before_it_is_answered() -> None:
    told = await after(200, Effects(frozenset({"b", "a"}), PASSWORD))
    assert (told.written_to, told.followed) == (["a", "b"], [Ended(ANN, "credentials changed")])


class Slow(Told):
    """Takes until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.may_end = asyncio.Event(), asyncio.Event()

    async def written(self, collection_ids: Sequence[str]) -> None:
        self.begun.set()
        await self.may_end.wait()
        await super().written(collection_ids)


async def test_a_write_that_was_done_is_followed_though_its_caller_has_given_up() -> None:
    slow = Slow()
    writing = Writing(MemoryUpstream(lambda _: 200), slow, slow)

    async def write() -> None:
        async with writing.exchange(REQUEST, Effects(frozenset({"a"}), PASSWORD), None):
            raise AssertionError("answered")

    task = asyncio.create_task(write())
    await slow.begun.wait()
    task.cancel()
    slow.may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (slow.written_to, slow.followed) == (["a"], [Ended(ANN, "credentials changed")])


@pytest.mark.parametrize("status", [304, 400, 401, 403, 500])
async def test_a_write_that_was_refused_changed_nothing(status: int) -> None:
    told = await after(status, Effects(frozenset({"a"}), PASSWORD))
    assert (told.written_to, told.followed) == ([], [])


async def test_the_first_of_two_factors_may_have_changed_something_and_ended_nothing() -> None:
    told = await after(401, Effects(frozenset({"u"}), PASSWORD, CHANGED_THOUGH_REFUSED))
    assert (told.written_to, told.followed) == (["u"], [])


async def test_a_write_whose_answer_is_lost_may_have_been_done() -> None:
    told = await after(0, Effects(frozenset({"u"}), PASSWORD), PRINCIPAL)
    assert (told.written_to, told.followed) == (["u"], [Doubtful(ANN)])


@pytest.mark.parametrize("principal", [None, PRINCIPAL])
async def test_nobody_ends_another_s_sessions_by_asking_a_pocketbase_that_is_away(principal: Principal | None) -> None:
    told = await after(0, Effects(frozenset({"u"}), [Ended(BOB, "credentials changed")]), principal)
    assert (told.written_to, told.followed) == (["u"], [])


async def test_a_call_that_changes_no_records_is_told_to_nobody() -> None:
    assert (await after(200, Effects())).written_to == []


def test_a_batch_has_the_effects_of_all_that_is_in_it() -> None:
    found = effects_of([Effects(frozenset({"a"})), Effects(frozenset({"b", "a"}), PASSWORD)])
    assert found == Effects(frozenset({"a", "b"}), PASSWORD)
