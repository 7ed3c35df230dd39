"""Clients that bring an access token and no credentials."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import httpx
import jwt
import nats.errors
import pytest

from common.adapters.nats_bus import open_bus
from common.core import subjects
from common.core.notices import SessionRevoked, UserBanned, UserPardoned
from common.core.pocketbase_answers import Record
from tests.eventually import eventually
from tests.servers.issuer import Issuer, RealmKey, keycloak_claims
from tests.servers.natsync import PASSWORD, Connection, Stack, Tenants, connected_with, logged_in_with, refused


async def platform_user(tenants: Tenants) -> Record:
    email = f"{uuid4().hex}@example.com"
    return await tenants.control.create("users", {"email": email, "password": PASSWORD, "passwordConfirm": PASSWORD})


def token_of(issuer: Issuer, subject: str, collection: str = "users", **claims: Any) -> str:
    """As the gateway signs it."""
    said = {"aud": ["gateway", "natsync"], "collectionName": collection, "type": "auth", **claims}
    return issuer.token(subject, **said)


def realm_claims(realm: Issuer, subject: str) -> dict[str, Any]:
    return keycloak_claims(realm.url, aud=["natsync"], sub=subject, collectionName="users")


async def linked(
    tenants: Tenants, publish: str = "", subscribe: str = "", **fields: Any
) -> tuple[Record, Record, Record, Record]:
    """A platform user, and the account, role and row of its NATS user, carried out."""
    owner = await platform_user(tenants)
    account, role = await tenants.account(), await tenants.role(publish, subscribe)
    user = await tenants.user(account, role, user=owner["id"], **fields)
    await tenants.credentials(user)
    return owner, account, role, user


async def is_let_in(natsync: Stack, token: str) -> bool:
    try:
        async with logged_in_with(natsync.nats_url, token):
            return True
    except (nats.errors.Error, OSError):
        return False


async def is_turned_away(natsync: Stack, token: str) -> bool:
    return not await is_let_in(natsync, token)


@pytest.fixture
async def told(natsync: Stack) -> AsyncGenerator[Any]:
    """What other services say, said by one that may."""
    creds = natsync.directory / "creds" / "chathub.creds"
    async with open_bus(natsync.nats_url, name="chathub", creds=creds) as bus:
        await bus.ready()
        yield bus


@pytest.fixture
async def gateway_bus(natsync: Stack) -> AsyncGenerator[Any]:
    async with open_bus(natsync.nats_url, name="gateway", creds=natsync.directory / "creds" / "gateway.creds") as bus:
        await bus.ready()
        yield bus


async def test_a_platform_users_token_is_a_login_with_the_rights_of_its_row(
    natsync: Stack, tenants: Tenants, platform_issuer: Issuer
) -> None:
    owner, *_ = await linked(tenants, '["orders.*"]', '["orders.>", "_INBOX.>"]')
    async with logged_in_with(natsync.nats_url, token_of(platform_issuer, owner["id"])) as client:
        heard = await client.hears("orders.>")
        await client.client.publish("orders.new", b"1")
        assert (await heard.next_msg(timeout=2)).data == b"1"
        await client.client.publish("invoices.new", b"1")
        await client.is_refused("invoices.new")


async def test_it_is_in_the_same_account_as_the_same_users_credentials(
    natsync: Stack, tenants: Tenants, platform_issuer: Issuer
) -> None:
    owner, _, _, user = await linked(tenants)
    creds = await tenants.credentials(user)
    async with (
        logged_in_with(natsync.nats_url, token_of(platform_issuer, owner["id"])) as by_token,
        connected_with(natsync.nats_url, creds) as by_creds,
    ):
        heard = await by_creds.hears("greetings")
        await by_token.client.publish("greetings", b"hello")
        assert (await heard.next_msg(timeout=2)).data == b"hello"


async def test_a_nats_users_own_token_is_a_login_too(natsync: Stack, tenants: Tenants, platform_issuer: Issuer) -> None:
    *_, user, _ = await tenants.someone()
    async with logged_in_with(natsync.nats_url, token_of(platform_issuer, user["id"], "nats_users")):
        pass


async def test_another_issuers_user_is_known_by_issuer_and_subject(
    natsync: Stack, tenants: Tenants, realm: Issuer, realm_key: RealmKey
) -> None:
    account, role = await tenants.account(), await tenants.role()
    subject = uuid4().hex
    user = await tenants.user(account, role, oidc_issuer=realm.url, oidc_subject=subject)
    await tenants.credentials(user)
    async with logged_in_with(natsync.nats_url, realm_key.sign(realm_claims(realm, subject))):
        pass
    assert await is_turned_away(natsync, realm_key.sign(realm_claims(realm, "somebody-else")))


async def test_another_issuer_cannot_speak_for_a_user_of_the_gateway(
    natsync: Stack, tenants: Tenants, realm: Issuer, realm_key: RealmKey
) -> None:
    owner, *_ = await linked(tenants)
    assert await is_turned_away(natsync, realm_key.sign(realm_claims(realm, owner["id"])))


async def test_of_several_linked_users_the_one_that_is_named_logs_in(
    natsync: Stack, tenants: Tenants, platform_issuer: Issuer
) -> None:
    owner, account, _, pump = await linked(tenants, '["pump.>"]', nats_username="pump")
    other = await tenants.role('["valve.>"]')
    await tenants.credentials(await tenants.user(account, other, user=owner["id"], nats_username="valve"))
    token = token_of(platform_issuer, owner["id"])
    assert await is_turned_away(natsync, token)
    async with logged_in_with(natsync.nats_url, token, user="valve") as valve:
        await valve.client.publish("pump.1", b"")
        await valve.is_refused("pump.1")
    async with logged_in_with(natsync.nats_url, token, user=pump["id"]):
        pass
    with pytest.raises(nats.errors.Error):
        async with logged_in_with(natsync.nats_url, token, user="turbine"):
            pass


@pytest.mark.parametrize("claims", [{"exp": 1}, {"aud": ["chathub"]}, {"iss": "http://elsewhere"}, {"sub": None}])
async def test_a_token_that_does_not_count_lets_nobody_in(
    natsync: Stack, tenants: Tenants, platform_issuer: Issuer, claims: dict[str, Any]
) -> None:
    owner, *_ = await linked(tenants)
    assert await is_turned_away(natsync, token_of(platform_issuer, owner["id"], **claims))


@pytest.mark.parametrize("token", ["nonsense", "a.b.c", "x" * 3000])
async def test_what_is_no_token_lets_nobody_in(natsync: Stack, token: str) -> None:
    assert await is_turned_away(natsync, token)


async def test_whoever_is_linked_to_no_row_is_turned_away(
    natsync: Stack, tenants: Tenants, platform_issuer: Issuer
) -> None:
    owner, account, _, user = await linked(tenants)
    strangers = [
        token_of(platform_issuer, (await platform_user(tenants))["id"]),
        token_of(platform_issuer, owner["id"], "devices"),
        token_of(platform_issuer, owner["id"], "nats_users"),
        token_of(platform_issuer, user["id"]),
        token_of(platform_issuer, account["id"]),
        token_of(platform_issuer, 'x" || id != "'),
    ]
    for token in strangers:
        assert await is_turned_away(natsync, token)


async def test_who_is_switched_off_refused_or_in_an_account_that_is_off_is_turned_away(
    natsync: Stack, tenants: Tenants, platform_issuer: Issuer
) -> None:
    owner, account, role, user = await linked(tenants)
    token = token_of(platform_issuer, owner["id"])
    assert await is_let_in(natsync, token)
    for collection, row, change, back in (
        ("nats_users", user, {"active": False}, {"active": True}),
        ("nats_roles", role, {"publish_permissions": "nonsense"}, {"publish_permissions": ""}),
        ("nats_accounts", account, {"active": False}, {"active": True}),
    ):
        await tenants.control.update(collection, row["id"], change)
        await eventually(lambda: is_turned_away(natsync, token))
        await tenants.control.update(collection, row["id"], back)
        await eventually(lambda: is_let_in(natsync, token))


@pytest.mark.parametrize("how", ["suspended", "deleted", "moved", "unlinked", "given another role"])
async def test_who_loses_rights_is_cut_off_live(
    natsync: Stack, tenants: Tenants, platform_issuer: Issuer, how: str
) -> None:
    owner, _, _, user = await linked(tenants)
    changes = {
        "suspended": {"active": False},
        "moved": {"account_id": (await tenants.account())["id"]},
        "unlinked": {"user": ""},
        "given another role": {"role_id": (await tenants.role('["a"]'))["id"]},
    }
    async with logged_in_with(natsync.nats_url, token_of(platform_issuer, owner["id"])) as live:
        if how == "deleted":
            await tenants.control.delete("nats_users", user["id"])
        else:
            await tenants.control.update("nats_users", user["id"], changes[how])
        await live.is_cut(seconds=1)


async def test_a_role_that_is_narrowed_counts_for_who_is_logged_in_by_token(
    natsync: Stack, tenants: Tenants, platform_issuer: Issuer
) -> None:
    owner, _, role, _ = await linked(tenants, '["a.>", "b.>"]')
    token = token_of(platform_issuer, owner["id"])
    async with logged_in_with(natsync.nats_url, token) as live:
        await tenants.control.update("nats_roles", role["id"], {"publish_permissions": '["a.>"]'})
        await live.is_cut()

    async def b_is_refused() -> bool:
        async with logged_in_with(natsync.nats_url, token) as again:
            await again.client.publish("b.1", b"")
            await again.client.flush()
            await again.client.flush()
            return any("permissions violation" in error.lower() for error in again.errors)

    await eventually(b_is_refused)


async def test_a_ban_cuts_off_live_keeps_out_and_takes_the_credentials_too_until_the_pardon(
    natsync: Stack, tenants: Tenants, platform_issuer: Issuer, told: Any
) -> None:
    owner, _, _, user = await linked(tenants)
    creds, token = await tenants.credentials(user), token_of(platform_issuer, owner["id"])
    async with logged_in_with(natsync.nats_url, token) as live:
        await told.publish(subjects.USER_BANNED, UserBanned(subject=owner["id"], reason="spam"))
        await live.is_cut(seconds=1)
    assert await is_turned_away(natsync, token)
    await tenants.synced(user, sync_status="inactive")
    assert await refused(natsync.nats_url, creds)
    await told.publish(subjects.USER_PARDONED, UserPardoned(subject=owner["id"]))
    await eventually(lambda: is_let_in(natsync, token))
    await tenants.credentials(user)


async def test_the_end_of_a_session_ends_its_login_and_its_token(
    natsync: Stack, tenants: Tenants, platform_issuer: Issuer, gateway_bus: Any
) -> None:
    owner, *_ = await linked(tenants)
    token, other = (token_of(platform_issuer, owner["id"], sid=name) for name in (uuid4().hex, uuid4().hex))
    ended = SessionRevoked(session_id=session_of(token), record_id=owner["id"], collection_id="c")
    async with logged_in_with(natsync.nats_url, token) as live:
        await gateway_bus.publish(subjects.SESSION_REVOKED, ended)
        await live.is_cut()
    assert await is_turned_away(natsync, token)
    assert await is_let_in(natsync, other)


async def test_a_session_that_is_ended_by_its_number_alone_is_known_too(
    natsync: Stack, tenants: Tenants, platform_issuer: Issuer, gateway_bus: Any
) -> None:
    owner, *_ = await linked(tenants)
    token = token_of(platform_issuer, owner["id"], sid=uuid4().hex)
    async with logged_in_with(natsync.nats_url, token) as live:
        await gateway_bus.publish(subjects.SESSION_REVOKED, SessionRevoked(session_id=session_of(token)))
        await live.is_cut()


def session_of(token: str) -> str:
    return jwt.decode(token, options={"verify_signature": False})["sid"]


async def test_a_login_ends_with_its_token(natsync: Stack, tenants: Tenants, platform_issuer: Issuer) -> None:
    owner, *_ = await linked(tenants)
    async with logged_in_with(
        natsync.nats_url, token_of(platform_issuer, owner["id"], exp=int(time.time()) + 2)
    ) as live:
        await live.is_cut()


async def test_many_who_log_in_at_once_are_all_let_in(
    natsync: Stack, tenants: Tenants, platform_issuer: Issuer
) -> None:
    owner, *_ = await linked(tenants)
    token = token_of(platform_issuer, owner["id"])
    async with AsyncExitStack() as open_ones:

        async def log_in() -> Connection:
            return await open_ones.enter_async_context(logged_in_with(natsync.nats_url, token))

        async with asyncio.TaskGroup() as tasks:
            made = [tasks.create_task(log_in()) for _ in range(60)]
        assert len([task.result() for task in made]) == 60


async def test_no_token_is_in_any_log_and_every_refusal_has_a_reason(
    natsync: Stack, tenants: Tenants, platform_issuer: Issuer
) -> None:
    token = token_of(platform_issuer, (await platform_user(tenants))["id"])
    assert await is_turned_away(natsync, token)
    log = await eventually(lambda: text_of(natsync), lambda text: "no row of nats_users is linked" in text)
    assert token not in log
    assert token.split(".")[1] not in log
    assert "eyJ" not in log


async def text_of(natsync: Stack) -> str:
    return (natsync.home / "natsync.log").read_text()


async def test_the_sentinel_alone_lets_nobody_do_anything(natsync: Stack) -> None:
    with pytest.raises((nats.errors.Error, OSError)):
        async with logged_in_with(natsync.nats_url, ""):
            pass


async def test_connections_of_both_kinds_are_reported_to_admins_and_to_nobody_else(
    natsync: Stack, tenants: Tenants, platform_issuer: Issuer
) -> None:
    owner, account, _, user = await linked(tenants)
    creds = await tenants.credentials(user)
    admin = platform_issuer.token("root", "admin", aud=["natsync"])
    async with (
        logged_in_with(natsync.nats_url, token_of(platform_issuer, owner["id"])),
        connected_with(natsync.nats_url, creds),
        httpx.AsyncClient(base_url=natsync.url, trust_env=False) as http,
    ):
        path = f"/nats/accounts/{account['id']}/connections"
        answer = await http.get(path, headers={"Authorization": f"Bearer {admin}"})
        found = answer.json()["connections"]
        assert sorted(one["login"] for one in found) == ["credentials", "token"]
        assert "eyJ" not in answer.text
        by_creds = next(one for one in found if one["login"] == "credentials")
        assert by_creds["user_id"] == user["id"]
        for bearer in ("", platform_issuer.token("someone", aud=["natsync"])):
            headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
            assert (await http.get(path, headers=headers)).status_code in (401, 403)
        nobody = await http.get("/nats/accounts/nothing/connections", headers={"Authorization": f"Bearer {admin}"})
        assert nobody.status_code == 404
