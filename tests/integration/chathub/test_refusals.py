"""Who is not let in, and how that is said."""

import base64
import json
import time
from typing import Any

import asyncpg
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from common.core.tokens import SigningKey
from tests.chat_client import chatting
from tests.servers import chathub
from tests.servers.chathub import Chathub
from tests.servers.issuer import Issuer
from tests.servers.process import free_port


async def refused(url: str, token: str | None, **more: Any) -> tuple[int, dict[str, str]]:
    query = "" if token is None else f"?token={token}"
    with pytest.raises(InvalidStatus) as refusal:
        async with connect(f"{url}{query}", proxy=None, **more):
            pass
    response = refusal.value.response
    return response.status_code, json.loads(response.body)


def unsigned(token: str) -> str:
    """The same claims, under a header that says no signature is needed."""
    header = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    return f"{header}.{token.split('.')[1]}."


async def test_no_token_is_refused(node: Chathub) -> None:
    assert await refused(node.ws, None) == (401, {"code": "unauthenticated", "message": "There is no token."})


async def test_an_unsigned_token_is_refused(node: Chathub, tokens: Issuer) -> None:
    status, _ = await refused(node.ws, unsigned(tokens.token("ann")))
    assert status == 401


async def test_a_token_signed_by_somebody_else_is_refused(node: Chathub, tokens: Issuer) -> None:
    forger = Issuer(tokens.jwks_url, SigningKey(b"\x09" * 32))
    status, _ = await refused(node.ws, forger.token("ann"))
    assert status == 401


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": ["gateway"]},
        {"aud": None},
        {"iss": "http://other.test"},
        {"azp": "SomebodyElse"},
        {"azp": None},
        {"typ": "ID"},
        {"exp": None},
        {"exp": int(time.time()) - 60},
        {"nbf": int(time.time()) + 600},
        {"sub": "a.b"},
        {"sub": ">"},
        {"sub": None},
    ],
)
async def test_a_token_that_is_not_for_chat_is_refused(node: Chathub, tokens: Issuer, claims: dict[str, Any]) -> None:
    status, body = await refused(node.ws, tokens.token("ann", **claims))
    assert (status, body["code"]) == (401, "unauthenticated")


async def test_a_dashboard_without_the_role_is_refused(node: Chathub, tokens: Issuer) -> None:
    status, body = await refused(node.ws, tokens.token("ann", azp="WebClient"))
    assert (status, body["code"]) == (403, "forbidden")


async def test_a_page_of_another_origin_is_refused_and_the_domains_own_is_not(node: Chathub, tokens: Issuer) -> None:
    status, body = await refused(node.ws, tokens.token("ann"), origin="https://evil.example")
    assert (status, body["code"]) == (403, "forbidden")
    async with chatting(node.ws, tokens.token("ann"), origin=node.http):
        pass


async def test_a_banned_user_is_refused_until_the_ban_ends_or_is_pardoned(
    node: Chathub, tokens: Issuer, database_url: str
) -> None:
    connection = await asyncpg.connect(database_url)
    insert = "insert into chatserver.bans (owner_id, banished_id, start_time, end_time) values ('boss', $1, $2, $3)"
    past, future = [f"now() {sign} interval '1 hour'" for sign in "-+"]
    await connection.execute(insert.replace("$2", past).replace("$3", "null"), "mallory")
    await connection.execute(insert.replace("$2", past).replace("$3", future), "trudy")
    await connection.execute(insert.replace("$2", past).replace("$3", "now()"), "oscar")
    banned = (401, {"code": "unauthenticated", "message": "User is banned."})
    assert await refused(node.ws, tokens.token("mallory")) == banned
    assert await refused(node.ws, tokens.token("trudy")) == banned
    async with chatting(node.ws, tokens.token("oscar")):
        pass
    await connection.execute("update chatserver.bans set pardoned = true where banished_id = 'mallory'")
    async with chatting(node.ws, tokens.token("mallory")):
        pass
    await connection.close()


async def test_an_open_socket_ends_with_its_token(environment: dict[str, str], tokens: Issuer, log_file: Any) -> None:
    with chathub.chathub(log_file, {**environment, "CHATHUB_EXPIRY_GRACE_SECONDS": "0"}) as node:
        chathub.wait_until_ready(node)
        async with chatting(node.ws, tokens.token("ann", exp=int(time.time()) + 2)) as ann:
            with pytest.raises(ConnectionClosed) as closed:
                await ann.until("never")
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4401


async def test_while_the_issuer_or_nats_is_away_newcomers_are_told_to_come_again(
    environment: dict[str, str], tokens: Issuer, log_file: Any
) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}/jwks.json"
    with chathub.chathub(log_file, {**environment, "CHATHUB_JWKS_URL": nowhere}) as node:
        status, body = await refused(node.ws, tokens.token("ann"))
        assert (status, body["code"]) == (503, "upstream_unavailable")
    with chathub.chathub(log_file, {**environment, "NATS_URL": f"nats://127.0.0.1:{free_port()}"}) as node:
        status, body = await refused(node.ws, tokens.token("ann"))
        assert (status, body["code"]) == (503, "upstream_unavailable")
