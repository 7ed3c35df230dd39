"""What nats-server lets a user do is what the rows say: for two hundred random roles and overrides."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any

from common.core.pocketbase_answers import Record
from natsync.core.claims.user_claims import ResponsePermission, UserClaims
from tests.eventually import eventually
from tests.integration.natsync.test_claims_on_server import USER_INFO, able_to_ask
from tests.random_claims import RandomClaims
from tests.servers.natsync import Stack, Tenants, connected_with
from tests.thorough import times

ROLES = times(30, 100)
AT_ONCE = 20
LISTS = ("publish_permissions", "publish_deny_permissions", "subscribe_permissions", "subscribe_deny_permissions")
DEFAULTS = {"publish_permissions": [">"], "subscribe_permissions": [">", "_INBOX.>"]}


def lists(random: RandomClaims) -> dict[str, str]:
    """Lists of a row, as people write them."""
    able = able_to_ask(UserClaims(replace(random.permissions(), response=None))).permissions
    sides = (able.publish, able.publish_deny, able.subscribe, able.subscribe_deny)
    return {name: json.dumps(side) if side else "" for name, side in zip(LISTS, sides, strict=True)}


def role_fields(random: RandomClaims) -> dict[str, Any]:
    fields: dict[str, Any] = lists(random)
    if random.maybe() and fields["publish_permissions"]:
        fields["publish_permissions"] = json.dumps([*json.loads(fields["publish_permissions"]), "in.{{name()}}.>"])
    if random.maybe():
        response = ResponsePermission(random.random.choice((-1, 0, 1, 5)), random.random.choice((-1, 0, 60)))
        fields |= {"allow_response": True, "allow_response_max": response.max_messages}
        fields |= {"allow_response_ttl": int(response.seconds)}
    return fields


def meant(user: Record, role: Record) -> tuple[Any, ...]:
    """What the rows say: both lists together, the defaults where there is nothing, and the server's for answers."""

    def side(name: str) -> frozenset[str]:
        together = [*json.loads(role[name] or "[]"), *json.loads(user[name] or "[]")] or DEFAULTS.get(name, [])
        return frozenset(each.replace("{{name()}}", user["nats_username"]) for each in together)

    responses = role["allow_response"] and {
        "max": role["allow_response_max"] or 1,
        "ttl": role["allow_response_ttl"] * 1_000_000_000 or 120_000_000_000,
    }
    return (*map(side, LISTS), responses or None)


def seen(permissions: Mapping[str, Any]) -> tuple[Any, ...]:
    sides = [permissions.get(side, {}).get(kind, ()) for side in ("publish", "subscribe") for kind in ("allow", "deny")]
    return (*map(frozenset, sides), permissions.get("responses"))


async def people(tenants: Tenants) -> list[tuple[Record, Record]]:
    """A user of each role with nothing but the role, and one with lists of its own."""
    random, account = RandomClaims(Random(11)), await tenants.account()
    found: list[tuple[Record, Record]] = []
    for _ in range(ROLES):
        role = await tenants.role(**role_fields(random))
        found += [(await tenants.user(account, role), role)]
        found += [(await tenants.user(account, role, **lists(random)), role)]
    return found


async def test_servers_allow_what_the_rows_say_for_roles_and_overrides(natsync: Stack, tenants: Tenants) -> None:
    made = await people(tenants)
    account = made[0][0]["account_id"]

    async def rows() -> dict[str, Record]:
        found = await tenants.control.records("nats_users", filter=f'account_id = "{account}"')
        return {row["id"]: row for row in found if row["sync_status"] == "synced" and row["creds_file"]}

    users = await eventually(rows, lambda found: len(found) == 2 * ROLES, seconds=60)
    gate, wrong = asyncio.Semaphore(AT_ONCE), list[tuple[Any, Any]]()

    async def ask(user: Record, role: Record) -> None:
        async with gate, connected_with(natsync.nats_url, user["creds_file"]) as connection:
            answer = await connection.client.request(USER_INFO, b"", timeout=5)
        said = json.loads(answer.data)["data"]
        if seen(said["permissions"]) != meant(user, role):
            wrong.append((said["permissions"], meant(user, role)))

    async with asyncio.TaskGroup() as tasks:
        for user, role in made:
            tasks.create_task(ask(users[user["id"]], role))
    assert wrong == []
