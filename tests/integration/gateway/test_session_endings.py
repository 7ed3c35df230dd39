"""What ends the sessions of a user, on every process at once."""

import json
import re
import secrets

import httpx
from redis.asyncio import Redis

from tests.eventually import eventually
from tests.servers.gateway import User, base64url, gateway_server, signed_up
from tests.servers.mail import mail_server
from tests.servers.pocketbase import PocketBaseServer
from tests.servers.provider import oauth2_provider
from tests.session_client import (
    RECORDS,
    USERS,
    WORKERS,
    Pair,
    claims_in,
    counts_as,
    credentials,
    is_out_within_a_second,
    refresh,
    session_in,
    sessions,
    sign_in,
)


async def test_a_new_password_ends_every_session_of_the_user_and_of_nobody_else(pair: Pair, user: User) -> None:
    other = await signed_up(pair.here)
    tokens = [user.token, await sign_in(pair.there, user)]
    for token in tokens:
        assert await counts_as(pair.there, token, user) == "owner"
    fields = {"password": "another-horse", "passwordConfirm": "another-horse"}
    wrong = await pair.here.patch(f"{RECORDS}/{user.id}", json={**fields, "oldPassword": "wrong"}, headers=user.headers)
    assert wrong.status_code == 400
    assert await counts_as(pair.here, user.token, user) == "owner"
    changed = await pair.here.patch(
        f"{RECORDS}/{user.id}", json={**fields, "oldPassword": user.password}, headers=user.headers
    )
    assert changed.status_code == 200
    for token in tokens:
        await is_out_within_a_second(pair.there, token, user)
    assert await counts_as(pair.there, other.token, other) == "owner"


async def test_another_name_ends_no_session(pair: Pair, user: User) -> None:
    for body in ({"name": "Ann B."}, {"email": user.email, "emailVisibility": True}):
        changed = await pair.here.patch(f"{RECORDS}/{user.id}", json=body, headers=user.headers)
        assert changed.status_code == 200
    assert await counts_as(pair.there, user.token, user) == "owner"
    assert len(await sessions(pair.here, user.token)) == 1


async def test_a_user_who_is_gone_has_no_sessions(pair: Pair, user: User) -> None:
    assert await counts_as(pair.there, user.token, user) == "owner"
    assert (await pair.here.delete(f"{RECORDS}/{user.id}", headers=user.headers)).status_code == 204

    async def status() -> int:
        return (await pair.there.get("/sessions", headers=user.headers)).status_code

    await eventually(status, lambda status: status == 401, seconds=1)


async def test_a_password_that_was_changed_behind_our_back_ends_the_session_at_the_next_refresh(
    pair: Pair, user: User, superuser: httpx.AsyncClient
) -> None:
    fields = {"password": "another-horse", "passwordConfirm": "another-horse"}
    await superuser.patch(f"{RECORDS}/{user.id}", json=fields)
    assert await counts_as(pair.here, user.token, user) == "guest"
    assert (await refresh(pair.here, user.token)).status_code == 401
    assert (await pair.there.get("/sessions", headers=user.headers)).status_code == 401


async def test_a_password_reset_by_mail_ends_every_session(
    pair: Pair, user: User, superuser: httpx.AsyncClient
) -> None:
    async with mail_server() as mail:
        smtp = {"enabled": True, "host": "127.0.0.1", "port": mail.port}
        await superuser.patch("/api/settings", json={"smtp": smtp})
        try:
            asked = await pair.here.post(f"{USERS}/request-password-reset", json={"email": user.email})
            assert asked.status_code == 204
            found = re.search(r"confirm-password-reset/([\w.-]+)", await mail.text())
            assert found
        finally:
            await superuser.patch("/api/settings", json={"smtp": {"enabled": False}})
    assert await counts_as(pair.there, user.token, user) == "owner"
    forged = ".".join(["h", base64url(json.dumps({"id": user.id, "collectionId": "_pb_users_auth_"}).encode()), "s"])
    fields = {"password": "another-horse", "passwordConfirm": "another-horse"}
    refused = await pair.here.post(f"{USERS}/confirm-password-reset", json={"token": forged, **fields})
    assert refused.status_code == 400
    assert await counts_as(pair.there, user.token, user) == "owner"
    done = await pair.here.post(f"{USERS}/confirm-password-reset", json={"token": found[1], **fields})
    assert done.status_code == 204
    await is_out_within_a_second(pair.there, user.token, user)


async def test_whoever_signed_up_with_a_foreign_address_is_out_when_its_owner_comes(
    pair: Pair, superuser: httpx.AsyncClient
) -> None:
    squatter = await signed_up(pair.there)
    assert await counts_as(pair.there, squatter.token, squatter) == "owner"
    async with oauth2_provider() as provider:
        provider.user = {"sub": secrets.token_hex(8), "email": squatter.email, "email_verified": True, "name": "Ann"}
        await superuser.patch("/api/collections/users", json={"oauth2": provider.settings()})
        try:
            body = {"provider": "oidc", "code": "code", "codeVerifier": "v" * 43, "redirectURL": "http://localhost/"}
            answer = await pair.here.post(f"{USERS}/auth-with-oauth2", json=body)
        finally:
            await superuser.patch("/api/collections/users", json={"oauth2": {"enabled": False}})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["record"]["id"], claims_in(told["token"])["gen"]) == (squatter.id, 1)
    assert "HS256" not in answer.text
    await is_out_within_a_second(pair.there, squatter.token, squatter)
    assert [item["id"] for item in await sessions(pair.there, told["token"])] == [claims_in(told["token"])["sid"]]


async def test_a_banned_user_is_out_within_a_second_and_stays_out_until_the_pardon(
    pair: Pair, user: User, guarded: PocketBaseServer, valkey_url: str
) -> None:
    async with Redis.from_url(valkey_url) as valkey:
        assert await counts_as(pair.there, user.token, user) == "owner"
        await valkey.publish("gateway:user.banned", json.dumps({"v": 1, "subject": user.id}))
        await is_out_within_a_second(pair.there, user.token, user)
        with gateway_server(guarded, valkey_url, WORKERS) as started_later:
            for url in (str(pair.here.base_url), started_later.url):
                refused = await pair.here.post(f"{url}{USERS}/auth-with-password", json=credentials(user))
                assert refused.json() == {"data": {}, "message": "This account is banned.", "status": 403}
        await valkey.publish("gateway:user.pardoned", json.dumps({"v": 1, "subject": user.id}))

        async def status() -> int:
            return (await pair.there.post(f"{USERS}/auth-with-password", json=credentials(user))).status_code

        await eventually(status, lambda status: status == 200)
    assert await counts_as(pair.here, user.token, user) == "guest", "a pardon brings no session back"


async def test_a_revocation_that_another_service_told_is_carried_out(pair: Pair, user: User, valkey_url: str) -> None:
    assert await counts_as(pair.there, user.token, user) == "owner"
    async with Redis.from_url(valkey_url) as valkey:
        notice = {"v": 1, "session_id": session_in(user.token)}
        await valkey.publish("gateway:session.revoked", json.dumps(notice))
        await is_out_within_a_second(pair.there, user.token, user)

        async def is_kept() -> int:
            return await valkey.exists(f"gateway:session:{session_in(user.token)}")

        await eventually(is_kept, lambda kept: not kept)
