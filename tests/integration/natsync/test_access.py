"""Who may see and change what in PocketBase, attacked as an ordinary client would."""

import json
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import httpx
import pytest

from common.core.pocketbase_answers import Record
from tests.servers.natsync import PASSWORD, Stack, Tenants

HIDDEN = ("private_key", "seed", "signing_private_key", "signing_seed")


@dataclass(frozen=True, slots=True)
class Client:
    http: httpx.AsyncClient
    token: str
    record: Record

    async def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": self.token} if self.token else {}
        return await self.http.request(method, path, headers=headers, **options)

    async def list(self, collection: str) -> list[Record]:
        answer = await self.send("GET", f"/api/collections/{collection}/records")
        return answer.json()["items"] if answer.is_success else []

    async def view(self, collection: str, id: str) -> Record | None:
        answer = await self.send("GET", f"/api/collections/{collection}/records/{id}")
        return answer.json() if answer.is_success else None

    async def patch(self, collection: str, id: str, body: dict[str, Any]) -> httpx.Response:
        return await self.send("PATCH", f"/api/collections/{collection}/records/{id}", json=body)


@pytest.fixture
async def http(natsync: Stack) -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=natsync.pocketbase.url, trust_env=False) as client:
        yield client


async def logged_in(http: httpx.AsyncClient, collection: str, email: str) -> Client:
    path = f"/api/collections/{collection}/auth-with-password"
    answer = (await http.post(path, json={"identity": email, "password": PASSWORD})).raise_for_status().json()
    return Client(http, answer["token"], answer["record"])


async def platform_user(tenants: Tenants, http: httpx.AsyncClient, *, roles: tuple[str, ...] = ()) -> Client:
    email = f"{uuid4().hex}@example.com"
    body: dict[str, Any] = {"email": email, "password": PASSWORD, "passwordConfirm": PASSWORD, "roles": list(roles)}
    if roles:
        body["name"] = "appointed"
    await tenants.control.create("users", body)
    return await logged_in(http, "users", email)


async def test_an_admin_manages_accounts_roles_and_users(tenants: Tenants, http: httpx.AsyncClient) -> None:
    admin = await platform_user(tenants, http, roles=("moderator", "admin"))
    made = await admin.send("POST", "/api/collections/nats_accounts/records", json={"name": "by admin"})
    account = made.raise_for_status().json()
    (await admin.patch("nats_accounts", account["id"], {"max_connections": -1})).raise_for_status()
    assert account["id"] in {row["id"] for row in await admin.list("nats_accounts")}
    deleted = await admin.send("DELETE", f"/api/collections/nats_accounts/records/{account['id']}")
    assert deleted.is_success


async def test_nobody_else_reaches_accounts_roles_or_users(tenants: Tenants, http: httpx.AsyncClient) -> None:
    account, role, user, _ = await tenants.someone()
    outsiders = [
        Client(http, "", {}),
        await platform_user(tenants, http),
        await platform_user(tenants, http, roles=("moderator",)),
        await logged_in(http, "nats_users", (await tenants.user(account, role))["email"]),
    ]
    for outsider in outsiders:
        for row in (account, role, user):
            collection, id = row["collectionName"], row["id"]
            assert await outsider.view(collection, id) is None
            assert id not in {seen["id"] for seen in await outsider.list(collection)}
            assert (await outsider.patch(collection, id, {"active": True, "name": "mine"})).is_error
            assert (await outsider.send("DELETE", f"/api/collections/{collection}/records/{id}")).is_error
            assert (await outsider.send("POST", f"/api/collections/{collection}/records", json={"name": "x"})).is_error


async def test_keys_are_for_superusers_alone_and_sealed(tenants: Tenants, http: httpx.AsyncClient) -> None:
    account, _, user, _ = await tenants.someone()
    admin = await platform_user(tenants, http, roles=("admin",))
    for collection in ("natsync_keys", "nats_system_operator"):
        assert await admin.list(collection) == []
        stored = await tenants.control.records(collection)
        assert stored
        assert all(row["seed"].startswith("enc::") for row in stored)
        assert all(row["private_key"].startswith("enc::") for row in stored if row.get("kind") != "curve")
    for row in (account, user):
        seen = await admin.view(row["collectionName"], row["id"])
        assert seen
        assert not set(HIDDEN) & seen.keys()
        stored = await tenants.control.record(row["collectionName"], row["id"])
        assert all(stored[name].startswith("enc::") for name in HIDDEN if name in stored)


@pytest.mark.parametrize(
    "query",
    [
        {"filter": 'seed ~ "enc"'},
        {"sort": "seed"},
        {"filter": 'account_id.signing_seed != ""'},
        {"sort": "account_id.seed"},
        {"filter": 'nats_users_via_account_id.seed != ""'},
        {"filter": '@collection.natsync_keys.seed != ""'},
        {"filter": '@collection.natsync_keys.public_key != ""'},
    ],
)
async def test_hidden_keys_cannot_be_guessed_by_filter_or_sort(
    tenants: Tenants, http: httpx.AsyncClient, query: dict[str, str]
) -> None:
    *_, user, _ = await tenants.someone()
    own = await logged_in(http, "nats_users", user["email"])
    admin = await platform_user(tenants, http, roles=("admin",))
    for asking, collection in ((own, "nats_users"), (admin, "nats_users"), (admin, "nats_accounts")):
        answer = await asking.send("GET", f"/api/collections/{collection}/records", params=query)
        assert answer.status_code in {400, 403}


async def test_expanding_a_relation_shows_no_more_than_its_own_rule_allows(
    tenants: Tenants, http: httpx.AsyncClient
) -> None:
    *_, user, _ = await tenants.someone()
    own = await logged_in(http, "nats_users", user["email"])
    path = f"/api/collections/nats_users/records/{user['id']}"
    seen = (await own.send("GET", path, params={"expand": "account_id,role_id", "fields": "*,seed"})).json()
    assert seen.get("expand", {}) == {}
    assert "seed" not in seen


async def test_an_admins_write_to_a_hidden_key_goes_nowhere(tenants: Tenants, http: httpx.AsyncClient) -> None:
    account, *_ = await tenants.someone()
    admin = await platform_user(tenants, http, roles=("admin",))
    before = (await tenants.synced(account))["seed"]
    await admin.patch("nats_accounts", account["id"], {"seed": "SAMINE", "seed+": "x", "+seed": "x"})
    assert (await tenants.synced(account))["seed"] == before


async def test_a_nats_user_reads_its_own_credentials_and_changes_nothing(
    tenants: Tenants, http: httpx.AsyncClient
) -> None:
    account, role, user, creds = await tenants.someone()
    neighbour = await tenants.user(account, role)
    own = await logged_in(http, "nats_users", user["email"])
    seen = await own.view("nats_users", user["id"])
    assert seen
    assert seen["creds_file"] == creds
    assert [row["id"] for row in await own.list("nats_users")] == [user["id"]]
    assert await own.view("nats_users", neighbour["id"]) is None
    for change in ({"role_id": role["id"]}, {"active": True}, {"regenerate": True}, {"user": "x"}):
        assert (await own.patch("nats_users", user["id"], change)).is_error


async def test_a_linked_platform_user_reads_the_credentials_and_no_one_elses(
    tenants: Tenants, http: httpx.AsyncClient
) -> None:
    account, role = await tenants.account(), await tenants.role()
    owner, stranger = await platform_user(tenants, http), await platform_user(tenants, http)
    user = await tenants.user(account, role, user=owner.record["id"])
    unlinked = await tenants.user(account, role)
    creds = await tenants.credentials(user)
    seen = await owner.view("nats_users", user["id"])
    assert seen
    assert seen["creds_file"] == creds
    assert [row["id"] for row in await owner.list("nats_users")] == [user["id"]]
    assert await owner.view("nats_users", unlinked["id"]) is None
    assert await stranger.list("nats_users") == []
    assert (await owner.patch("nats_users", user["id"], {"user": stranger.record["id"]})).is_error


async def test_a_nats_user_with_a_look_alike_roles_field_is_no_admin(tenants: Tenants, http: httpx.AsyncClient) -> None:
    account, _, user, _ = await tenants.someone()
    collection = await tenants.control.request("GET", "/api/collections/nats_users")
    look_alike = {"name": "roles", "type": "select", "values": ["admin", "x"], "maxSelect": 2}
    path = "/api/collections/nats_users"
    await tenants.control.request("PATCH", path, {"fields": [*collection["fields"], look_alike]})
    try:
        await tenants.control.update("nats_users", user["id"], {"roles": ["admin"]})
        impostor = await logged_in(http, "nats_users", user["email"])
        assert impostor.record["roles"] == ["admin"]
        assert await impostor.view("nats_accounts", account["id"]) is None
        assert await impostor.list("nats_roles") == []
    finally:
        await tenants.control.request("PATCH", path, {"fields": collection["fields"]})


ROLE_KEYS = ("roles", "roles+", "+roles", "roles-", "Roles", "roles:append", "roles[]")


async def roles_held(tenants: Tenants) -> list[Record]:
    """Every user in whose row a role stands that no superuser put there."""
    return [row for row in await tenants.control.records("users") if row["roles"] and row["name"] != "appointed"]


def attempts(key: str) -> list[dict[str, Any]]:
    """Every way of putting one field into a request."""
    payload = json.dumps({key: ["admin"]})
    return [
        {"json": {key: ["admin"]}},
        {"data": {key: "admin"}},
        {"files": {key: (None, "admin")}},
        {"files": {"@jsonPayload": (None, payload)}},
        {"data": {"@jsonPayload": payload}},
        {"json": {}, "params": {key: "admin"}},
    ]


def merged(attempt: dict[str, Any], fields: dict[str, str]) -> dict[str, Any]:
    """The attempt with the fields that a sign-up needs, in its own encoding."""
    for encoding in ("json", "data"):
        if encoding in attempt:
            return {**attempt, encoding: {**fields, **attempt[encoding]}}
    return {**attempt, "files": {**{name: (None, text) for name, text in fields.items()}, **attempt["files"]}}


@pytest.mark.parametrize("key", ROLE_KEYS)
async def test_nobody_gives_itself_a_role(tenants: Tenants, http: httpx.AsyncClient, key: str) -> None:
    user, guest = await platform_user(tenants, http), Client(http, "", {})
    for attempt in attempts(key):
        await user.send("PATCH", f"/api/collections/users/records/{user.record['id']}", **attempt)
        sign_up = {"email": f"{uuid4().hex}@example.com", "password": PASSWORD, "passwordConfirm": PASSWORD}
        await guest.send("POST", "/api/collections/users/records", **merged(attempt, sign_up))
    assert await roles_held(tenants) == []


async def test_nobody_gives_itself_a_role_by_way_of_a_batch(tenants: Tenants, http: httpx.AsyncClient) -> None:
    user = await platform_user(tenants, http)
    body = {"password": PASSWORD, "passwordConfirm": PASSWORD}
    own, create = f"/api/collections/users/records/{user.record['id']}", "/api/collections/users/records"
    for key in ROLE_KEYS:
        requests: tuple[dict[str, Any], ...] = (
            {"method": "PATCH", "url": own, "body": {key: ["admin"]}},
            {"method": "PATCH", "url": f"{own}?{key}=admin", "body": {}},
            {"method": "PUT", "url": create, "body": {"id": user.record["id"], key: ["admin"]}},
            {"method": "POST", "url": create, "body": {**body, "email": f"{uuid4().hex}@example.com", key: ["admin"]}},
        )
        for request in requests:
            await user.send("POST", "/api/batch", json={"requests": [request]})
    assert await roles_held(tenants) == []


@contextmanager
def identity_provider() -> Generator[str]:
    """An OpenID Connect provider to which every caller is somebody new."""

    class Provider(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.answer({"access_token": "any", "token_type": "Bearer"})

        def do_GET(self) -> None:
            name = uuid4().hex
            self.answer({"sub": name, "email": f"{name}@example.com", "email_verified": True, "name": name})

        def answer(self, body: dict[str, Any]) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Provider) as provider:
        thread = threading.Thread(target=provider.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{provider.server_port}"
        provider.shutdown()
        thread.join()


async def test_nobody_brings_a_role_along_from_an_identity_provider(tenants: Tenants, http: httpx.AsyncClient) -> None:
    guest = Client(http, "", {})
    with identity_provider() as url:
        provider = {"name": "oidc", "clientId": "any", "clientSecret": "any", "displayName": "any"}
        urls = {"authURL": url, "tokenURL": f"{url}/token", "userInfoURL": f"{url}/user"}
        oauth2 = {"enabled": True, "providers": [{**provider, **urls}]}
        await tenants.control.request("PATCH", "/api/collections/users", {"oauth2": oauth2})
        path = "/api/collections/users/auth-with-oauth2"
        login = {"provider": "oidc", "code": "any", "redirectURL": url}
        for key in ROLE_KEYS:
            await guest.send("POST", path, json={**login, "createData": {key: ["admin"]}})
        (await guest.send("POST", path, json=login)).raise_for_status()
    assert await roles_held(tenants) == []


async def test_people_still_sign_up_and_edit_themselves(tenants: Tenants, http: httpx.AsyncClient) -> None:
    email = f"{uuid4().hex}@example.com"
    body = {"email": email, "password": PASSWORD, "passwordConfirm": PASSWORD}
    (await Client(http, "", {}).send("POST", "/api/collections/users/records", json=body)).raise_for_status()
    user = await logged_in(http, "users", email)
    (await user.patch("users", user.record["id"], {"name": "New"})).raise_for_status()
