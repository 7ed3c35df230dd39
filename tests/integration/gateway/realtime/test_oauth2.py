"""Signing in at a real OpenID Connect provider: with the SDK in a browser, and without a browser of one's own."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import httpx
import jwt
import pytest
import websockets

from tests.eventually import eventually
from tests.integration.gateway.realtime.listener import events_of, until_own_streams
from tests.servers import node
from tests.servers.gateway import GatewayServer, gateway_server
from tests.servers.natsync import Stack, hearing
from tests.servers.oidc_provider import OidcProvider, oidc_provider, signed_in_at
from tests.servers.process import free_port

WINDOW_SCRIPT = Path(__file__).with_name("window.mjs")
TARGET = "https://app.example.com/welcome"
PATH = "/auth/oauth2/users"


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def provider(port: int) -> Generator[OidcProvider]:
    with oidc_provider(f"http://127.0.0.1:{port}/api/oauth2-redirect") as running:
        yield running


@pytest.fixture(scope="module")
def gateway(fed: Stack, fed_token: str, valkey_url: str, port: int, provider: OidcProvider) -> Generator[GatewayServer]:
    """Two workers at the address that the provider knows."""
    with httpx.Client(base_url=fed.pocketbase.url, headers={"Authorization": fed_token}) as root:
        root.patch("/api/collections/users", json={"oauth2": provider.settings()}).raise_for_status()
        own = {"GATEWAY_ISSUER": f"http://127.0.0.1:{port}", "GATEWAY_OAUTH2_TARGETS": TARGET}
        changed = {"GATEWAY_WORKERS": "2", **own, **hearing(fed)}
        with gateway_server(fed.pocketbase, valkey_url, changed, port=port) as running:
            asyncio.run(until_own_streams(running.url))
            yield running
        root.patch("/api/collections/users", json={"oauth2": {"enabled": False}}).raise_for_status()


@pytest.fixture
async def client(gateway: GatewayServer) -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as client:
        yield client


@asynccontextmanager
async def signing_in(client: httpx.AsyncClient, **wish: Any) -> AsyncGenerator[AsyncIterator[tuple[str, Any]]]:
    async with client.stream("POST", PATH, json={"provider": "oidc", **wish}) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield events_of(answer.aiter_lines())


async def came_back(url: str, **headers: str) -> httpx.Response:
    """On a connection of its own, which any worker may take."""
    async with httpx.AsyncClient(timeout=20) as browser:
        return await browser.get(url, headers=headers)


def query_of(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


def check_session(told: dict[str, Any], name: str, gateway: GatewayServer) -> None:
    claims = jwt.decode(told["token"], options={"verify_signature": False})
    assert claims["iss"] == gateway.url
    assert claims["id"] == told["record"]["id"]
    assert told["meta"]["email"] == f"{name}@example.com"


async def test_the_sdk_signs_in_by_a_window_in_chromium_without_pocketbases_page(
    gateway: GatewayServer, client: httpx.AsyncClient
) -> None:
    assert (await client.get("/_/")).status_code == 403
    told = json.loads(await node.run(WINDOW_SCRIPT, gateway.url, "wanda", seconds=90))
    check_session(told["auth"], "wanda", gateway)
    assert told["landed"] == [f"{gateway.url}/auth/oauth2/success"]
    assert not told["complaints"], told["complaints"]


async def test_without_a_browser_the_address_comes_first_and_the_result_to_the_one_who_asked(
    gateway: GatewayServer, client: httpx.AsyncClient, provider: OidcProvider
) -> None:
    async with signing_in(client) as events:
        event, data = await anext(events)
        assert event == "url"
        asked = query_of(data["url"])
        assert asked["code_challenge_method"] == "S256"
        assert asked["redirect_uri"] == f"{gateway.url}/api/oauth2-redirect"
        landed = await came_back(await signed_in_at(provider, data["url"], "sam"))
        assert (landed.status_code, landed.headers["location"]) == (307, "../auth/oauth2/success")
        event, told = await anext(events)
        assert event == "result"
        check_session(told, "sam", gateway)
        assert [found async for found in events] == []
    me = await client.get(
        f"/api/collections/users/records/{told['record']['id']}", headers={"Authorization": told["token"]}
    )
    assert me.status_code == 200


async def test_the_same_over_a_socket_and_to_a_page_that_is_listed(
    gateway: GatewayServer, provider: OidcProvider
) -> None:
    async with websockets.connect(gateway.url.replace("http:", "ws:") + PATH + "/ws") as socket:
        await socket.send(json.dumps({"provider": "oidc", "target": TARGET}))
        said = json.loads(await socket.recv())
        assert said["event"] == "url", said
        landed = await came_back(await signed_in_at(provider, said["data"]["url"], "sue"))
        assert landed.headers["location"] == TARGET, "and nothing of the session is in it"
        said = json.loads(await socket.recv())
        assert said["event"] == "result"
        check_session(said["data"], "sue", gateway)
        with pytest.raises(websockets.ConnectionClosedOK):
            await socket.recv()


async def test_nobody_comes_back_with_another_state_or_from_another_address_or_twice(
    gateway: GatewayServer, client: httpx.AsyncClient, provider: OidcProvider
) -> None:
    async with signing_in(client) as events:
        _, data = await anext(events)
        back = await signed_in_at(provider, data["url"], "kim")
        parts = urlsplit(back)
        state = query_of(back)["state"]
        for other in (state[:-1] + ("a" if state[-1] != "a" else "b"), "gw-" + "0" * 16 + state[19:]):
            landed = await came_back(urlunsplit(parts._replace(query=parts.query.replace(state, other))))
            assert landed.headers["location"] == "../auth/oauth2/failure"
        landed = await came_back(back, **{"X-Forwarded-For": "203.0.113.9"})
        assert landed.headers["location"] == "../auth/oauth2/failure"
        assert (await came_back(back)).headers["location"] == "../auth/oauth2/success"
        assert (await anext(events))[0] == "result"
    assert (await came_back(back)).headers["location"] == "../auth/oauth2/failure"


async def test_a_code_of_somebody_elses_sign_in_is_worth_nothing(
    gateway: GatewayServer, client: httpx.AsyncClient, provider: OidcProvider
) -> None:
    """The verifier of one does not fit the challenge of the other."""
    async with signing_in(client) as victims, signing_in(client) as attackers:
        (_, hers), (_, theirs) = await anext(victims), await anext(attackers)
        stolen = query_of(await signed_in_at(provider, hers["url"], "ida"))["code"]
        state = query_of(theirs["url"])["state"]
        await came_back(f"{gateway.url}/api/oauth2-redirect?state={state}&code={stolen}")
        event, told = await anext(attackers)
        assert (event, told["status"]) == ("error", 400)
        assert "token" not in told


async def test_what_the_provider_refuses_is_told(gateway: GatewayServer, client: httpx.AsyncClient) -> None:
    async with signing_in(client) as events:
        _, data = await anext(events)
        state = query_of(data["url"])["state"]
        landed = await came_back(f"{gateway.url}/api/oauth2-redirect?state={state}&error=access_denied")
        assert landed.headers["location"] == "../auth/oauth2/failure"
        event, told = await anext(events)
        assert (event, told["status"]) == ("error", 400)
        assert "access_denied" in told["message"]


@pytest.mark.parametrize(
    ("path", "wish", "status"),
    [
        (PATH, {"provider": "oidc", "target": "https://evil.example.com/"}, 400),
        (PATH, {"provider": "oidc", "target": TARGET + "/"}, 400),
        (PATH, {"provider": "google"}, 404),
        (PATH, {"provider": "oidc", "more": 1}, 400),
        (PATH, {"provider": "oidc", "createData": {"name": "x" * 70_000}}, 413),
        ("/auth/oauth2/_superusers", {"provider": "oidc"}, 403),
        ("/auth/oauth2/nothing", {"provider": "oidc"}, 404),
    ],
)
async def test_what_cannot_be_wished_is_refused_before_anything_is_asked(
    client: httpx.AsyncClient, path: str, wish: dict[str, Any], status: int
) -> None:
    answer = await client.post(path, json=wish)
    assert (answer.status_code, answer.json()["status"]) == (status, status)


async def test_who_leaves_is_not_waited_for(
    gateway: GatewayServer, client: httpx.AsyncClient, provider: OidcProvider
) -> None:
    async with signing_in(client) as events:
        _, data = await anext(events)
    back = await signed_in_at(provider, data["url"], "lea")

    async def is_forgotten() -> bool:
        return (await came_back(f"{back.split('?')[0]}?state={state}")).headers["location"] == "../auth/oauth2/failure"

    state = query_of(back)["state"]
    await eventually(is_forgotten)
