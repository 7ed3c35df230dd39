"""The examples of both Hapta READMEs, in Python, do what the READMEs say."""

import re
import runpy
import tomllib
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.core.front_door.limits import rules_of
from tests.servers.gateway import PASSWORD, GatewayServer, User, gateway_server, prepare, signed_up
from tests.servers.mail import MailServer, mail_server
from tests.servers.pocketbase import PocketBaseServer, pocketbase_server
from tests.servers.provider import oauth2_provider

SITE = Path(__file__).parents[3] / "docs" / "examples" / "hapta"

OPEN = {"listRule": "", "viewRule": "", "createRule": "", "updateRule": "", "deleteRule": ""}
SIGNED_IN = "@request.auth.id != ''"
COLLECTIONS: list[dict[str, Any]] = [
    {"name": "posts", "type": "base", "fields": [{"name": "title", "type": "text"}], **OPEN},
    {"name": "comments", "type": "base", "fields": [{"name": "body", "type": "text"}], **OPEN},
    {"name": "logs", "type": "base", "fields": [{"name": "message", "type": "text"}], **OPEN, "createRule": SIGNED_IN},
    {"name": "visits", "type": "base", "fields": [{"name": "page", "type": "text"}], **OPEN},
]


@pytest.fixture(scope="module")
def database() -> Generator[PocketBaseServer]:
    """A PocketBase with the collections that the examples speak of."""
    with pocketbase_server() as running:
        token = prepare(running)
        with httpx.Client(base_url=running.url, timeout=30, headers={"Authorization": token}) as control:
            for collection in COLLECTIONS:
                control.post("/api/collections", json=collection).raise_for_status()
            fields = control.get("/api/collections/users").json()["fields"]
            more = [{"name": "active", "type": "bool"}, {"name": "followers", "type": "number"}]
            control.patch("/api/collections/users", json={"fields": [*fields, *more]}).raise_for_status()
        yield running


@pytest.fixture(scope="module")
def served(database: PocketBaseServer, valkey_url: str) -> Generator[GatewayServer]:
    unnamed_issuer = {"GATEWAY_IDENTITY_SERVER_URL": "http://127.0.0.1:1"}  # without a tenant id PocketBase is asked
    config = {"GATEWAY_CONFIG": str(SITE / "gateway.toml")}
    with gateway_server(database, valkey_url, config | unnamed_issuer) as running:
        yield running


@pytest.fixture
async def web(served: GatewayServer) -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=served.url, timeout=20) as client:
        yield client


@pytest.fixture
async def control(database: PocketBaseServer) -> AsyncGenerator[httpx.AsyncClient]:
    credentials = {"identity": database.email, "password": database.password}
    async with httpx.AsyncClient(base_url=database.url, timeout=20) as client:
        answer = await client.post("/api/collections/_superusers/auth-with-password", json=credentials)
        client.headers["Authorization"] = answer.json()["token"]
        yield client


@pytest.fixture
async def eve(web: httpx.AsyncClient) -> User:
    return await signed_up(web, name="eve", active=True)


async def count(control: httpx.AsyncClient, collection: str) -> int:
    return (await control.get(f"/api/collections/{collection}/records")).json()["totalItems"]


async def test_a_password_signs_in_at_the_auth_route(web: httpx.AsyncClient, eve: User) -> None:
    body = {"emailOrUsername": eve.email, "password": PASSWORD}
    told = (await web.post("/auth?type=password", json=body)).json()
    assert told["is_authenticated"] is True
    assert told["record"]["id"] == eve.id
    me = await web.get("/me", headers={"Authorization": told["token"]})
    assert me.json() == {"username": "eve", "clearance": 0}
    refused = await web.post("/auth?type=password", json={**body, "password": "wrong-horse"})
    assert (refused.status_code, refused.json()) == (400, {"error": True, "message": "Invalid credentials"})
    unknown = await web.post("/auth?type=magic", json={})
    assert (unknown.status_code, unknown.json()["message"]) == (400, "Unsupported auth type")
    assert (await web.get("/me")).status_code == 401


async def test_a_provider_signs_in_at_the_auth_route(web: httpx.AsyncClient, control: httpx.AsyncClient) -> None:
    async with oauth2_provider() as provider:
        provider.user = {"sub": "p1", "email": "p1@example.com", "email_verified": True, "name": "Paul"}
        await control.patch("/api/collections/users", json={"oauth2": provider.settings()})
        query = {"type": "oauth", "provider": "oidc", "code": "c", "codeVerifier": "v", "redirectURL": "http://x.test"}
        answer = await web.post("/auth", params=query)
        assert (answer.status_code, answer.json()["is_authenticated"]) == (200, True)
        assert answer.json()["record"]["email"] == "p1@example.com"
        await control.patch("/api/collections/users", json={"oauth2": {"enabled": False}})
        refused = await web.post("/auth", params=query)
    assert (refused.status_code, refused.json()) == (401, {"error": True, "message": "OAuth failed"})


@asynccontextmanager
async def codes_by_mail(control: httpx.AsyncClient) -> AsyncGenerator[MailServer]:
    """One-time passwords come by mail, and a second factor is wanted of everybody."""
    async with mail_server() as mail:
        smtp = {"enabled": True, "host": "127.0.0.1", "port": mail.port}
        (await control.patch("/api/settings", json={"smtp": smtp})).raise_for_status()
        both = {"otp": {"enabled": True}, "mfa": {"enabled": True}}
        (await control.patch("/api/collections/users", json=both)).raise_for_status()
        try:
            yield mail
        finally:
            await control.patch("/api/collections/users", json={"otp": {"enabled": False}, "mfa": {"enabled": False}})


async def test_one_time_passwords_and_second_factors_sign_in_at_the_auth_route(
    web: httpx.AsyncClient, control: httpx.AsyncClient, eve: User
) -> None:
    async with codes_by_mail(control) as mail:
        first = (await web.post("/auth?type=password", json={"email": eve.email, "password": PASSWORD})).json()
        assert (first["is_authenticated"], first["token"]) == (False, "")
        assert first["mfa_id"]
        second = {"email": eve.email, "mfaId": first["mfa_id"]}
        sent = (await web.post("/auth?type=otp", json=second)).json()
        assert (sent["is_authenticated"], sent["token"]) == (False, "")
        found = re.search(r"\b\d{8}\b", await mail.text())
        assert found
        with_code = {**second, "otpId": sent["otp_id"]}
        wrong = await web.post("/auth?type=mfa", json={**with_code, "password": "00000000"})
        assert (wrong.status_code, wrong.json()["message"]) == (400, "Invalid credentials")
        told = (await web.post("/auth?type=mfa", json={**with_code, "otp": found[0]})).json()
    assert told["is_authenticated"] is True
    assert (await web.get("/me", headers={"Authorization": told["token"]})).json()["username"] == "eve"


async def test_the_schema_is_held_against_the_body_before_the_route_runs(web: httpx.AsyncClient) -> None:
    answer = await web.post("/auth?type=password", json={"emailOrUsername": "ab", "password": "12345"})
    assert answer.status_code == 400
    assert set(answer.json()["data"]) == {"emailOrUsername", "password"}


async def test_records_are_read_as_the_caller(web: httpx.AsyncClient, control: httpx.AsyncClient, eve: User) -> None:
    assert (await web.get(f"/users/{eve.id}", headers=eve.headers)).json()["id"] == eve.id
    assert (await web.get(f"/users/{eve.id}")).status_code == 404
    for number in range(21):
        await control.post("/api/collections/posts/records", json={"title": str(number)})
    page = (await web.get("/posts")).json()
    assert (page["page"], page["perPage"], len(page["items"])) == (1, 20, 20)


async def test_answers_are_of_three_kinds_and_every_origin_may_read_them(web: httpx.AsyncClient) -> None:
    answers = [await web.get("/answers", params={"as": kind}) for kind in ("json", "html", "text")]
    assert [answer.text for answer in answers] == ['{"success":true}', "<h1>Welcome</h1>", "Hello world"]
    assert {answer.headers["access-control-allow-origin"] for answer in answers} == {"*"}
    assert {answer.headers["access-control-allow-headers"] for answer in answers} == {"Content-Type, Authorization"}
    asked = {"Origin": "http://a.test", "Access-Control-Request-Headers": "Content-Type, Authorization"}
    allowed = (await web.options("/answers", headers=asked)).headers["access-control-allow-headers"]
    assert allowed == "Content-Type, Authorization"


async def test_a_queued_comment_is_known_before_it_is_written(
    web: httpx.AsyncClient, control: httpx.AsyncClient
) -> None:
    told = (await web.post("/comments")).json()
    stored = (await control.get(f"/api/collections/comments/records/{told['id']}")).json()
    assert stored["body"] == told["body"] == "Hello!"


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_queued_changes_are_written_together_or_not_at_all(
    web: httpx.AsyncClient, control: httpx.AsyncClient, eve: User, method: str
) -> None:
    visit = (await control.post("/api/collections/visits/records", json={"page": "/"})).json()["id"]
    logs = await count(control, "logs")
    failing = await web.request(method, "/deactivate", json={"user": eve.id, "visit": "nowhere"}, headers=eve.headers)
    assert failing.status_code == 400
    assert failing.json()["message"] == "Batch transaction failed."
    assert await count(control, "logs") == logs
    assert (await control.get(f"/api/collections/users/records/{eve.id}")).json()["active"] is True
    done = await web.request(method, "/deactivate", json={"user": eve.id, "visit": visit}, headers=eve.headers)
    assert done.status_code == 200, done.text
    assert await count(control, "logs") == logs + 1
    assert (await control.get(f"/api/collections/users/records/{eve.id}")).json()["active"] is False
    assert (await control.get(f"/api/collections/visits/records/{visit}")).status_code == 404


async def test_a_route_runs_in_another_server_with_a_context_made_by_hand(
    served: GatewayServer, control: httpx.AsyncClient
) -> None:
    await control.post("/api/collections/posts/records", json={"title": "elsewhere"})
    create_app: Any = runpy.run_path(str(SITE / "elsewhere.py"))["create_app"]
    transport = httpx.ASGITransport(create_app(served.url))
    async with httpx.AsyncClient(transport=transport, base_url="http://elsewhere") as elsewhere:
        answer = await elsewhere.get("/posts")
    assert answer.json()["items"]
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == "*"


async def test_the_rules_of_the_first_hapta_hold_for_every_way_to_write(web: httpx.AsyncClient, eve: User) -> None:
    mallory = await signed_up(web, name="mallory")
    path = f"/api/collections/users/records/{eve.id}"
    assert (await web.patch(path, json={"name": "Eve"}, headers=eve.headers)).status_code == 200
    for awarded in ({"followers": 9}, {"followers+": 9}, {"validVerified": True}):
        refused = await web.patch(path, json=awarded, headers=eve.headers)
        assert (refused.status_code, len(refused.json()["data"])) == (400, 1)
    for method in ("PATCH", "DELETE"):
        for headers in (mallory.headers, {}):
            assert (await web.request(method, path, headers=headers)).status_code == 403
    visit = (await web.post("/api/collections/visits/records", json={"page": "/"})).json()["id"]
    taken = await web.post("/deactivate", json={"user": eve.id, "visit": visit}, headers=mallory.headers)
    assert taken.status_code == 400


def test_the_examples_limits_are_those_of_the_readme() -> None:
    limits = tomllib.loads((SITE / "gateway.toml").read_text())["rate_limits"]
    rules = {rule.name: rule for rule in rules_of(limits)}
    assert [(rules[name].limit, rules[name].every_ms, rules[name].max_uses) for name in ("default", "list")] == [
        (10, 1000, 0),
        (10, 1000, 0),
    ]
