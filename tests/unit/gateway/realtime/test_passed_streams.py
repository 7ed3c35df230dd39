import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from common.core.errors import UpstreamUnavailable
from common.core.notices import SessionRevoked
from common.ending import ended
from gateway.bodies.receive import Closing
from gateway.core.front_door.exchange import UpstreamAnswer, UpstreamRequest
from gateway.core.sessions.principal import Principal
from gateway.realtime.passed_streams import AHEAD_SECONDS, MOST_OF_A_USER, PassedStreams
from tests.eventually import eventually
from tests.unit.gateway.realtime.test_hub import Absent

ADDRESS = "203.0.113.8"


class Turning:
    """Rules that change only if they are told to, and a feed that is away until it is back."""

    def __init__(self) -> None:
        self.current = object()
        self.is_back = False
        self.looks = 0

    @property
    def is_current(self) -> bool:
        self.looks += 1
        return self.is_back

    async def is_watched(self) -> bool:
        return self.looks > 0

    async def looked(self) -> int:
        return self.looks


async def test_a_stream_that_is_passed_on_ends_once_the_feed_is_back() -> None:
    turning = Turning()
    passed = PassedStreams(Absent(), turning, turning)
    running = asyncio.create_task(passed.run())
    with pytest.raises(Closing):
        await held_until_it_ends(passed, turning)
    await ended([running])


async def held_until_it_ends(passed: PassedStreams, turning: Turning) -> None:
    async with asyncio.timeout(5), passed.held():
        await eventually(turning.is_watched)
        turning.is_back = True
        await asyncio.Event().wait()


async def test_a_stream_that_is_slow_to_end_is_ended_once_however_often_all_are_to_end() -> None:
    turning = Turning()
    passed = PassedStreams(Absent(), turning, turning)
    running = asyncio.create_task(passed.run())
    with pytest.raises(Closing):
        await held_while_all_are_ended_twice(passed, turning)
    assert not running.done()
    await ended([running])


async def held_while_all_are_ended_twice(passed: PassedStreams, turning: Turning) -> None:
    async with asyncio.timeout(5), passed.held():
        await eventually(turning.is_watched)
        turning.is_back = True
        try:
            await asyncio.Event().wait()
        finally:
            turning.current, before = object(), turning.looks
            await eventually(turning.looked, lambda looks: looks > before + 2)


async def test_a_deadline_of_something_else_is_no_end_of_the_stream() -> None:
    passed = PassedStreams(Absent(), Turning(), None)
    with pytest.raises(TimeoutError):
        await held_by_what_is_late(passed)


async def held_by_what_is_late(passed: PassedStreams) -> None:
    async with passed.held():
        raise TimeoutError


class Done:
    status = 204
    headers: Sequence[tuple[bytes, bytes]] = ()

    async def chunks(self) -> AsyncIterator[bytes]:
        return
        yield


class Unsubscribing:
    """An upstream that notes which of its clients lost all subscriptions. It knows each by one address."""

    def __init__(self) -> None:
        self.clients: list[str] = []
        self.is_away = False
        self.asked = 0

    @asynccontextmanager
    async def exchange(self, request: UpstreamRequest) -> AsyncGenerator[UpstreamAnswer]:
        self.asked += 1
        if self.is_away:
            raise UpstreamUnavailable("away")
        assert request.body is not None
        assert dict(request.headers)["X-Forwarded-For"] == ADDRESS
        told = json.loads(b"".join([chunk async for chunk in request.body]))
        assert told["subscriptions"] == []
        self.clients.append(told["clientId"])
        yield Done()

    async def noted(self) -> list[str]:
        return self.clients

    async def was_asked(self) -> int:
        return self.asked


def signed_in(user: str, session: str, *, seconds: int = 60) -> Principal:
    return Principal(user, "u", "users", user, frozenset(), "", session, 0, 0, int(time.time()) + seconds)


async def test_who_subscribes_again_and_again_loses_the_oldest_and_nobody_else_does() -> None:
    upstream = Unsubscribing()
    passed = PassedStreams(upstream, Turning(), None)
    passed.carried("bob's", signed_in("bob", "b"), ADDRESS)
    for number in range(MOST_OF_A_USER + 2):
        passed.carried(f"ann's {number}", signed_in("ann", f"a{number}"), ADDRESS)
    running = asyncio.create_task(passed.run())
    await eventually(upstream.noted, lambda clients: clients == ["ann's 0", "ann's 1"])
    await ended([running])


async def test_what_a_session_was_given_is_taken_back_when_it_ends() -> None:
    upstream = Unsubscribing()
    passed = PassedStreams(upstream, Turning(), None)
    for user in ("ann", "bob"):
        passed.carried(f"{user}'s", signed_in(user, user), ADDRESS)
    passed.heard(SessionRevoked("ann"))
    running = asyncio.create_task(passed.run())
    await eventually(upstream.noted, lambda clients: clients == ["ann's"])
    await ended([running])


async def test_it_is_taken_back_while_the_token_that_is_about_to_expire_is_still_taken() -> None:
    upstream = Unsubscribing()
    passed = PassedStreams(upstream, Turning(), None)
    passed.carried("ann's", signed_in("ann", "a", seconds=AHEAD_SECONDS + 30), ADDRESS)
    passed.carried("bob's", signed_in("bob", "b", seconds=AHEAD_SECONDS - 1), ADDRESS)
    running = asyncio.create_task(passed.run())
    await eventually(upstream.noted, lambda clients: clients == ["bob's"], seconds=AHEAD_SECONDS - 2)
    await ended([running])


async def test_what_another_session_has_subscribed_to_anew_is_not_taken_back() -> None:
    upstream = Unsubscribing()
    passed = PassedStreams(upstream, Turning(), None)
    for client in ("first", "second"):
        passed.carried(client, signed_in("ann", "a"), ADDRESS)
    upstream.is_away = True
    passed.heard(SessionRevoked("a"))
    running = asyncio.create_task(passed.run())
    await eventually(upstream.was_asked)
    passed.carried("first", signed_in("ann", "b"), ADDRESS)
    upstream.is_away = False
    await eventually(upstream.noted, lambda clients: clients == ["second"])
    await ended([running])
