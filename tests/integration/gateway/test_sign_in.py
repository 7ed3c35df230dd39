"""Signing in through the gateway: whose token the client gets, and what it can do with it."""

import json
from typing import Any

import httpx
import jwt
from redis.asyncio import Redis

from tests.servers.gateway import ISSUER, PASSWORD, GatewayServer, User

USERS = "/api/collections/users"
NOTES = "/api/collections/notes/records"


def claims_in(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


def login(user: User) -> dict[str, str]:
    return {"identity": user.email, "password": user.password}


async def test_the_token_is_signed_by_a_published_key_and_names_the_user(
    gateway: GatewayServer, client: httpx.AsyncClient, ann: User
) -> None:
    discovery = (await client.get("/.well-known/openid-configuration")).json()
    assert discovery["issuer"] == ISSUER
    assert discovery["jwks_uri"] == f"{ISSUER}/.well-known/jwks.json"
    keys = (await client.get("/.well-known/jwks.json")).json()["keys"]
    assert "d" not in keys[0]
    for audience in ("gateway", "natsync", "chathub"):
        claims = jwt.decode(ann.token, jwt.PyJWK(keys[0]), algorithms=["ES256"], audience=audience, issuer=ISSUER)
    expected: dict[str, Any] = {
        "sub": ann.id,
        "id": ann.id,
        "azp": "ChatClient",
        "typ": "Bearer",
        "type": "auth",
        "preferred_username": "ann",
        "realm_access": {"roles": []},
        "collectionId": "_pb_users_auth_",
        "collectionName": "users",
        "refreshable": True,
    }
    assert expected.items() <= claims.items()
    assert claims["sid"]
    assert claims["jti"] != claims["sid"]


async def test_records_are_read_and_written_as_the_one_who_signed_in(
    client: httpx.AsyncClient, ann: User, bob: User
) -> None:
    made = (await client.post(NOTES, json={"title": "mine", "owner": ann.id}, headers=ann.headers)).json()
    path = f"{NOTES}/{made['id']}"
    assert (await client.get(path, headers=ann.headers)).json()["title"] == "mine"
    assert (await client.patch(path, json={"title": "new"}, headers=ann.headers)).status_code == 200
    listed = await client.get(f"{NOTES}?filter=(title='new')&fields=id", headers=ann.headers)
    assert listed.json()["items"] == [{"id": made["id"]}]
    assert (await client.get(path, headers=bob.headers)).status_code == 404
    assert (await client.get(path)).status_code == 404
    forged = await client.post(NOTES, json={"title": "his", "owner": ann.id}, headers=bob.headers)
    assert forged.status_code == 400
    assert (await client.delete(path, headers=bob.headers)).status_code == 404
    assert (await client.delete(path, headers=ann.headers)).status_code == 204


async def test_the_word_bearer_is_optional_and_its_case_is_free(client: httpx.AsyncClient, ann: User) -> None:
    for value in (ann.token, f"Bearer {ann.token}", f"bEARER {ann.token}"):
        answer = await client.get(f"{USERS}/records/{ann.id}", headers={"Authorization": value})
        assert answer.status_code == 200


async def test_no_answer_ever_bears_a_token_of_pocketbase(client: httpx.AsyncClient, ann: User) -> None:
    calls = [
        await client.post(f"{USERS}/auth-with-password{query}", json=login(ann))
        for query in ("", "?fields=token", "?fields=*", "?fields=record.id", "?fields=token,record.email&expand=x")
    ]
    calls.append(await client.post(f"{USERS}/auth-refresh", headers=ann.headers))
    for answer in calls:
        assert answer.status_code == 200
        told = answer.json()
        assert "HS256" not in str(jwt.get_unverified_header(told["token"]) if "token" in told else "")
        assert "eyJhbGciOiJIUzI1NiI" not in answer.text
    assert set(calls[1].json()) == {"token"}
    assert claims_in(calls[1].json()["token"])["preferred_username"] == "ann"


async def test_a_token_that_a_query_has_cut_is_not_passed_on(client: httpx.AsyncClient, ann: User) -> None:
    answer = await client.post(f"{USERS}/auth-with-password?fields=token:excerpt(30)", json=login(ann))
    assert answer.status_code == 502
    assert "eyJ" not in answer.text


async def test_a_refresh_carries_the_session_on_under_a_new_token(client: httpx.AsyncClient, ann: User) -> None:
    answer = await client.post(f"{USERS}/auth-refresh", headers=ann.headers)
    before, after = claims_in(ann.token), claims_in(answer.json()["token"])
    assert answer.status_code == 200
    assert after["sid"] == before["sid"]
    assert after["jti"] != before["jti"]
    again = await client.get(f"{USERS}/records/{ann.id}", headers={"Authorization": answer.json()["token"]})
    assert again.status_code == 200


async def test_a_login_may_name_a_client_on_the_list_and_no_other(client: httpx.AsyncClient, ann: User) -> None:
    path = f"{USERS}/auth-with-password"
    web = await client.post(path, json=login(ann), headers={"X-Client-Id": "WebClient"})
    assert claims_in(web.json()["token"])["azp"] == "WebClient"
    headers = {"Authorization": web.json()["token"], "X-Client-Id": "ChatClient"}
    refreshed = await client.post(f"{USERS}/auth-refresh", headers=headers)
    assert claims_in(refreshed.json()["token"])["azp"] == "WebClient", "a refresh changes the client"
    other = await client.post(path, json=login(ann), headers={"X-Client-Id": "admin-cli"})
    assert other.status_code == 400
    assert other.json()["status"] == 400


async def test_roles_come_from_the_record_even_when_its_field_is_hidden(
    client: httpx.AsyncClient, superuser: httpx.AsyncClient, ann: User
) -> None:
    await superuser.patch(f"{USERS}/records/{ann.id}", json={"roles": ["moderator", "admin"]})
    answer = await client.post(f"{USERS}/auth-with-password?fields=token", json=login(ann))
    assert claims_in(answer.json()["token"])["realm_access"] == {"roles": ["admin", "moderator"]}


async def test_a_user_cannot_give_himself_roles(client: httpx.AsyncClient, ann: User) -> None:
    await client.patch(f"{USERS}/records/{ann.id}", json={"roles": ["admin"]}, headers=ann.headers)
    answer = await client.post(f"{USERS}/auth-with-password", json=login(ann))
    assert claims_in(answer.json()["token"])["realm_access"] == {"roles": []}


async def new_device(superuser: httpx.AsyncClient, name: str) -> dict[str, Any]:
    body = {
        "email": f"{name}@example.com",
        "password": PASSWORD,
        "passwordConfirm": PASSWORD,
        "nats_username": name,
        "roles": ["admin"],
    }
    return (await superuser.post("/api/collections/devices/records", json=body)).json()


async def test_records_of_other_collections_get_no_roles(
    client: httpx.AsyncClient, superuser: httpx.AsyncClient
) -> None:
    device = await new_device(superuser, "sensor")
    path = "/api/collections/DEVICES/auth-with-password"
    answer = await client.post(path, json={"identity": device["email"], "password": PASSWORD})
    claims = claims_in(answer.json()["token"])
    assert claims["realm_access"] == {"roles": []}
    assert claims["preferred_username"] == "sensor"
    assert claims["collectionName"] == "devices"


async def test_what_valkey_holds_is_sealed_and_ends_with_pocketbase_s_token(
    client: httpx.AsyncClient, valkey_url: str, ann: User
) -> None:
    claims = claims_in(ann.token)
    async with Redis.from_url(valkey_url) as valkey:
        key = f"gateway:session:{claims['sid']}"
        stored = str(await valkey.hgetall(key))
        assert "sealed" in stored
        assert "eyJ" not in stored
        assert abs(await valkey.expiretime(key) - claims["exp"]) <= 2


async def test_a_refresh_under_way_does_not_revive_a_revoked_session(
    client: httpx.AsyncClient, valkey_url: str, ann: User
) -> None:
    async with Redis.from_url(valkey_url) as valkey:
        await valkey.delete(f"gateway:session:{claims_in(ann.token)['sid']}")
        answer = await client.post(f"{USERS}/auth-refresh", headers=ann.headers)
        assert answer.status_code == 401
        assert not await valkey.exists(f"gateway:session:{claims_in(ann.token)['sid']}")


async def test_a_changed_password_ends_the_session_as_it_ends_pocketbase_s_token(
    client: httpx.AsyncClient, superuser: httpx.AsyncClient, ann: User
) -> None:
    changed = {"password": "another-horse", "passwordConfirm": "another-horse"}
    await superuser.patch(f"{USERS}/records/{ann.id}", json=changed)
    assert (await client.post(f"{USERS}/auth-refresh", headers=ann.headers)).status_code == 401


async def test_the_log_tells_of_writes_and_keeps_secrets(
    gateway: GatewayServer, client: httpx.AsyncClient, ann: User
) -> None:
    await client.get("/api/settings?token=very-secret-token", headers=ann.headers)
    text = gateway.log.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert any(line.get("path", "").endswith("/auth-with-password") and line["status"] == 200 for line in lines)
    assert any(line.get("path") == "/api/settings" and line["status"] == 403 for line in lines)
    for secret in (ann.token, ann.token.split(".")[2], "very-secret-token", PASSWORD, ann.email):
        assert secret not in text
