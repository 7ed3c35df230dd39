"""Sessions that ended and users who were banned elsewhere: their sockets close, and their tokens open nothing."""

import json
import time
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import httpx
import nats
import pytest
from nats.aio.client import Client
from websockets.exceptions import ConnectionClosed, InvalidStatus

from common.core import subjects
from common.core.messages import encode
from common.core.notices import Notice, SessionRevoked, UserBanned, UserPardoned, subject_of
from tests.chat_client import ChatClient, chatting
from tests.eventually import eventually
from tests.servers import chathub
from tests.servers.chathub import Chathub
from tests.servers.issuer import Issuer


@pytest.fixture(scope="module")
def other(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Generator[Chathub]:
    with chathub.chathub(tmp_path_factory.mktemp("other") / "log", environment) as running:
        chathub.wait_until_ready(running)
        yield running


@pytest.fixture
async def bus(environment: dict[str, str]) -> AsyncGenerator[Client]:
    client = await nats.connect(environment["NATS_URL"])
    yield client
    await client.close()


async def tell(bus: Client, notice: Notice) -> None:
    await bus.publish(subject_of(notice), encode(notice))
    await bus.flush()


async def closed(client: ChatClient) -> int:
    try:
        while True:
            await client.next()
    except ConnectionClosed as error:
        return error.rcvd.code if error.rcvd else 0


async def refused(node: Chathub, token: str, query: str = "") -> str | None:
    """Why; None where the socket opens."""
    try:
        async with chatting(f"{node.ws}{query}", None if query else token):
            return None
    except InvalidStatus as error:
        return str(json.loads(error.response.body or b"{}")["message"])


async def status(node: Chathub, token: str) -> int:
    async with httpx.AsyncClient(base_url=node.http, trust_env=False) as client:
        return (await client.get("/channels", headers={"Authorization": f"Bearer {token}"})).status_code


async def ticket_of(node: Chathub, token: str) -> str:
    async with httpx.AsyncClient(base_url=node.http, trust_env=False) as client:
        answer = await client.post("/ws/ticket", headers={"Authorization": f"Bearer {token}"})
        return answer.json()["ticket"]


async def test_the_end_of_a_session_closes_its_sockets_on_every_node_within_a_second_and_those_alone(
    node: Chathub, other: Chathub, tokens: Issuer, bus: Client
) -> None:
    ended, going_on = tokens.token("sid1", sid="ended"), tokens.token("sid1", sid="going-on")
    ticket = await ticket_of(node, ended)
    async with (
        chatting(node.ws, ended) as first,
        chatting(other.ws, ended) as second,
        chatting(node.ws, going_on) as elsewhere,
    ):
        begun = time.monotonic()
        await tell(bus, SessionRevoked(session_id="ended", record_id="sid1"))
        assert [await closed(first), await closed(second)] == [4402, 4402]
        assert time.monotonic() - begun < 1
        await elsewhere.say("unaffected", client_msg_id="unaffected")
        await elsewhere.acked("unaffected")
    for place in (node, other):
        assert await refused(place, ended) == "The session has ended."
        assert await status(place, ended) == 401
    assert await refused(other, ended, f"?ticket={ticket}") == "The session has ended."
    assert await refused(other, going_on) is None


async def test_a_socket_ends_with_the_session_that_it_was_last_refreshed_by(
    node: Chathub, tokens: Issuer, bus: Client
) -> None:
    async with chatting(node.ws, tokens.token("sid2", sid="before")) as client:
        await client.send(type="refresh", token=tokens.token("sid2", sid="after"))
        await client.until("refreshed")
        await tell(bus, SessionRevoked(session_id="before"))
        await client.say("still here", client_msg_id="still-here")
        await client.acked("still-here")
        await client.send(type="refresh", token=tokens.token("sid2", sid="before"))
        assert (await client.until("error"))["code"] == "unauthenticated"
        await tell(bus, SessionRevoked(session_id="after"))
        assert await closed(client) == 4402


async def test_a_node_that_was_not_there_knows_which_sessions_ended(
    node: Chathub, environment: dict[str, str], tokens: Issuer, bus: Client, log_file: Path
) -> None:
    token = tokens.token("sid3", sid="long-ago")
    await tell(bus, SessionRevoked(session_id="long-ago"))
    with chathub.chathub(log_file, environment) as late:
        chathub.wait_until_ready(late)
        assert await refused(late, token) == "The session has ended."


async def test_a_ban_by_another_service_keeps_the_user_out_until_the_pardon(
    node: Chathub, tokens: Issuer, bus: Client
) -> None:
    token = tokens.token("outlaw")
    async with chatting(node.ws, token) as client:
        await tell(bus, UserBanned(subject="outlaw", until=int(time.time()) + 600))
        assert await closed(client) == 4503
    await eventually(lambda: refused(node, token), lambda why: why == "User is banned.")
    assert await status(node, token) == 401
    await tell(bus, UserPardoned(subject="outlaw"))
    await eventually(lambda: refused(node, token), lambda why: why is None)


async def test_what_is_no_notice_is_passed_over(node: Chathub, tokens: Issuer, bus: Client) -> None:
    for subject in (subjects.SESSION_REVOKED, subjects.USER_BANNED):
        await bus.publish(subject, b"not json")
    async with chatting(node.ws, tokens.token("sid4", sid="next")) as client:
        await tell(bus, SessionRevoked(session_id="next"))
        assert await closed(client) == 4402
