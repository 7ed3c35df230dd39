"""Limits that two gateway processes share, as clients meet them."""

import json
from collections.abc import AsyncGenerator, Generator

import pytest
import websockets

from gateway.core.front_door.limits import DEFAULTS
from tests.servers.gateway import GatewayServer, User, signed_up
from tests.servers.pocketbase import PocketBaseServer
from tests.session_client import NOTES, USERS, Pair, clients_of, credentials, two_gateways

OFF = {name: {"limit": 0} for name in DEFAULTS}
HOUR_MS = 3_600_000
LIMITS = {
    **OFF,
    "default": {"limit": 3, "every": HOUR_MS},
    "list": {"limit": 5, "every": HOUR_MS},
    "notes:create": {"limit": 3, "every": HOUR_MS},
    "devices:auth": {"limit": 4, "every": HOUR_MS},
}


@pytest.fixture(scope="module")
def limited(
    guarded: PocketBaseServer, superuser_token: str, valkey_url: str
) -> Generator[tuple[GatewayServer, GatewayServer]]:
    with two_gateways(guarded, valkey_url, GATEWAY_RATE_LIMITS=json.dumps(LIMITS)) as running:
        yield running


@pytest.fixture
async def both(limited: tuple[GatewayServer, GatewayServer]) -> AsyncGenerator[Pair]:
    async with clients_of(limited) as clients:
        yield clients


def from_address(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": address}


async def test_a_limit_counts_in_both_processes_and_is_told_in_pocketbases_words(both: Pair) -> None:
    clients, headers = (both.here, both.there), from_address("203.0.113.7")
    statuses = [(await clients[number % 2].get(NOTES, headers=headers)).status_code for number in range(5)]
    assert statuses == [200] * 5
    for client in clients:
        refused = await client.get(NOTES, headers=headers)
        assert refused.status_code == 429
        assert refused.json() == {"data": {}, "message": "Too Many Requests.", "status": 429}
        assert 0 < int(refused.headers["retry-after"]) <= 3600
        assert refused.headers["ratelimit-limit"] == "5"
        assert refused.headers["ratelimit-remaining"] == "0"
        assert len(refused.headers.get_list("retry-after")) == 1
    assert (await both.here.get(NOTES, headers=from_address("203.0.113.8"))).status_code == 200


async def test_a_user_is_counted_wherever_he_calls_from(both: Pair) -> None:
    ann, bob = await signed_up(both.here), await signed_up(both.there, name="bob")

    async def lists(user: User, number: int) -> int:
        headers = {**user.headers, **from_address(f"198.51.100.{number}")}
        return (await both.here.get(NOTES, headers=headers)).status_code

    assert [await lists(ann, number) for number in range(7)] == [200] * 5 + [429] * 2
    assert await lists(bob, 1) == 200


async def test_a_collections_own_limit_counts_for_it_alone(both: Pair) -> None:
    ann = await signed_up(both.here)
    body = {"title": "t", "owner": ann.id}
    made = [(await both.here.post(NOTES, json=body, headers=ann.headers)).status_code for _ in range(4)]
    assert made == [200] * 3 + [429]


async def test_sign_ins_are_counted_by_address_before_pocketbase_hears_of_them(both: Pair) -> None:
    path, body = "/api/collections/devices/auth-with-password", {"identity": "nobody@example.com", "password": "wrong"}
    headers = from_address("192.0.2.1")
    statuses = [(await both.here.post(path, json=body, headers=headers)).status_code for _ in range(6)]
    assert statuses == [400] * 4 + [429] * 2
    user = await signed_up(both.there)
    answer = await both.here.post(f"{USERS}/auth-with-password", json=credentials(user), headers=headers)
    assert answer.status_code == 200


async def test_attempts_for_one_account_count_wherever_they_come_from_and_whatever_else_they_say(both: Pair) -> None:
    path = "/api/collections/devices/request-otp"
    statuses: list[int] = []
    for number in range(6):
        body = {"email": "Victim@example.com" if number % 2 else "victim@example.com", "identity": f"other {number}"}
        answer = await both.there.post(path, json=body, headers=from_address(f"198.18.{number}.1"))
        statuses.append(answer.status_code)
    assert statuses[4:] == [429, 429]
    assert 429 not in statuses[:4]


async def test_what_the_gateway_answers_itself_is_limited_by_address(both: Pair) -> None:
    headers, paths = from_address("198.19.0.1"), ("/sessions", "/healthz", "/.well-known/jwks.json", "/sessions")
    statuses = [(await both.here.get(path, headers=headers)).status_code for path in paths]
    assert statuses[-1] == 429
    assert 429 not in statuses[:-1]
    answer = await both.there.delete("/sessions/any", headers=headers)
    assert answer.json() == {"data": {}, "message": "Too Many Requests.", "status": 429}


async def test_sockets_are_limited_as_requests_are(both: Pair) -> None:
    url, headers = f"{both.servers[0].url.replace('http:', 'ws:')}/auth/oauth2/users/ws", from_address("198.19.1.1")
    for _ in range(3):
        async with websockets.connect(url, additional_headers=headers, open_timeout=60):
            pass
    with pytest.raises(websockets.InvalidStatus):
        await websockets.connect(url, additional_headers=headers, open_timeout=60)
