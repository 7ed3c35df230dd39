"""PocketBase's superuser routes, dashboard and own collections stay closed, however they are spelt and whoever asks."""

import json

import httpx
import pytest

from tests.eventually import eventually
from tests.raw_http import ask_raw, send_raw
from tests.servers.gateway import GatewayServer, User
from tests.servers.pocketbase import PocketBaseServer

ADMINISTRATIVE = [
    ("GET", "/_"),
    ("GET", "/_/"),
    ("GET", "/_/index.html"),
    ("GET", "/%5f/"),
    ("GET", "/api/settings"),
    ("GET", "/api/settings/"),
    ("GET", "/api/%73ettings"),
    ("GET", "/%61pi/settings"),
    ("GET", "/API/settings"),
    ("GET", "/api/SETTINGS"),
    ("GET", "/api/settings;x"),
    ("PATCH", "/api/settings"),
    ("POST", "/api/settings/test/s3"),
    ("POST", "/api/settings/apple/generate-client-secret"),
    ("GET", "/api/collections"),
    ("GET", "/api/collections/"),
    ("POST", "/api/collections"),
    ("GET", "/api/collections/users"),
    ("PATCH", "/api/collections/users"),
    ("DELETE", "/api/collections/users"),
    ("PUT", "/api/collections/import"),
    ("DELETE", "/api/collections/users/truncate"),
    ("GET", "/api/collections/meta/scaffolds"),
    ("GET", "/api/collections/meta/oauth2-providers"),
    ("POST", "/api/collections/users/impersonate/{user}"),
    ("POST", "/api/Collections/users/Impersonate/{user}"),
    ("GET", "/api/logs"),
    ("GET", "/api/logs/stats"),
    ("DELETE", "/api/logs"),
    ("GET", "/api/crons"),
    ("POST", "/api/crons/__pbLogsCleanup__"),
    ("GET", "/api/backups"),
    ("POST", "/api/backups"),
    ("POST", "/api/backups/upload"),
    ("GET", "/api/backups/{backup}?token={file_token}"),
    ("GET", "/api/backups/{backup}"),
    ("GET", "/api/Backups/{backup}?token={file_token}"),
    ("GET", "/api/%62ackups/{backup}?token={file_token}"),
    ("POST", "/api/backups/{backup}/restore"),
    ("POST", "/api/sql"),
]

TWISTED = [
    "/api/collections/x/../../settings",
    "/api/collections/x/%2e%2e/%2e%2e/settings",
    "/api/collections/x/.%2E/../settings",
    "/api/./settings",
    "/api//settings",
    "//api/settings",
    "/api/collections//users/records",
    "/api/collections/users%2f..%2f..%2fsettings/records",
    "/api/collections/users%2Frecords",
    "/api%2fsettings",
    "/api%5csettings",
    "/api\\settings",
    "/api/collections/users/records/%00",
    "/api/collections/users/records/%0d%0aX-Injected:1",
    "/api/collections/users/records/%c0%ae%c0%ae",
    "/api/collections/users/records/%zz",
    "/api/collections/users/records/%",
    "/api/collections/users/records/..",
]

SUPERUSERS = [
    "_superusers",
    "_SUPERUSERS",
    "_Superusers",
    "%5fsuperusers",
    "%5F%73uperusers",
    "pbc_3142635823",
    "PBC_3142635823",
    "_mfas",
    "_otps",
    "_externalAuths",
    "_EXTERNALAUTHS",
    "_authOrigins",
    "pbc_2279338944",
]


BACKUP = "whole.zip"


@pytest.fixture
async def file_token(superuser: httpx.AsyncClient) -> str:
    """Opens the one backup there is to whoever reaches it; PocketBase itself would hand it out."""
    token = (await superuser.post("/api/files/token")).json()["token"]
    if BACKUP not in (await superuser.get("/api/backups")).text:
        await superuser.post("/api/backups", json={"name": BACKUP})
        assert (await superuser.get(f"/api/backups/{BACKUP}?token={token}")).content.startswith(b"PK")
    return token


@pytest.mark.usefixtures("member")
@pytest.mark.parametrize(("method", "target"), ADMINISTRATIVE)
async def test_superuser_routes_are_forbidden_even_with_a_superuser_s_token(
    gateway: GatewayServer, superuser: httpx.AsyncClient, file_token: str, method: str, target: str
) -> None:
    member = (await superuser.get("/api/collections/users/records?perPage=1")).json()["items"][0]
    path = target.format(user=member["id"], backup=BACKUP, file_token=file_token)
    before = (await superuser.get("/api/settings")).json()
    token = superuser.headers["Authorization"]
    for authorization in (token, f"Bearer {token}", ""):
        answer = await ask_raw(gateway.url, method, path, f"Authorization: {authorization}", "Content-Length: 0")
        assert answer.status == 403
        refusal = json.loads(answer.body)
        assert set(refusal) == {"data", "message", "status"}
        assert (refusal["data"], refusal["status"]) == ({}, 403)
    assert (await superuser.get("/api/settings")).json() == before
    assert (await superuser.get(f"/api/collections/users/records/{member['id']}")).status_code == 200


@pytest.mark.parametrize("target", TWISTED)
async def test_a_path_that_can_be_read_in_two_ways_is_refused(
    gateway: GatewayServer, superuser: httpx.AsyncClient, target: str
) -> None:
    answer = await ask_raw(gateway.url, "GET", target, f"Authorization: {superuser.headers['Authorization']}")
    assert answer.status == 400
    assert b"smtp" not in answer.body


@pytest.mark.parametrize("collection", SUPERUSERS)
async def test_pocketbase_s_own_collections_are_refused_by_any_name(
    gateway: GatewayServer, superuser: httpx.AsyncClient, guarded: PocketBaseServer, collection: str
) -> None:
    credentials = json.dumps({"identity": guarded.email, "password": guarded.password})
    for method, rest in (
        ("POST", "/auth-with-password"),
        ("GET", "/records"),
        ("POST", "/records"),
        ("POST", "/auth-refresh"),
        ("GET", "/auth-methods"),
        ("POST", "/request-password-reset"),
        ("DELETE", "/records/x"),
    ):
        answer = await send_raw(
            gateway.url,
            f"{method} /api/collections/{collection}{rest} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            f"Authorization: {superuser.headers['Authorization']}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(credentials) if method == 'POST' else 0}\r\n\r\n"
            f"{credentials if method == 'POST' else ''}".encode(),
        )
        # an id in another case is no collection's, for PocketBase neither
        assert answer.status == (404 if collection.startswith("PBC_") else 403), rest
        assert b"token" not in answer.body
    file = await ask_raw(gateway.url, "GET", f"/api/files/{collection}/x/y.png")
    assert file.status in (403, 404)


async def test_collections_of_the_application_go_by_name_in_any_case_and_by_id(
    client: httpx.AsyncClient, member: User
) -> None:
    for spelling in ("users", "USERS", "_pb_users_auth_", "%75sers"):
        answer = await client.get(f"/api/collections/{spelling}/records/{member.id}", headers=member.headers)
        assert answer.status_code == 200
        assert answer.json()["collectionName"] == "users"


async def test_a_collection_made_a_moment_ago_is_found(client: httpx.AsyncClient, superuser: httpx.AsyncClient) -> None:
    assert (await client.get("/api/collections/newest/records")).status_code == 404
    await superuser.post("/api/collections", json={"name": "newest", "type": "base", "listRule": ""})

    async def status() -> int:
        return (await client.get("/api/collections/newest/records")).status_code

    try:
        await eventually(status, lambda status: status == 200, seconds=3)
    finally:
        await superuser.delete("/api/collections/newest")


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/api"),
        ("GET", "/api/"),
        ("GET", "/api/nope"),
        ("GET", "/api/HEALTH"),
        ("PUT", "/api/collections/users/records"),
        ("DELETE", "/api/collections/users/records"),
        ("GET", "/api/collections/users/records/"),
        ("GET", "/api/collections/users/records/a/b"),
        ("GET", "/api/collections/users/auth-with-password"),
        ("POST", "/api/collections/users/auth-methods"),
        ("POST", "/api/collections/users/AUTH-WITH-PASSWORD"),
        ("POST", "/api/health"),
        ("TRACE", "/api/health"),
        ("GET", "/api/hooks/custom"),
        ("GET", "/metrics"),
        ("GET", "/docs"),
        ("POST", "/readyz"),
    ],
)
async def test_all_else_is_unknown(gateway: GatewayServer, method: str, target: str) -> None:
    answer = await ask_raw(gateway.url, method, target)
    assert answer.status == 404
    assert json.loads(answer.body)["status"] == 404


async def test_requests_that_say_a_thing_twice_are_refused(gateway: GatewayServer) -> None:
    two_hosts = await ask_raw(gateway.url, "GET", "/api/health", "Host: elsewhere")
    assert two_hosts.status == 400
    two_lengths = await ask_raw(gateway.url, "POST", "/api/realtime", "Content-Length: 2", "Transfer-Encoding: chunked")
    assert two_lengths.status == 400
    body_of_get = await ask_raw(gateway.url, "GET", "/api/collections/users/records", "Content-Length: 2")
    assert body_of_get.status == 400


async def test_the_absolute_form_of_a_target_opens_nothing(gateway: GatewayServer) -> None:
    for target in ("http://localhost/api/settings", "http://localhost/_/"):
        assert (await ask_raw(gateway.url, "GET", target)).status in (400, 403)


async def test_the_query_reaches_pocketbase_as_it_was_sent(client: httpx.AsyncClient, member: User) -> None:
    answer = await client.get(
        f"/api/collections/users/records?filter=id%3D%22{member.id}%22%20%26%26%20name~%27%25n%27&fields=id&perPage=1",
        headers=member.headers,
    )
    assert answer.json()["items"] == [{"id": member.id}]
