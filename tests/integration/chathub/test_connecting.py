"""Ways to come in, what is refused, and how long one may stay."""

import asyncio
import json
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from tests.chat_client import ChatClient, chatting
from tests.servers import chathub
from tests.servers.chathub import Chathub
from tests.servers.issuer import Issuer

AN_HOUR = 3600
TERMS = {
    "CHATHUB_REQUESTS_PER_MINUTE": "5",
    "CHATHUB_REFUSALS_PER_MINUTE": "3",
    "CHATHUB_CONNECTS_PER_MINUTE_PER_USER": "6",
    "CHATHUB_EXPIRY_WARNING_SECONDS": str(AN_HOUR - 1),
    "CHATHUB_MAX_SOCKETS_PER_USER": "2",
    "CHATHUB_FRAMES_PER_SECOND": "1",
    "CHATHUB_FRAMES_BURST": "5",
    "CHATHUB_IDLE_SECONDS": "5",
}


@pytest.fixture(scope="module")
def strict(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Generator[Chathub]:
    with chathub.chathub(tmp_path_factory.mktemp("strict") / "log", {**environment, **TERMS}) as running:
        chathub.wait_until_ready(running)
        yield running


async def refused(url: str, token: str | None = None, **more: Any) -> tuple[int, dict[str, Any]]:
    with pytest.raises(InvalidStatus) as caught:
        async with chatting(url, token, **more):
            pass
    answer = caught.value.response
    return answer.status_code, json.loads(answer.body)


async def closing(client: ChatClient) -> int:
    with pytest.raises(ConnectionClosed) as closed:
        await client.until("never")
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


async def ticket_of(node: Chathub, token: str) -> str:
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(f"{node.http}/ws/ticket", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 201
    return answer.json()["ticket"]


async def test_a_ticket_is_good_for_one_connect_as_who_asked_for_it(node: Chathub, tokens: Issuer) -> None:
    ticket = await ticket_of(node, tokens.token("tina"))
    async with chatting(f"{node.ws}?ticket={ticket}", None) as tina:
        await tina.say("by ticket")
        assert (await tina.hear("by ticket"))["owner_id"] == "tina"
    assert await refused(f"{node.ws}?ticket={ticket}") == (
        401,
        {"code": "unauthenticated", "message": "The ticket is not good."},
    )
    log = node.log.read_text()
    assert ticket not in log


async def test_a_ticket_takes_a_token_and_is_no_token(node: Chathub, tokens: Issuer) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.post(f"{node.http}/ws/ticket")).status_code == 401
    ticket = await ticket_of(node, tokens.token("tina"))
    assert (await refused(node.ws, ticket))[0] == 401


async def test_a_subprotocol_may_hold_the_token_and_is_not_repeated(node: Chathub, tokens: Issuer) -> None:
    offered = [Subprotocol("chathub.v1"), Subprotocol(f"bearer.{tokens.token('ann')}")]
    async with chatting(node.ws, None, subprotocols=offered) as ann:
        assert ann.socket.subprotocol == "chathub.v1"
        await ann.say("by subprotocol")
        assert (await ann.hear("by subprotocol"))["owner_id"] == "ann"


async def test_a_user_has_so_many_sockets_and_room_again_once_one_is_gone(strict: Chathub, tokens: Issuer) -> None:
    token = tokens.token("many")
    async with chatting(strict.ws, token):
        async with chatting(strict.ws, token):
            status, body = await refused(strict.ws, token)
            assert (status, body["code"]) == (429, "rate_limited")
        async with chatting(strict.ws, token), chatting(strict.ws, tokens.token("other")):
            pass


def behind_proxy(address: str) -> dict[str, Any]:
    return {"additional_headers": {"X-Forwarded-For": address}}


async def test_who_floods_with_wrong_tokens_locks_out_nobody_else(strict: Chathub, tokens: Issuer) -> None:
    flood = [refused(strict.ws, "wrong", **behind_proxy("203.0.113.9")) for _ in range(40)]
    statuses = [status for status, _ in await asyncio.gather(*flood)]
    assert set(statuses) <= {401, 429}
    status, body = await refused(strict.ws, tokens.token("neighbour"), **behind_proxy("203.0.113.9"))
    assert (status, body["code"]) == (429, "rate_limited")
    async with chatting(strict.ws, tokens.token("far"), **behind_proxy("203.0.113.10")):
        pass
    async with chatting(strict.ws, tokens.token("near")):
        pass


async def test_an_ipv6_attacker_has_one_share_for_all_his_addresses(strict: Chathub, tokens: Issuer) -> None:
    for last in range(3):
        assert (await refused(strict.ws, "wrong", **behind_proxy(f"2001:db8::{last}")))[0] == 401
    assert (await refused(strict.ws, "wrong", **behind_proxy("2001:db8::9")))[0] == 429
    async with chatting(strict.ws, tokens.token("six"), **behind_proxy("2001:db8:0:1::1")):
        pass


async def test_what_an_untrusted_peer_says_of_where_it_comes_from_changes_nothing(
    strict: Chathub, tokens: Issuer
) -> None:
    peer: dict[str, Any] = {"local_addr": ("127.0.0.2", 0)}
    for number in range(3):
        assert (await refused(strict.ws, "wrong", **behind_proxy(f"198.51.100.{number}"), **peer))[0] == 401
    assert (await refused(strict.ws, "wrong", **behind_proxy("198.51.100.7"), **peer))[0] == 429
    async with chatting(strict.ws, tokens.token("framed"), **behind_proxy("198.51.100.1")):
        pass


async def test_who_connects_too_often_is_told_to_wait(strict: Chathub, tokens: Issuer) -> None:
    token = tokens.token("restless")
    for _ in range(6):
        async with chatting(strict.ws, token):
            pass
    status, body = await refused(strict.ws, token)
    assert (status, body) == (429, {"code": "rate_limited", "message": "You connect too often."})


async def test_a_newer_token_prolongs_and_another_users_ends_for_good(strict: Chathub, tokens: Issuer) -> None:
    end = int(time.time()) + AN_HOUR
    async with chatting(strict.ws, tokens.token("ann", exp=end)) as ann:
        assert 0 < (await ann.until("token_expiring"))["expires_in"] < AN_HOUR
        await ann.send(type="refresh", token=tokens.token("ann", exp=end + 7))
        assert (await ann.until("refreshed"))["expires_at"] == end + 7
        await ann.send(type="refresh", token="nonsense")
        assert (await ann.until("error"))["code"] == "unauthenticated"
        await ann.send(type="refresh", token=tokens.token("bob"))
        assert await closing(ann) == 4504


async def test_a_user_asks_so_often_over_http_and_others_are_not_kept_waiting(strict: Chathub, tokens: Issuer) -> None:
    async with httpx.AsyncClient(base_url=strict.http, trust_env=False) as http:

        async def asked(user: str) -> httpx.Response:
            return await http.get("/channels", headers={"Authorization": f"Bearer {tokens.token(user)}"})

        answers = [await asked("curious") for _ in range(7)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
        assert answers[-1].json()["code"] == "rate_limited"
        assert int(answers[-1].headers["Retry-After"]) > 0
        assert (await asked("modest")).status_code == 200


async def test_frames_beyond_the_flow_are_dropped_with_a_word_and_then_the_socket_is_closed(
    strict: Chathub, tokens: Issuer
) -> None:
    async with chatting(strict.ws, tokens.token("fred")) as fred:
        for _ in range(15):
            await fred.send(type="typing", channel="general")
        assert (await fred.until("rate_limited"))["retry_after_ms"] > 0
        assert await closing(fred) == 4029


async def test_who_sends_nothing_for_too_long_is_closed(strict: Chathub, tokens: Issuer) -> None:
    async with chatting(strict.ws, tokens.token("idle")) as idle:
        assert await closing(idle) == 4010


async def test_a_node_takes_so_many_sockets_and_no_more_at_once(
    environment: dict[str, str], tokens: Issuer, log_file: Path
) -> None:
    with chathub.chathub(log_file, {**environment, "CHATHUB_MAX_SOCKETS": "1"}) as node:
        chathub.wait_until_ready(node)
        async with chatting(node.ws, tokens.token("ann")):
            status, body = await refused(node.ws, tokens.token("bob"))
            assert (status, body["code"]) == (503, "full")
        async with chatting(node.ws, tokens.token("bob")):
            pass
