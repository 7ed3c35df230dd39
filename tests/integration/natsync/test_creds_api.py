"""`/nats/creds`, `/nats/plan` and the API's description, asked as clients ask."""

from collections.abc import AsyncGenerator, Generator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from common.core.pocketbase_answers import Record
from tests.eventually import eventually
from tests.servers.issuer import ISSUER, Issuer, RealmKey, keycloak_claims
from tests.servers.natsync import PASSWORD, Stack, Tenants, connected_with, refused, running_stack, tenants_of


@pytest.fixture
async def http(natsync: Stack) -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=natsync.url, trust_env=False) as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def as_user(issuer: Issuer, subject: str, collection: str = "users", *roles: str) -> dict[str, str]:
    return bearer(issuer.token(subject, *roles, aud=["natsync"], collectionName=collection))


async def owned(tenants: Tenants, **fields: Any) -> tuple[Record, Record]:
    """A platform user and its NATS user, carried out."""
    body = {"email": f"{uuid4().hex}@example.com", "password": PASSWORD, "passwordConfirm": PASSWORD}
    owner = await tenants.control.create("users", body)
    user = await tenants.user(await tenants.account(), await tenants.role(), user=owner["id"], **fields)
    await tenants.synced(user)
    return owner, user


async def given(http: httpx.AsyncClient, headers: dict[str, str], **asked: str) -> dict[str, Any]:
    """What the API gives; natsync may not have heard of the row yet."""

    async def ask() -> httpx.Response:
        return await http.get("/nats/creds", headers=headers, params=asked)

    return (await eventually(ask, lambda answer: answer.status_code == 200)).json()


async def test_a_user_gets_its_own_credentials_by_each_of_the_gateways_tokens(
    natsync: Stack, tenants: Tenants, http: httpx.AsyncClient, platform_issuer: Issuer
) -> None:
    owner, user = await owned(tenants)
    shown = await tenants.credentials(user)
    for headers in (as_user(platform_issuer, owner["id"]), as_user(platform_issuer, user["id"], "nats_users")):
        creds = await given(http, headers)
        assert (creds["id"], creds["creds_file"]) == (user["id"], shown)
        assert (creds["expires_at"], creds["expires_soon"]) == (None, False)
        answer = await http.get("/nats/creds", headers=headers)
        assert answer.headers["Cache-Control"] == "no-store"
    async with connected_with(natsync.nats_url, shown):
        pass


async def test_another_issuers_token_stands_for_the_row_that_names_it(
    tenants: Tenants, http: httpx.AsyncClient, realm: Issuer, realm_key: RealmKey
) -> None:
    subject = uuid4().hex
    _, user = await owned(tenants, oidc_issuer=realm.url, oidc_subject=subject)
    token = realm_key.sign(keycloak_claims(realm.url, aud=["natsync"], sub=subject))
    assert (await given(http, bearer(token)))["id"] == user["id"]


async def test_nobody_gets_anybody_elses(tenants: Tenants, http: httpx.AsyncClient, platform_issuer: Issuer) -> None:
    owner, _ = await owned(tenants)
    _, theirs = await owned(tenants)
    await given(http, as_user(platform_issuer, owner["id"]))
    mine = as_user(platform_issuer, owner["id"])
    assert (await http.get("/nats/creds", headers=mine, params={"user": theirs["id"]})).status_code == 404
    assert (await http.get("/nats/creds", headers=as_user(platform_issuer, "nobody"))).status_code == 404
    assert (await http.get("/nats/creds")).status_code == 401
    assert (await http.get("/nats/creds", headers=bearer("x.y.z"))).status_code == 401
    assert (await http.post("/nats/creds/renew")).status_code == 401
    asked = await http.get("/nats/creds", headers=mine, params={"user": 'x" || id != "'})
    assert asked.status_code == 404
    assert set(asked.json()) == {"code", "message"}


async def test_of_several_one_is_named(tenants: Tenants, http: httpx.AsyncClient, platform_issuer: Issuer) -> None:
    owner, first = await owned(tenants, nats_username="pump")
    account, role = await tenants.account(), await tenants.role()
    second = await tenants.user(account, role, user=owner["id"], nats_username="valve")
    await tenants.synced(second)
    headers = as_user(platform_issuer, owner["id"])
    assert (await given(http, headers, user="valve"))["id"] == second["id"]
    assert (await given(http, headers, user=first["id"]))["id"] == first["id"]
    assert (await http.get("/nats/creds", headers=headers)).status_code == 404


async def test_renewed_they_are_of_the_same_key_and_issued_later(
    natsync: Stack, tenants: Tenants, http: httpx.AsyncClient, platform_issuer: Issuer
) -> None:
    ends = datetime.now(UTC) + timedelta(hours=1)
    owner, _ = await owned(tenants, jwt_expires_at=ends.strftime("%Y-%m-%d %H:%M:%S.000Z"))
    headers = as_user(platform_issuer, owner["id"])
    before = await given(http, headers)
    assert before["expires_at"] == int(ends.timestamp())

    async def renewed() -> dict[str, Any]:
        answer = await http.post("/nats/creds/renew", headers=headers, timeout=15)
        assert answer.status_code == 200, answer.text
        return answer.json()

    # who asks within ten seconds of the issue gets what was issued
    after = await eventually(renewed, lambda found: found["issued_at"] > before["issued_at"], seconds=25)
    assert after["public_key"] == before["public_key"]
    assert after["creds_file"] != before["creds_file"]
    assert (await eventually(renewed))["creds_file"] == after["creds_file"]
    for creds in (before, after):
        async with connected_with(natsync.nats_url, creds["creds_file"]):
            pass


async def test_suspended_banned_refused_and_new_ones_are_told_so(
    tenants: Tenants, http: httpx.AsyncClient, platform_issuer: Issuer
) -> None:
    owner, user = await owned(tenants)
    headers = as_user(platform_issuer, owner["id"])
    await given(http, headers)

    async def status() -> int:
        return (await http.get("/nats/creds", headers=headers)).status_code

    for change, expected in (
        ({"active": False}, 403),
        ({"active": True}, 200),
        ({"publish_permissions": "nonsense"}, 409),
        ({"publish_permissions": ""}, 200),
    ):
        await tenants.control.update("nats_users", user["id"], change)
        assert await eventually(status, lambda found, wanted=expected: found == wanted)
    ban = await tenants.control.create("natsync_bans", {"subject": owner["id"], "until": 0})
    assert await eventually(status, lambda found: found == 403)
    await tenants.control.delete("natsync_bans", ban["id"])
    assert await eventually(status, lambda found: found == 200)


async def test_an_admin_sees_whose_credentials_end_soon_and_nobody_else_does(
    tenants: Tenants, http: httpx.AsyncClient, platform_issuer: Issuer
) -> None:
    ends = datetime.now(UTC) + timedelta(hours=2)
    _, soon = await owned(tenants, jwt_expires_at=ends.strftime("%Y-%m-%d %H:%M:%S.000Z"))
    _, never = await owned(tenants)
    admin = as_user(platform_issuer, "root", "users", "admin")
    path = "/nats/creds/expiring"
    found = (await http.get(path, headers=admin, params={"within_seconds": 3 * 3600})).raise_for_status().json()
    listed = {one["id"]: one["expires_at"] for one in found["items"]}
    assert listed[soon["id"]] == int(ends.timestamp())
    assert never["id"] not in listed
    earlier = (await http.get(path, headers=admin, params={"within_seconds": 60})).json()
    assert soon["id"] not in {one["id"] for one in earlier["items"]}
    assert "BEGIN" not in str(found)
    assert (await http.get(path, headers=as_user(platform_issuer, "root"))).status_code == 403
    assert (await http.get(path)).status_code == 401


async def test_a_plan_is_for_admins_and_writes_nothing(
    tenants: Tenants, http: httpx.AsyncClient, platform_issuer: Issuer
) -> None:
    broken = await tenants.role("nonsense")
    await tenants.synced(broken, sync_status="error")
    admin = as_user(platform_issuer, "root", "users", "admin")

    async def plan() -> dict[str, Any]:
        return (await http.get("/nats/plan", headers=admin)).raise_for_status().json()

    found = await eventually(plan, lambda said: said["is_empty"])
    assert broken["id"] in {one["id"] for one in found["refused"]}
    assert (found["publish"], found["remove"], found["issue"], found["halted"]) == ([], [], [], "")
    assert (await http.get("/nats/plan", headers=as_user(platform_issuer, "x"))).status_code == 403
    assert (await http.get("/nats/plan")).status_code == 401
    await tenants.control.delete("nats_roles", broken["id"])


async def test_the_api_describes_itself(http: httpx.AsyncClient) -> None:
    described = (await http.get("/nats/openapi.json")).raise_for_status().json()
    assert {path: set(methods) for path, methods in described["paths"].items()} == {
        "/nats/creds": {"get"},
        "/nats/creds/renew": {"post"},
        "/nats/creds/expiring": {"get"},
        "/nats/status": {"get"},
        "/nats/plan": {"get"},
        "/nats/accounts/{id}/connections": {"get"},
    }
    for methods in described["paths"].values():
        for operation in methods.values():
            assert operation["description"]
            assert {"200", "401", "503"} <= operation["responses"].keys()
            refusal = operation["responses"]["401"]["content"]["application/json"]["schema"]
            assert refusal == {"$ref": "#/components/schemas/Refusal"}


@pytest.fixture(scope="module")
def sealed(platform_issuer: Issuer) -> Generator[Stack]:
    with running_stack(issuer=ISSUER, jwks_url=platform_issuer.jwks_url, NATSYNC_CREDS_AT_REST="sealed") as running:
        yield running


async def test_sealed_credentials_are_to_be_had_from_the_api_alone(sealed: Stack, platform_issuer: Issuer) -> None:
    async with (
        tenants_of(sealed) as tenants,
        httpx.AsyncClient(base_url=sealed.url, trust_env=False) as http,
    ):
        owner, user = await owned(tenants)
        row = await tenants.synced(user)
        assert row["creds_file"] == ""
        creds = await given(http, as_user(platform_issuer, owner["id"]))
        seed = creds["creds_file"].split("BEGIN USER NKEY SEED-----\n")[1].splitlines()[0]
        async with connected_with(sealed.nats_url, creds["creds_file"]):
            pass
        for collection in ("nats_users", "natsync_keys"):
            assert seed not in str(await tenants.control.records(collection))
        await tenants.control.update("nats_users", user["id"], {"active": False})
        await eventually(lambda: refused(sealed.nats_url, creds["creds_file"]))
        assert seed not in (sealed.home / "natsync.log").read_text()
