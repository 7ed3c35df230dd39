"""`chathub.client` against real nodes: it says, hears, comes back and goes on."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.server import ServerConnection, serve

from chathub.client import Chat, Ended, Refused, open_chat
from chathub.core.standing import Event, Said, Told, Whispered
from common.core.errors import DeadlineExceeded
from tests.eventually import eventually
from tests.servers import chathub
from tests.servers.chathub import Chathub
from tests.servers.issuer import Issuer

MESSAGES = 120
SECONDS = 60


@pytest.fixture
def doomed(environment: dict[str, str], tmp_path: Path) -> Generator[Chathub]:
    with chathub.chathub(tmp_path / "doomed", environment) as running:
        chathub.wait_until_ready(running)
        yield running


def source(tokens: Issuer, user: str, *roles: str) -> Callable[[], Awaitable[str]]:
    async def token() -> str:
        return tokens.token(user, *roles)

    return token


async def until(chat: Chat, holds: Callable[[Event], bool]) -> list[Event]:
    """Everything up to the first event for which it holds."""
    heard: list[Event] = []
    async with asyncio.timeout(SECONDS):
        async for event in chat:
            heard.append(event)
            if holds(event):
                break
    return heard


def is_message(text: str) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, Said | Whispered) and event.message == text


async def test_it_says_whispers_edits_deletes_and_hears(node: Chathub, tokens: Issuer) -> None:
    async with (
        open_chat(node.ws, source(tokens, "ann"), proxy=False) as ann,
        open_chat(node.ws, source(tokens, "bob"), proxy=False) as bob,
    ):
        await until(bob, lambda event: isinstance(event, Told) and event.type == "connected_users")
        place = await ann.say("general", "by a program")
        heard = await until(bob, is_message("by a program"))
        assert [event.cache_id for event in heard if isinstance(event, Said) and event.message == "by a program"] == [
            place
        ]
        await ann.whisper("bob", "in private")
        await until(bob, is_message("in private"))
        await ann.edit(place, "by a better program")
        await until(bob, lambda event: getattr(event, "message", "") == "by a better program")
        await ann.delete(place)
        await until(bob, lambda event: type(event).__name__ == "Deleted")


def crowded(users: int) -> AbstractAsyncContextManager[str]:
    """A server that says of so many users that they are there, and nothing else."""
    listed = [{"username": f"{number} {'é' * 40}", "id": f"{number:015d}", "status": True} for number in range(users)]
    return saying(frame("connected_users", users=listed))


def frame(type: str, **payload: Any) -> str:
    return json.dumps({"type": type, "sender": "Server", "payload": payload}, ensure_ascii=False)


def line(cache_id: int) -> dict[str, Any]:
    said = {"owner_id": "bob", "username": "Bob", "channel": "general", "message": "x"}
    return {"cacheID": cache_id, "authored_at": "2026-01-02T00:00:00Z", **said}


@asynccontextmanager
async def saying(*frames: str) -> AsyncGenerator[str]:
    """A server that says this to everybody who comes, and nothing else."""

    async def welcome(socket: ServerConnection) -> None:
        for told in frames:
            await socket.send(told)
        await socket.wait_closed()

    async with serve(welcome, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws"


async def test_a_frame_that_names_forty_thousand_users_is_read_and_its_size_is_bounded(tokens: Issuer) -> None:
    async with crowded(40_000) as url:
        async with open_chat(url, source(tokens, "ann"), proxy=False) as ann:
            [told] = await until(ann, lambda event: isinstance(event, Told))
            assert isinstance(told, Told)
            assert len(told.payload["users"]) == 40_000
        async with open_chat(url, source(tokens, "ann"), proxy=False, max_frame_bytes=4 * 1024 * 1024) as small:
            await eventually(lambda: connects(small), lambda count: count > 1)
            assert small._events.empty()


async def connects(chat: Chat) -> int:
    return chat.connects


async def test_what_the_server_does_not_take_is_an_error_and_the_chat_goes_on(node: Chathub, tokens: Issuer) -> None:
    async with open_chat(node.ws, source(tokens, "ann"), listens=False, proxy=False) as ann:
        with pytest.raises(Refused) as refused:
            await ann.say("nowhere", "hello")
        assert refused.value.reason == "unknown_channel"
        assert await ann.say("general", "hello again") > 0


async def test_said_twice_under_one_id_is_said_once(node: Chathub, tokens: Issuer) -> None:
    async with open_chat(node.ws, source(tokens, "ann"), listens=False, proxy=False) as ann:
        first = await ann.say("general", "once", client_msg_id="only-once")
        assert await ann.say("general", "once", client_msg_id="only-once") == first


async def test_a_killed_node_costs_nobody_a_message(node: Chathub, doomed: Chathub, tokens: Issuer) -> None:
    both = (doomed.ws, node.ws)
    async with (
        open_chat(both, source(tokens, "sue"), listens=False, proxy=False) as sue,
        open_chat(both, source(tokens, "lou"), proxy=False) as lou,
    ):
        places: list[int] = []
        for number in range(MESSAGES):
            places.append(await sue.say("general", f"through it all {number}", deadline_seconds=SECONDS))
            if number == MESSAGES // 3:
                doomed.process.kill()
        heard = await until(lou, is_message(f"through it all {MESSAGES - 1}"))
        mine = [event for event in heard if isinstance(event, Said) and event.owner_id == "sue"]
        assert [event.message for event in mine] == [f"through it all {number}" for number in range(MESSAGES)]
        assert [event.cache_id for event in mine] == places
        assert sue.connects > 1


async def test_the_place_is_behind_what_was_handled_however_much_was_read(tokens: Issuer) -> None:
    frames = (
        frame("resumed", epoch="1", cacheID=3, recovered=False, reason="new"),
        frame("bulk_chat_messages", messages=[line(2), line(3)]),
        frame("connected_users", users=[]),
        frame("chat_message", **line(4)),
        frame("message_deleted", cacheID=2, sequence=5),
    )
    places: list[tuple[str, str]] = []
    async with saying(*frames) as url, open_chat(url, source(tokens, "ann"), proxy=False) as ann:
        async for event in ann:
            places.append((type(event).__name__, ann.place))
            if len(places) == len(frames):
                break
        async with asyncio.TaskGroup() as asking:
            asked = asking.create_task(anext(ann))
            await eventually(lambda: place_of(ann), lambda found: found == "1.5")
            asked.cancel()
    assert places == [("Said", "new"), ("Said", "new"), ("Told", "new"), ("Said", "1.3"), ("Deleted", "1.4")]


async def place_of(chat: Chat) -> str:
    return chat.place


async def test_a_program_that_was_restarted_goes_on_with_what_it_had_not_handled(node: Chathub, tokens: Issuer) -> None:
    async with open_chat(node.ws, source(tokens, "ann"), proxy=False) as ann:
        for text in ("handled", "in hand at the break", "unread at the break"):
            await ann.say("general", text)
        await until(ann, is_message("in hand at the break"))
        place = ann.place
    async with open_chat(node.ws, source(tokens, "bob"), listens=False, proxy=False) as bob:
        await bob.say("general", "during the break")
    async with open_chat(node.ws, source(tokens, "ann"), resume=place, proxy=False) as again:
        heard = await until(again, is_message("during the break"))
    told = [event.message for event in heard if isinstance(event, Said)]
    assert told == ["in hand at the break", "unread at the break", "during the break"]


async def test_a_token_about_to_expire_is_renewed_on_the_same_connection(node: Chathub, tokens: Issuer) -> None:
    asked = 0

    async def token() -> str:
        nonlocal asked
        asked += 1
        return tokens.token("ann", exp=int(time.time()) + (61 if asked == 1 else 300))

    async with open_chat(node.ws, token, proxy=False) as ann:
        await until(ann, lambda event: isinstance(event, Told) and event.type == "refreshed")
        assert (asked, ann.connects) == (2, 1)


async def test_more_at_once_than_a_node_takes_is_all_there_in_the_end(
    environment: dict[str, str], tokens: Issuer, tmp_path: Path
) -> None:
    narrow = {**environment, "CHATHUB_FRAMES_BURST": "60", "CHATHUB_FRAMES_PER_SECOND": "50"}
    with chathub.chathub(tmp_path / "narrow", narrow) as node:
        chathub.wait_until_ready(node)
        async with open_chat(node.ws, source(tokens, "hasty"), proxy=False) as chat, asyncio.TaskGroup() as saying:
            await chat.say("general", "first")
            said = [saying.create_task(chat.say("general", f"of many {number}")) for number in range(100)]
        assert len({one.result() for one in said}) == 100
        assert chat.connects == 1


async def test_a_token_source_that_fails_is_asked_again_and_an_address_may_have_a_query(
    node: Chathub, tokens: Issuer
) -> None:
    asked = 0

    async def token() -> str:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise ValueError("no answer")
        return tokens.token("ann")

    async with open_chat(f"{node.ws}?from=here", token, proxy=False) as ann:
        assert await ann.say("general", "in the end") > 0
    assert asked == 3


async def test_who_is_banned_or_nobody_is_not_to_come_back(node: Chathub, tokens: Issuer) -> None:
    async def nobody() -> str:
        return "no.token.atall"

    async with AsyncExitStack() as stack:
        unknown = await stack.enter_async_context(open_chat(node.ws, nobody, proxy=False))
        with pytest.raises(Ended):
            await unknown.say("general", "hello")
        mallory = await stack.enter_async_context(open_chat(node.ws, source(tokens, "mel"), proxy=False))
        await mallory.say("general", "hello")
        admin = {"Authorization": f"Bearer {tokens.token('boss', 'admin')}"}
        async with httpx.AsyncClient(base_url=node.http, headers=admin, trust_env=False) as http:
            await http.post("/users/ban", json={"banished_id": "mel"})
        with pytest.raises(Ended) as ended:
            await until(mallory, lambda _: False)
        assert "banned" in ended.value.reason


async def test_while_nobody_answers_a_message_is_late_but_not_lost(tokens: Issuer) -> None:
    async with open_chat("ws://127.0.0.1:9/ws", source(tokens, "ann"), listens=False, proxy=False) as ann:
        with pytest.raises(DeadlineExceeded):
            await ann.say("general", "hello?", deadline_seconds=0.3)
