"""Clients that come back, to the same node or to another one."""

import asyncio
import json
import time
from collections.abc import Generator
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import nats
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from chathub.core.bus_messages import RoomMessage, encode, subject_of
from tests.chat_client import ChatClient, chatting
from tests.eventually import eventually
from tests.servers import chathub
from tests.servers.chathub import Chathub
from tests.servers.issuer import Issuer
from tests.thorough import times

SPEAKERS = 10
PER_SECOND = times(300, 1000)
DEAD_AND_GRACE_SECONDS = 9 + 1 + 2


@pytest.fixture(scope="module")
def other(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Generator[Chathub]:
    with chathub.chathub(tmp_path_factory.mktemp("other") / "log", environment) as running:
        chathub.wait_until_ready(running)
        yield running


def resumption(client: ChatClient) -> dict[str, object]:
    return next(frame["payload"] for frame in client.heard if frame["type"] == "resumed")


def live(client: ChatClient) -> list[tuple[int, str]]:
    return [
        (frame["payload"]["cacheID"], frame["payload"]["message"])
        for frame in client.heard
        if frame["type"] in {"chat_message", "private_chat_message"}
    ]


async def test_a_new_client_is_told_where_it_stands(node: Chathub, tokens: Issuer) -> None:
    async with chatting(node.ws, tokens.token("ann"), resume="new") as ann:
        assert ann.heard[0]["type"] == "resumed"
        assert resumption(ann)["reason"] == "new"


async def test_what_was_missed_comes_on_another_node_once_and_in_order(
    node: Chathub, other: Chathub, tokens: Issuer
) -> None:
    async with chatting(node.ws, tokens.token("ann"), resume="new") as ann:
        await ann.say("heard before")
        await ann.hear("heard before")
    async with chatting(other.ws, tokens.token("bob")) as bob:
        for number in range(20):
            await bob.say(f"missed by ann {number}")
            await bob.whisper("ann", f"whispered to ann {number}")
        await bob.whisper("carl", "none of her business")
        await bob.say("missed by ann, last", client_msg_id="last-missed")
        await bob.acked("last-missed")
        await bob.hear("missed by ann, last")
    async with chatting(other.ws, tokens.token("ann"), resume=ann.place()) as again:
        assert resumption(again)["recovered"]
        expected = [text for n in range(20) for text in (f"missed by ann {n}", f"whispered to ann {n}")]
        assert [text for _, text in live(again)] == [*expected, "missed by ann, last"]
        assert "bulk_chat_messages" not in {frame["type"] for frame in again.heard}


async def test_more_than_a_node_remembers_is_read_from_the_log(
    node: Chathub, environment: dict[str, str], tokens: Issuer, log_file: Path
) -> None:
    async with chatting(node.ws, tokens.token("ann"), resume="new") as ann:
        await ann.say("the place")
        await ann.hear("the place")
        await fill_log(environment["NATS_URL"], 5200)
        await ann.hear("of many 5199")
        every = live(ann)
    with chathub.chathub(log_file, environment) as fresh:
        chathub.wait_until_ready(fresh)
        start = f"{ann.place().partition('.')[0]}.{every[0][0]}"
        async with chatting(fresh.ws, tokens.token("ann"), resume=start) as again:
            assert resumption(again)["recovered"]
            assert live(again) == every[1:]


async def fill_log(nats_url: str, messages: int) -> None:
    bus = await nats.connect(nats_url)
    for number in range(messages):
        message = RoomMessage(
            owner_id="bot",
            username="Bot",
            channel_id=1,
            channel="general",
            message=f"of many {number}",
            authored_at=datetime.now(UTC),
        )
        await bus.publish(subject_of(message), encode(message))
    await bus.close()


@pytest.mark.parametrize(("place", "reason"), [("7.1", "other_log"), ("{epoch}.999999999", "unknown")])
async def test_a_place_that_says_nothing_here_is_refused_with_the_reason(
    node: Chathub, tokens: Issuer, place: str, reason: str
) -> None:
    async with chatting(node.ws, tokens.token("ann"), resume="new") as ann:
        epoch = str(resumption(ann)["epoch"])
    async with chatting(node.ws, tokens.token("ann"), resume=place.format(epoch=epoch)) as again:
        assert resumption(again) == {**resumption(again), "recovered": False, "reason": reason}
        assert "active_channels" in {frame["type"] for frame in again.heard}


async def test_a_place_that_cannot_be_read_is_a_bad_request(node: Chathub, tokens: Issuer) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with chatting(node.ws, tokens.token("ann"), resume="somewhere"):
            pass
    assert refused.value.response.status_code == 400


class Speaker:
    """Says what is numbered, so many a second, and reads all that it is told."""

    def __init__(self, client: ChatClient, name: str) -> None:
        self.said = 0
        self._is_done = False
        self._client = client
        self._name = name

    async def run(self, stop: asyncio.Event) -> None:
        """Until it is stopped and all is acknowledged, or its node is gone."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._speak(stop))
            with suppress(ConnectionClosed):
                while not self._is_done or len(self.acknowledged()) < self.said:
                    await self._client.next()

    async def _speak(self, stop: asyncio.Event) -> None:
        begun = time.monotonic()
        with suppress(ConnectionClosed):
            while not self._is_done:
                await asyncio.sleep(begun + self.said * SPEAKERS / PER_SECOND - time.monotonic())
                self._is_done = stop.is_set()
                self.said += 1
                await self._client.say(self.text(self.said), client_msg_id=f"load-{self._name}-{self.said}")

    def text(self, number: int) -> str:
        return f"under load {self._name} {number}"

    def acknowledged(self) -> list[int]:
        ids = [frame["payload"]["client_msg_id"] for frame in self._client.heard if frame["type"] == "ack"]
        return [int(id.rpartition("-")[2]) for id in ids]

    def heard_in(self, texts: list[str]) -> list[int]:
        """The numbers of its messages among them."""
        mine = self.text(0)[:-1]
        return [int(text.removeprefix(mine)) for text in texts if text.startswith(mine)]


async def test_who_is_on_a_node_that_is_killed_goes_on_elsewhere_without_gap_or_double(
    node: Chathub, environment: dict[str, str], tokens: Issuer, log_file: Path
) -> None:
    """With POCKETWIRE_EXAMPLES at 1,000 messages a second."""
    stop = asyncio.Event()
    speaking: list[asyncio.Task[None]] = []
    async with AsyncExitStack() as stack:

        async def speaker(on: Chathub, name: str) -> Speaker:
            one = Speaker(await stack.enter_async_context(chatting(on.ws, tokens.token(name))), name)
            speaking.append(asyncio.create_task(one.run(stop)))
            return one

        doomed = stack.enter_context(chathub.chathub(log_file, environment))
        chathub.wait_until_ready(doomed)
        async with chatting(doomed.ws, tokens.token("ann"), resume="new") as ann:
            others = [await speaker(node, f"speaker{number}") for number in range(SPEAKERS - 1)]
            on_the_doomed = await speaker(doomed, "doomed")
            await ann.hear(on_the_doomed.text(PER_SECOND // SPEAKERS))
            doomed.process.kill()
            await everything(ann)
        async with chatting(node.ws, tokens.token("ann"), resume=ann.place()) as again:
            await again.hear(others[0].text(others[0].said + PER_SECOND // SPEAKERS))
            stop.set()
            await asyncio.gather(*speaking)
            for one in others:
                await again.hear(one.text(one.said))
    heard = [text for _, text in live(ann) + live(again)]
    for one in others:
        numbers = one.heard_in(heard)
        assert numbers == list(range(numbers[0], one.said + 1))
    numbers = on_the_doomed.heard_in(heard)
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert numbers[-1] >= max(on_the_doomed.acknowledged())


async def everything(client: ChatClient) -> None:
    """What had been sent to it before the connection broke."""
    with suppress(ConnectionClosed):
        while True:
            await client.next()


async def test_presence_is_one_over_all_nodes(node: Chathub, other: Chathub, tokens: Issuer) -> None:
    async with chatting(node.ws, tokens.token("ann")) as ann:
        async with chatting(other.ws, tokens.token("gina")):
            await ann.until("user_status", lambda payload: payload["id"] == "gina" and payload["status"])
            async with chatting(node.ws, tokens.token("hugo")) as hugo:
                users = {user["id"] for user in (await hugo.until("connected_users"))["users"]}
                assert {"ann", "gina", "hugo"} <= users
        await ann.until("user_status", lambda payload: payload["id"] == "gina" and not payload["status"])


async def test_the_users_of_a_killed_node_are_gone_within_ten_seconds(
    node: Chathub, environment: dict[str, str], tokens: Issuer, log_file: Path
) -> None:
    with chathub.chathub(log_file, environment) as doomed:
        chathub.wait_until_ready(doomed)
        async with chatting(node.ws, tokens.token("ann")) as ann:
            async with chatting(doomed.ws, tokens.token("ida")):
                await ann.until("user_status", lambda payload: payload["id"] == "ida" and payload["status"])
                doomed.process.kill()
            async with asyncio.timeout(DEAD_AND_GRACE_SECONDS):
                while not any(is_gone(frame) for frame in ann.heard):
                    ann.heard.append(json.loads(await ann.socket.recv()))


def is_gone(frame: dict[str, Any]) -> bool:
    return frame["type"] == "user_status" and frame["payload"] == {"username": "Ida", "id": "ida", "status": False}


async def test_an_edit_and_a_deletion_reach_everybody_and_every_copy(
    node: Chathub, other: Chathub, tokens: Issuer
) -> None:
    async with (
        chatting(node.ws, tokens.token("ann"), resume="new") as ann,
        chatting(other.ws, tokens.token("bob"), resume="new") as bob,
    ):
        place = ann.place()
        await ann.say("first wording", client_msg_id="to-edit")
        edited = await ann.acked("to-edit")
        await ann.say("to be deleted", client_msg_id="to-delete")
        deleted = await ann.acked("to-delete")
        await bob.send(type="edit_message", cacheID=edited, message="not his")
        assert (await bob.until("error"))["code"] == "forbidden"
        await ann.send(type="edit_message", cacheID=edited, message="second wording")
        await ann.send(type="edit_message", cacheID=deleted, message="edited before it was deleted")
        await ann.send(type="delete_message", cacheID=deleted, client_msg_id="delete-it")
        assert (await bob.until("message_edited"))["message"] == "second wording"
        assert (await bob.until("message_deleted"))["cacheID"] == deleted
    async with chatting(node.ws, tokens.token("carl")) as carl:
        texts = [text for _, text in carl.messages()]
        assert "second wording" in texts
        assert not {"first wording", "to be deleted"} & set(texts)
    async with chatting(node.ws, tokens.token("ann"), resume=place) as again:
        shown = [text for _, text in live(again)]
        assert "second wording" in shown
        assert not {"first wording", "to be deleted"} & set(shown)
        assert "edited before it was deleted" not in str(again.heard)
    headers = {"Authorization": f"Bearer {tokens.token('ann')}"}
    async with httpx.AsyncClient(trust_env=False, headers=headers) as http:

        async def stored() -> set[str]:
            answer = await http.get(f"{node.http}/messages", params={"channel": "general", "limit": 200})
            return {message["message"] for message in answer.json()["payload"]["messages"]}

        texts = await eventually(stored, lambda texts: "second wording" in texts and "to be deleted" not in texts)
        assert "first wording" not in texts
