"""Settings of sessions, the operator API, and what becomes of sessions when Valkey begins anew."""

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import httpx
import pytest

from tests.eventually import eventually
from tests.servers import node
from tests.servers.gateway import GatewayServer, User, gateway_server, signed_up
from tests.servers.pocketbase import PocketBaseServer
from tests.servers.process import free_port
from tests.servers.valkey import valkey_server
from tests.session_client import (
    OPERATOR_KEY,
    RECORDS,
    REFUSED,
    USERS,
    WORKERS,
    Pair,
    bearing,
    claims_in,
    clients_of,
    counts_as,
    credentials,
    is_out_within_a_second,
    refresh,
    session_in,
    sessions,
    sign_in,
    two_gateways,
)

KEY = {"Authorization": f"Bearer {OPERATOR_KEY}"}
FORMER_NAME = {"HAPTA_ADMIN_KEY": "a key under its former name"}


@pytest.fixture(scope="module")
def strict(guarded: PocketBaseServer, superuser_token: str, valkey_url: str) -> Generator[GatewayServer]:
    """Strict about tokens, and rolling them on ordinary calls once they are a second old."""
    shared = {name: value for name, value in WORKERS.items() if name != "GATEWAY_OPERATOR_KEY"}
    changed = {**shared, **FORMER_NAME, "GATEWAY_STRICT_TOKENS": "true", "GATEWAY_ROLL_EVERY_SECONDS": "1"}
    with gateway_server(guarded, valkey_url, changed) as running:
        yield running


@pytest.fixture
async def strictly(strict: GatewayServer) -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=strict.url, timeout=20) as client:
        yield client


async def test_strictly_a_token_that_is_not_good_is_refused_but_does_not_hinder_a_sign_in(
    strictly: httpx.AsyncClient, member: User
) -> None:
    ann = await signed_up(strictly)
    assert (await strictly.delete("/sessions", headers=ann.headers)).status_code == 204
    for token in (ann.token, "nonsense", member.token):
        refused = await strictly.get(RECORDS, headers=bearing(token))
        assert (refused.status_code, refused.json()) == (401, REFUSED)
        assert (await refresh(strictly, token)).status_code == 401
        answer = await strictly.post(f"{USERS}/auth-with-password", json=credentials(ann), headers=bearing(token))
        assert answer.status_code == 200
        assert (await strictly.get("/api/health", headers=bearing(token))).status_code == 200
    assert (await strictly.get(RECORDS)).status_code == 200, "a guest brings no token"


async def test_an_ordinary_call_bears_a_successor_once_the_token_is_old_enough(strictly: httpx.AsyncClient) -> None:
    ann = await signed_up(strictly)
    path = f"{RECORDS}/{ann.id}"

    async def ask() -> httpx.Response:
        return await strictly.get(path, headers=ann.headers)

    rolled = await eventually(ask, lambda answer: "x-gateway-token" in answer.headers)
    successor = rolled.headers["x-gateway-token"]
    assert rolled.headers["access-control-expose-headers"] == "x-gateway-token"
    assert rolled.headers["cache-control"] == "no-store"
    assert (claims_in(successor)["gen"], session_in(successor)) == (2, session_in(ann.token))
    assert claims_in(successor)["exp"] == claims_in(ann.token)["exp"], "rolling by header lengthens no session"
    again = await ask()
    assert claims_in(again.headers["x-gateway-token"])["gen"] == 2, "a parallel call got another chain"
    assert await counts_as(strictly, successor, ann) == "owner"
    guest = await strictly.get(RECORDS)
    assert "x-gateway-token" not in guest.headers


async def test_nothing_is_rolled_on_ordinary_calls_unless_that_is_asked_for(pair: Pair, user: User) -> None:
    for _ in range(3):
        answer = await pair.here.get(f"{RECORDS}/{user.id}", headers=user.headers)
        assert not {"x-gateway-token", "access-control-expose-headers"} & set(answer.headers)


async def test_an_operator_sees_and_ends_the_sessions_of_any_user(pair: Pair, user: User) -> None:
    token = await sign_in(pair.there, user)
    url = pair.servers[0].operations_url
    for collection in ("users", "USERS", "_pb_users_auth_"):
        path = f"{url}/operator/users/{collection}/{user.id}/sessions"
        listed = (await pair.here.get(path, headers=KEY)).json()["items"]
        assert [item["id"] for item in listed] == [session_in(token), session_in(user.token)]
        assert set(listed[0]) == {"id", "device", "address", "created", "lastUsed", "expires"}
    assert (await pair.here.delete(f"{url}/operator/sessions/{session_in(token)}", headers=KEY)).status_code == 204
    await is_out_within_a_second(pair.there, token, user)
    assert (await pair.here.delete(f"{url}/operator/sessions/{session_in(token)}", headers=KEY)).status_code == 404
    path = f"{url}/operator/users/users/{user.id}/sessions"
    assert (await pair.here.delete(path, headers=KEY)).json() == {"ended": 1}
    await is_out_within_a_second(pair.there, user.token, user)
    unknown = await pair.here.get(f"{url}/operator/users/nothing/{user.id}/sessions", headers=KEY)
    assert (unknown.status_code, unknown.json()["status"]) == (404, 404)
    closed = await pair.here.get(f"{url}/operator/users/_superusers/{user.id}/sessions", headers=KEY)
    assert closed.status_code == 403


async def test_an_operator_may_be_anybody_for_a_while_and_no_longer(pair: Pair, user: User) -> None:
    path = f"/operator/users/users/{user.id}/impersonate"
    url = pair.servers[0].operations_url
    answer = await pair.here.post(f"{url}{path}", json={"duration": 100}, headers=KEY)
    told = answer.json()
    assert (answer.status_code, told["record"]["id"], answer.headers["cache-control"]) == (200, user.id, "no-store")
    claims = claims_in(told["token"])
    assert (claims["refreshable"], claims["typ"], claims["sub"]) == (False, "Bearer", user.id)
    assert 90 < claims["exp"] - claims["iat"] <= 100
    assert await counts_as(pair.there, told["token"], user) == "owner"
    again = await refresh(pair.there, told["token"])
    successor = claims_in(again.json()["token"])
    assert (again.status_code, successor["gen"], successor["exp"]) == (200, 2, claims["exp"])
    assert session_in(told["token"]) in {item["id"] for item in await sessions(pair.here, user.token)}
    [line] = [line for line in pair.servers[0].log.read_text().splitlines() if "user impersonated" in line]
    assert told["token"] not in line
    assert (await pair.here.post(f"{url}{path}", json={}, headers=KEY)).status_code == 200
    assert (await pair.here.post(f"{url}{path}", json={"duration": -1}, headers=KEY)).status_code in (400, 422)
    for nobody in ("users/nobody12345678", "notes/x"):
        unknown = await pair.here.post(f"{url}/operator/users/{nobody}/impersonate", json={}, headers=KEY)
        assert (unknown.status_code, unknown.json()["status"]) == (404, 404)
    closed = await pair.here.post(f"{url}/operator/users/_superusers/x/impersonate", json={}, headers=KEY)
    assert closed.status_code == 403


OPERATORS = [
    ("GET", "/operator/users/users/x/sessions"),
    ("DELETE", "/operator/users/users/x/sessions"),
    ("DELETE", "/operator/sessions/x"),
    ("POST", "/operator/users/users/x/impersonate"),
]


@pytest.mark.parametrize(("method", "path"), OPERATORS)
async def test_without_the_key_nobody_is_an_operator_and_never_through_the_public_listener(
    pair: Pair, gateway: GatewayServer, user: User, method: str, path: str
) -> None:
    url = pair.servers[0].operations_url + path
    for headers in ({}, bearing(OPERATOR_KEY[:-1]), bearing(""), bearing("undefined"), user.headers):
        refused = await pair.here.request(method, url, headers=headers)
        assert (refused.status_code, refused.json()["status"]) == (401, 401), headers
    for headers in ({}, KEY, bearing("None")):
        disabled = await pair.here.request(method, gateway.operations_url + path, headers=headers)
        assert (disabled.status_code, disabled.json()["status"]) == (403, 403), headers
    assert (await pair.here.request(method, path, headers=KEY)).status_code == 404


async def test_the_operator_key_goes_by_its_former_name_too(strict: GatewayServer, strictly: httpx.AsyncClient) -> None:
    url = f"{strict.operations_url}/operator/users/users/x/sessions"
    listed = await strictly.get(url, headers=bearing(FORMER_NAME["HAPTA_ADMIN_KEY"]))
    assert (listed.status_code, listed.json()) == (200, {"items": []})
    assert (await strictly.get(url)).status_code == 401


@pytest.mark.usefixtures("superuser_token")
async def test_when_valkey_begins_anew_everybody_is_a_guest_and_may_sign_in_again(guarded: PocketBaseServer) -> None:
    port = free_port()
    with two_gateways(guarded, f"redis://127.0.0.1:{port}/0") as servers:
        async with clients_of(servers) as pair:
            with valkey_server(port):
                ann = await signed_up(pair.here)
                assert await counts_as(pair.there, ann.token, ann) == "owner"

            async def status(token: str) -> int:
                return (await pair.there.get(f"{RECORDS}/{ann.id}", headers=bearing(token))).status_code

            await eventually(lambda: status(ann.token), lambda status: status == 503, seconds=2)
            assert (await pair.there.get(RECORDS)).status_code == 200, "a guest needs no session"
            with valkey_server(port):
                await eventually(lambda: status(ann.token), lambda status: status == 404)
                token = await sign_in(pair.here, ann)
                assert await counts_as(pair.there, token, ann) == "owner"
                assert (await pair.here.delete("/sessions", headers=bearing(token))).status_code == 204
                await is_out_within_a_second(pair.there, token, ann)


async def test_the_official_sdk_needs_to_know_nothing_of_all_this(pair: Pair, user: User) -> None:
    node.install()
    script = Path(__file__).with_name("sessions.mjs")
    output = await node.run(script, str(pair.here.base_url), str(pair.there.base_url), user.email, user.password)
    assert output.strip() == "done"


async def test_what_is_used_is_shown_as_used_from_there(pair: Pair, user: User) -> None:
    elsewhere = {**user.headers, "X-Forwarded-For": "198.51.100.23"}
    before = (await sessions(pair.here, user.token))[0]
    await pair.there.get(f"{RECORDS}/{user.id}", headers=elsewhere)
    assert (await sessions(pair.here, user.token))[0] == before, "a use within the same minute is not written"
