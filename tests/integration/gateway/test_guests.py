"""Whoever brings anything but a token of this gateway is a guest."""

import time
from typing import Any

import httpx
import jwt
import pytest
from redis.asyncio import Redis

from common.core.tokens import SigningKey, base64url
from tests.servers.gateway import GatewayServer, User
from tests.servers.pocketbase import PocketBaseServer

RECORDS = "/api/collections/users/records"


async def counts_as(client: httpx.AsyncClient, token: str, user: User) -> str:
    """`users` may be viewed by their owner alone, so the answer says who PocketBase took the caller for."""
    answer = await client.get(f"{RECORDS}/{user.id}", headers={"Authorization": token})
    return {200: "owner", 404: "guest"}[answer.status_code]


async def test_a_token_of_pocketbase_itself_is_worth_nothing_here(
    client: httpx.AsyncClient, guarded: PocketBaseServer, superuser: httpx.AsyncClient, ann: User
) -> None:
    credentials = {"identity": ann.email, "password": ann.password}
    direct = await client.post(f"{guarded.url}/api/collections/users/auth-with-password", json=credentials)
    own = direct.json()["token"]
    assert (await client.get(f"{RECORDS}/{ann.id}", headers={"Authorization": ann.token})).status_code == 200
    for token in (own, f"Bearer {own}", superuser.headers["Authorization"]):
        assert await counts_as(client, token, ann) == "guest"
        answer = await client.post("/api/collections/users/auth-refresh", headers={"Authorization": token})
        assert answer.status_code == 401


def forgeries(gateway: GatewayServer, user: User) -> dict[str, str]:
    genuine: dict[str, Any] = jwt.decode(user.token, options={"verify_signature": False})
    own, other = SigningKey(gateway.signing_key), SigningKey(b"\2" * 32)
    head, _, signature = user.token.split(".")
    public = own.public_jwk
    return {
        "another key": other.sign(genuine),
        "another key under our name": jwt.encode(genuine, other._key, algorithm="ES256", headers={"kid": own.key_id}),
        "another issuer": own.sign({**genuine, "iss": "https://evil.example"}),
        "another audience": own.sign({**genuine, "aud": ["natsync"]}),
        "no algorithm": jwt.encode(genuine, "", algorithm="none", headers={"kid": own.key_id}),
        "the public key as a secret": jwt.encode(
            genuine, (public["x"] + public["y"]).encode(), algorithm="HS256", headers={"kid": own.key_id}
        ),
        "expired": own.sign({**genuine, "exp": int(time.time()) - 1}),
        "not yet valid": own.sign({**genuine, "nbf": int(time.time()) + 60}),
        "without a session": own.sign({name: value for name, value in genuine.items() if name != "sid"}),
        "with a session of nobody": own.sign({**genuine, "sid": "nobody"}),
        "an identity token": own.sign({**genuine, "typ": "ID"}),
        "a changed body": ".".join([head, base64url(b'{"sub":"root"}'), signature]),
        "a cut signature": user.token[:-4],
        "overlong": "a" * 9000,
        "nonsense": "Basic YTpi",
    }


async def test_a_forged_token_is_a_guest_s(gateway: GatewayServer, client: httpx.AsyncClient, ann: User) -> None:
    assert await counts_as(client, ann.token, ann) == "owner"
    for name, token in forgeries(gateway, ann).items():
        assert await counts_as(client, token, ann) == "guest", name


async def test_a_revoked_session_is_a_guest_s(client: httpx.AsyncClient, valkey_url: str, ann: User) -> None:
    session = jwt.decode(ann.token, options={"verify_signature": False})["sid"]
    async with Redis.from_url(valkey_url) as valkey:
        assert await valkey.delete(f"gateway:session:{session}") == 1
    assert await counts_as(client, ann.token, ann) == "guest"


async def test_a_session_stored_under_another_s_id_opens_for_nobody(
    client: httpx.AsyncClient, valkey_url: str, ann: User, bob: User
) -> None:
    keys = [
        f"gateway:session:{jwt.decode(user.token, options={'verify_signature': False})['sid']}" for user in (ann, bob)
    ]
    async with Redis.from_url(valkey_url) as valkey:
        await valkey.copy(keys[0], keys[1], replace=True)
    assert await counts_as(client, bob.token, ann) == "guest"
    assert await counts_as(client, bob.token, bob) == "guest"


@pytest.mark.parametrize("header", ["Cookie", "Proxy-Authorization", "X-Authorization"])
async def test_no_other_header_signs_anybody_in(client: httpx.AsyncClient, ann: User, header: str) -> None:
    answer = await client.get(f"{RECORDS}/{ann.id}", headers={header: ann.token})
    assert answer.status_code == 404
