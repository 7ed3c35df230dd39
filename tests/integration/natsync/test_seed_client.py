"""What pb-nats's own documentation tells clients to do, with npm's `pocketbase` and `nats` as they are."""

import json
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import httpx
import pytest

from common.core.pocketbase_answers import Record
from tests.servers import node
from tests.servers.gateway import GatewayServer, User, gateway_server, signed_up
from tests.servers.natsync import PASSWORD, Stack, Tenants

SCRIPT = Path(__file__).with_name("seed_client.mjs")
PUBLISH = '["sensors.>", "alerts.>"]'
SUBSCRIBE = '["sensors.>", "_INBOX.>"]'
UNLIMITED, DISABLED, SOME = -1, 0, 2


@pytest.fixture(scope="module", autouse=True)
def packages() -> None:
    node.install()


@pytest.fixture(scope="module")
def gateway(natsync: Stack, valkey_url: str) -> Generator[GatewayServer]:
    with gateway_server(natsync.pocketbase, valkey_url) as running:
        yield running


@pytest.fixture
async def platform_user(gateway: GatewayServer) -> AsyncGenerator[User]:
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        yield await signed_up(client)


async def flow(natsync: Stack, name: str, **given: Any) -> Any:
    known = natsync.pocketbase
    place = {"nats": natsync.nats_url, "pocketbase": known.url, "email": known.email, "password": known.password}
    return json.loads(await node.run(SCRIPT, name, json.dumps({**place, **given}), seconds=90))


def itself(natsync: Stack, user: Record) -> dict[str, str]:
    """Logged in to `nats_users`, as the seed writes it but for the collection."""
    url = natsync.pocketbase.url
    return {"url": url, "collection": "nats_users", "email": user["email"], "password": PASSWORD}


async def somebody(tenants: Tenants, **fields: Any) -> tuple[Record, Record]:
    """An account and a user of it whose credentials are there."""
    account, role = await tenants.account(), await tenants.role(PUBLISH, SUBSCRIBE)
    user = await tenants.user(account, role, **fields)
    await tenants.credentials(user)
    return account, user


def is_within_permissions(told: Any) -> bool:
    refused = [text for text in told["refusals"] if "PERMISSIONS_VIOLATION" in text]
    return (told["seen"], told["allowed"], len(refused)) == ([json.dumps({"temp": 23.5}, separators=(",", ":"))], 0, 2)


async def test_a_user_logged_in_to_nats_users_connects_and_stays_within_its_permissions(
    natsync: Stack, tenants: Tenants
) -> None:
    _, user = await somebody(tenants)
    told = await flow(natsync, "uses", who=itself(natsync, user))
    assert is_within_permissions(told), told


async def test_a_platform_user_does_the_same_through_the_gateway_with_the_row_that_is_linked_to_it(
    natsync: Stack, tenants: Tenants, gateway: GatewayServer, platform_user: User
) -> None:
    await somebody(tenants, user=platform_user.id)
    login = {"email": platform_user.email, "password": platform_user.password}
    told = await flow(natsync, "uses", who={"url": gateway.url, "collection": "users", **login})
    assert is_within_permissions(told), told


async def test_two_accounts_do_not_hear_each_other(natsync: Stack, tenants: Tenants) -> None:
    (_, one), (_, other) = await somebody(tenants), await somebody(tenants)
    told = await flow(natsync, "apart", here=itself(natsync, one), there=itself(natsync, other))
    assert told == {"one": ["of one"], "other": ["of the other"]}


async def test_rotate_keys_cuts_everybody_and_new_credentials_are_there_to_fetch(
    natsync: Stack, tenants: Tenants
) -> None:
    account, user = await somebody(tenants)
    before = await tenants.synced(account)
    told = await flow(natsync, "rotates", account=account["id"], user=user["id"])
    assert told == {
        "cut": True,
        "old_refused": True,
        "new_refused": False,
        "same_key": True,
        "account_public_key": before["public_key"],
        "rotate_keys": False,
    }


async def test_regenerate_issues_anew_with_the_same_key(natsync: Stack, tenants: Tenants) -> None:
    _, user = await somebody(tenants)
    told = await flow(natsync, "regenerates", user=user["id"])
    assert told == {"same_key": True, "regenerate": False, "old_refused": False, "new_refused": False}


async def test_limits_are_unlimited_disabled_or_a_number(natsync: Stack, tenants: Tenants) -> None:
    account, user = await somebody(tenants)
    limits = {
        "two connections": {"max_connections": SOME},
        "no connection": {"max_connections": DISABLED},
        "any connections": {"max_connections": UNLIMITED},
        "two subscriptions": {"max_subscriptions": SOME},
        "no subscription": {"max_subscriptions": DISABLED},
        "any subscriptions": {"max_subscriptions": UNLIMITED, "max_jetstream_disk_storage": 1024},
        "small messages": {"max_payload": 99},
        "no payload": {"max_payload": DISABLED},
        "any payload": {"max_payload": UNLIMITED},
    }
    told = await flow(natsync, "limits", account=account["id"], user=user["id"], limits=limits)
    everything = {"connections": 3, "delivered": 1, "subscriptions": 3}
    assert told == {
        "two connections": {**everything, "connections": 2},
        "no connection": {"connections": 0, "delivered": 0, "subscriptions": 0},
        "any connections": everything,
        "two subscriptions": {**everything, "subscriptions": 2},
        "no subscription": {**everything, "delivered": 0, "subscriptions": 0},
        "any subscriptions": everything,
        "small messages": {**everything, "delivered": 0},
        "no payload": {**everything, "delivered": 0},
        "any payload": everything,
    }
