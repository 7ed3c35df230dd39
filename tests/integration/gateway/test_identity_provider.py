"""An issuer signs users in where one is configured, and tenant, roles and clearance come from its claims alone."""

import json
import secrets
from collections.abc import AsyncGenerator, Generator
from typing import Any

import httpx
import pytest

from common.core.tokens import SigningKey
from gateway.core.front_door.limits import DEFAULTS
from tests.route_site import routed_gateway, write_site
from tests.servers.gateway import PASSWORD, GatewayServer, User, prepare, signed_up
from tests.servers.identity import CLIENT, SECRET, IdentityServer, Person, identity_server
from tests.servers.pocketbase import PocketBaseServer, pocketbase_server

SITE = {
    "routes/auth.py": """
        async def POST(ctx, db):
            return ctx.json(await ctx.services.authenticate(ctx.metadata.json))
    """,
    "routes/who.py": """
        async def GET(ctx, db):
            asker = ctx.principal
            return ctx.json({"id": asker.id, "roles": asker.roles, "tenant": ctx.tenant_id,
                             "clearance": asker.highest_clearance, "headers": ctx.metadata.headers})
    """,
    "routes/tenants/middleware.py": """
        async def middleware(ctx, db):
            if not ctx.tenant_id:
                refuse(status=404)
    """,
    "routes/tenants/page.py": """
        async def GET(ctx, db):
            return ctx.text(ctx.tenant_id)
    """,
    "rules/plans.py": """
        from gateway.rules import before

        @before("plans", "create")
        def of_the_own_tenant(ctx):
            ctx.record["tenant"] = ctx.principal.tenant
    """,
}
OF_TENANT = "@request.headers.x_gateway_tenant != '' && tenant = @request.headers.x_gateway_tenant"


@pytest.fixture(scope="module")
def issuer() -> Generator[IdentityServer]:
    with identity_server() as running:
        yield running


@pytest.fixture(scope="module")
def database() -> Generator[PocketBaseServer]:
    with pocketbase_server() as running:
        token = prepare(running)
        with httpx.Client(base_url=running.url, timeout=30, headers={"Authorization": token}) as control:
            plans = {"name": "plans", "type": "base", "fields": [{"name": "tenant", "type": "text"}]}
            rules = {"listRule": OF_TENANT, "viewRule": OF_TENANT, "createRule": OF_TENANT}
            control.post("/api/collections", json={**plans, **rules}).raise_for_status()
            users = control.get("/api/collections/users").json()
            more = [{"name": "org", "type": "text"}, {"name": "level", "type": "json"}, {"name": "out", "type": "bool"}]
            body = {"fields": [*users["fields"], *more], "authRule": "out = false"}
            control.patch("/api/collections/users", json=body).raise_for_status()
        yield running


@pytest.fixture(scope="module")
def served(
    database: PocketBaseServer, valkey_url: str, issuer: IdentityServer, tmp_path_factory: pytest.TempPathFactory
) -> Generator[GatewayServer]:
    site = write_site(tmp_path_factory.mktemp("site"), SITE)
    limits: dict[str, Any] = {name: {"limit": 0} for name in DEFAULTS}
    limits["tenant"] = {"limit": 20, "every": 60_000}
    changed = {
        "GATEWAY_IDENTITY_SERVER_URL": issuer.name,
        "GATEWAY_IDENTITY_TENANT_ID": CLIENT,
        "GATEWAY_IDENTITY_SECRET": SECRET,
        "GATEWAY_TENANT_FIELD": "org",
        "GATEWAY_CLEARANCE_FIELD": "level",
        "GATEWAY_RULES_FOLDER": str(site / "rules"),
        "GATEWAY_RATE_LIMITS": json.dumps(limits),
    }
    with routed_gateway(database, valkey_url, site, changed) as running:
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


def person(issuer: IdentityServer, **claims: Any) -> str:
    """A new one, with a tenant of his own."""
    name = f"p{secrets.token_hex(4)}"
    plain = {"tenant": f"t-{name}", "clearance": [1, 3], "realm_access": {"roles": ["editor"]}}
    issuer.people[name] = Person("secret", {**plain, **claims})
    return name


async def came_in(web: httpx.AsyncClient, name: str, **more: Any) -> dict[str, Any]:
    body = {"type": "password", "identity": name, "password": "secret", **more}
    return (await web.post("/auth", json=body)).json()


async def known(web: httpx.AsyncClient, token: str, **headers: str) -> dict[str, Any]:
    return (await web.get("/who", headers={"Authorization": token, **headers})).json()


async def test_what_the_issuer_keeps_by_cookie_of_one_is_not_told_it_with_another(
    web: httpx.AsyncClient, issuer: IdentityServer
) -> None:
    for _ in range(2):
        assert (await came_in(web, person(issuer)))["is_authenticated"] is True
    assert issuer.cookies == []


async def test_whom_the_issuer_vouches_for_has_a_session_with_what_it_says(
    web: httpx.AsyncClient, issuer: IdentityServer
) -> None:
    name = person(issuer)
    told = await came_in(web, name)
    assert told["is_authenticated"] is True
    assert told["record"]["email"] == f"{name}@issuer.example"
    who = await known(web, told["token"])
    assert (who["id"], who["roles"]) == (told["record"]["id"], ["editor"])
    assert (who["tenant"], who["clearance"]) == (f"t-{name}", 3)
    own = await web.get(f"/api/collections/users/records/{who['id']}", headers={"Authorization": told["token"]})
    assert own.status_code == 200
    again = await came_in(web, name)
    assert again["record"]["id"] == who["id"]


async def test_a_refresh_keeps_what_the_issuer_said(web: httpx.AsyncClient, issuer: IdentityServer) -> None:
    name = person(issuer)
    token = (await came_in(web, name))["token"]
    refreshed = await web.post("/api/collections/users/auth-refresh", headers={"Authorization": token})
    assert refreshed.status_code == 200, refreshed.text
    who = await known(web, refreshed.json()["token"])
    assert (who["tenant"], who["clearance"], who["roles"]) == (f"t-{name}", 3, ["editor"])


async def test_headers_bodies_and_queries_say_nothing_of_tenants(
    web: httpx.AsyncClient, issuer: IdentityServer
) -> None:
    name = person(issuer, tenant=None, clearance=None, realm_access=None)
    forged = {"X-Tenant": "evil", "X-Tenant-Id": "evil", "X-Gateway-Tenant": "evil", "X_Gateway_Tenant": "evil"}
    body = {"type": "password", "identity": name, "password": "secret", "tenant": "evil", "roles": ["admin"]}
    told = (await web.post("/auth?tenant=evil", json=body, headers=forged)).json()
    who = await known(web, told["token"], **forged)
    assert (who["tenant"], who["clearance"], who["roles"]) == ("", 0, [])
    assert not [name for name in who["headers"] if name.replace("_", "-") == "x-gateway-tenant"]
    made = await web.post(
        "/api/collections/plans/records", json={"tenant": "evil"}, headers={"Authorization": told["token"], **forged}
    )
    assert made.status_code == 400
    assert (await web.get("/tenants/page", headers={"Authorization": told["token"], **forged})).status_code == 404


async def test_tenants_are_kept_apart_by_rules_routes_and_pocketbase(
    web: httpx.AsyncClient, issuer: IdentityServer
) -> None:
    one, other = person(issuer), person(issuer)
    ones = {"Authorization": (await came_in(web, one))["token"]}
    others = {"Authorization": (await came_in(web, other))["token"]}
    plans = "/api/collections/plans/records"
    made = await web.post(plans, json={"tenant": f"t-{other}"}, headers=ones)
    assert made.json()["tenant"] == f"t-{one}"
    assert [plan["id"] for plan in (await web.get(plans, headers=ones)).json()["items"]] == [made.json()["id"]]
    for headers in (others, {}, {**others, "X-Gateway-Tenant": f"t-{one}"}, {"X-Gateway-Tenant": f"t-{one}"}):
        assert (await web.get(plans, headers=headers)).json()["items"] == []
        assert (await web.get(f"{plans}/{made.json()['id']}", headers=headers)).status_code == 404
    assert (await web.get("/tenants/page", headers=ones)).text == f"t-{one}"


async def test_users_of_a_tenant_share_its_limit(web: httpx.AsyncClient, issuer: IdentityServer) -> None:
    tenant = f"t-{secrets.token_hex(4)}"
    users = [(await came_in(web, person(issuer, tenant=tenant)))["token"] for _ in range(2)]
    statuses = [(await web.get("/hello", headers={"Authorization": users[0]})).status_code for _ in range(2)]
    assert statuses == [404, 404]
    asked = [await web.get("/who", headers={"Authorization": users[number % 2]}) for number in range(21)]
    assert asked[-1].status_code == 429
    assert (await web.get("/who", headers={"Authorization": users[0]})).status_code == 429
    assert (await web.get("/who")).status_code == 200
    another = (await came_in(web, person(issuer)))["token"]
    assert (await web.get("/who", headers={"Authorization": another})).status_code == 200


async def test_a_wrong_password_and_a_stranger_are_refused(web: httpx.AsyncClient, issuer: IdentityServer) -> None:
    name = person(issuer)
    for body in (
        {"type": "password", "identity": name, "password": "wrong"},
        {"type": "password", "identity": "nobody", "password": "secret"},
        {"type": "password", "identity": name},
        {"type": "password", "identity": [name], "password": "secret"},
        {"type": "magic", "identity": name, "password": "secret"},
    ):
        told = (await web.post("/auth", json=body)).json()
        assert told["is_authenticated"] is False
        assert told["token"] == ""
        assert told["message"]


async def test_a_code_comes_in_with_the_proof_of_its_own_sign_in(
    web: httpx.AsyncClient, issuer: IdentityServer
) -> None:
    name, verifier = person(issuer, nonce="n1"), secrets.token_urlsafe(32)
    body = {"type": "oauth", "codeVerifier": verifier, "redirectURL": "http://app.test/back"}
    told = (await web.post("/auth", json={**body, "code": issuer.begin(name, verifier), "nonce": "n1"})).json()
    assert told["is_authenticated"] is True
    for wrong in ({"codeVerifier": "another"}, {"codeVerifier": ""}, {"nonce": "n2"}, {"redirectURL": ""}):
        asked = {**body, "code": issuer.begin(name, verifier), **wrong}
        assert (await web.post("/auth", json=asked)).json()["is_authenticated"] is False, wrong


async def test_a_second_factor_is_asked_for_and_taken(web: httpx.AsyncClient, issuer: IdentityServer) -> None:
    name = person(issuer)
    issuer.people[name].code, issuer.people[name].needs_second_factor = "123456", True
    first = await came_in(web, name)
    assert (first["is_authenticated"], first["mfa_id"]) == (False, f"mfa-{name}")
    second = {"type": "mfa", "mfaId": first["mfa_id"]}
    assert (await web.post("/auth", json={**second, "otp": "000000"})).json()["is_authenticated"] is False
    assert (await web.post("/auth", json={**second, "otp": "123456"})).json()["is_authenticated"] is True
    both = {"type": "mfa", "identity": name, "password": "secret", "otp": "123456"}
    assert (await web.post("/auth", json=both)).json()["is_authenticated"] is True
    alone = {"type": "otp", "identity": name, "otp": "123456"}
    assert (await web.post("/auth", json=alone)).json()["is_authenticated"] is True


FORGED = {
    "another audience": {"aud": "another"},
    "another issuer": {"iss": "http://evil.test"},
    "another client": {"azp": "another"},
    "several audiences": {"aud": [CLIENT, "another"]},
    "expired": {"exp": 1},
    "from tomorrow": {"nbf": 4_000_000_000},
    "no subject": {"sub": None},
    "an access token": {"typ": "Bearer"},
}


@pytest.mark.parametrize("kind", FORGED)
async def test_an_id_token_that_is_not_meant_for_here_signs_nobody_in(
    web: httpx.AsyncClient, issuer: IdentityServer, kind: str
) -> None:
    name = person(issuer, **FORGED[kind])
    assert (await came_in(web, name))["is_authenticated"] is False


async def test_a_token_signed_by_somebody_else_signs_nobody_in(web: httpx.AsyncClient, issuer: IdentityServer) -> None:
    issuer.signs_with = SigningKey(b"\x0a" * 32)
    try:
        assert (await came_in(web, person(issuer)))["is_authenticated"] is False
    finally:
        issuer.signs_with = None


async def test_an_address_that_nobody_verified_takes_over_no_record(
    web: httpx.AsyncClient, issuer: IdentityServer, control: httpx.AsyncClient
) -> None:
    async def local(*, verified: bool) -> dict[str, Any]:
        email = f"{secrets.token_hex(6)}@example.com"
        body = {"email": email, "password": PASSWORD, "passwordConfirm": PASSWORD, "verified": verified}
        return (await control.post("/api/collections/users/records", json=body)).json()

    good, unproven = await local(verified=True), await local(verified=False)
    assert (await came_in(web, person(issuer, email=good["email"])))["record"]["id"] == good["id"]
    assert (await came_in(web, person(issuer, email=unproven["email"])))["is_authenticated"] is False
    claimed = await local(verified=True)
    told = await came_in(web, person(issuer, email=claimed["email"], email_verified=False))
    assert told["record"]["id"] != claimed["id"]


async def test_whom_the_collection_does_not_let_in_stays_outside(
    web: httpx.AsyncClient, issuer: IdentityServer, control: httpx.AsyncClient
) -> None:
    name = person(issuer)
    id = (await came_in(web, name))["record"]["id"]
    await control.patch(f"/api/collections/users/records/{id}", json={"out": True})
    told = await came_in(web, name)
    assert (told["is_authenticated"], told["token"]) == (False, "")
    assert "requirements" in told["message"]


async def test_while_the_issuer_is_away_nobody_is_called_a_stranger(
    web: httpx.AsyncClient, issuer: IdentityServer
) -> None:
    issuer.is_away = True
    try:
        answer = await web.post("/auth", json={"type": "password", "identity": person(issuer), "password": "secret"})
    finally:
        issuer.is_away = False
    assert answer.status_code == 503


async def test_pocketbases_own_users_have_tenants_from_their_records(
    web: httpx.AsyncClient, control: httpx.AsyncClient
) -> None:
    email = f"{secrets.token_hex(6)}@example.com"
    fields = {"org": "acme", "level": [2, 7], "roles": ["editor"]}
    body = {"email": email, "password": PASSWORD, "passwordConfirm": PASSWORD, **fields}
    await control.post("/api/collections/users/records", json=body)
    credentials = {"identity": email, "password": PASSWORD}
    told = (await web.post("/api/collections/users/auth-with-password", json=credentials)).json()
    who = await known(web, told["token"])
    assert (who["tenant"], who["clearance"], who["roles"]) == ("acme", 7, ["editor"])


AWARDED = {"org": "evil", "level": 9, "roles": ["admin"]}


async def test_nobody_awards_himself_a_tenant_a_clearance_or_a_role(
    web: httpx.AsyncClient, control: httpx.AsyncClient
) -> None:
    user = await signed_up(web)
    users = "/api/collections/users/records"
    own = f"{users}/{user.id}"
    new = {"password": PASSWORD, "passwordConfirm": PASSWORD}
    for field, value in AWARDED.items():
        for key in (field, f"{field}+", f"+{field}", f"{field}:append", field.upper()):
            email = {"email": f"{secrets.token_hex(6)}@example.com"}
            attempts = [
                await web.patch(own, json={key: value}, headers=user.headers),
                await web.patch(own, files={"@jsonPayload": (None, json.dumps({key: value}))}, headers=user.headers),
                await web.post(users, json={**new, **email, key: value}),
                await batched(web, user, {"method": "PATCH", "url": own, "body": {key: value}}),
                await batched(web, user, {"method": "PUT", "url": users, "body": {"id": user.id, key: value}}),
            ]
            assert [answer.status_code for answer in attempts] == [400] * 5, key
            assert attempts[0].json()["data"] == {
                key.strip("+").partition(":")[0]: {
                    "code": "validation_not_yours",
                    "message": "Only the operator may write this.",
                }
            }
        await web.patch(f"{own}?{field}=evil", data={"name": "still ann"}, headers=user.headers)
    stored = (await control.get(own)).json()
    assert (stored["org"], stored["level"], stored["roles"]) == ("", None, None)
    credentials = {"identity": user.email, "password": PASSWORD}
    told = (await web.post("/api/collections/users/auth-with-password", json=credentials)).json()
    who = await known(web, told["token"])
    assert (who["tenant"], who["clearance"], who["roles"]) == ("", 0, [])


async def batched(web: httpx.AsyncClient, user: User, item: dict[str, Any]) -> httpx.Response:
    return await web.post("/api/batch", json={"requests": [item]}, headers=user.headers)
