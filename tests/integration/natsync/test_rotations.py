"""Keys are rotated while somebody edits the same rows without pause: PocketBase's PATCH writes whole rows back.

Whoever rotates waits for `synced`: until then an edit may bring the trigger back that was just carried out.
"""

import asyncio
from itertools import count

from common.core import subjects
from common.core.pocketbase_answers import Record
from natsync.core.claims import unverified
from tests.eventually import eventually
from tests.integration.natsync.test_killed import witness_of
from tests.servers.natsync import Stack, Tenants, connected_with, refused
from tests.thorough import times

ACCOUNTS = 4
ROTATIONS = times(24, 100)


async def edited_until(done: asyncio.Event, tenants: Tenants, account: Record) -> int:
    """How many times."""
    for number in count():
        if done.is_set():
            return number
        await tenants.control.update("nats_accounts", account["id"], {"description": f"edit {number}"})
    raise AssertionError


async def rotated(tenants: Tenants, account: Record, times: int) -> None:
    for number in range(1, times + 1):
        await tenants.control.update("nats_accounts", account["id"], {"rotate_keys": True})
        await eventually(lambda number=number: carried_out(tenants, account, number))


async def carried_out(tenants: Tenants, account: Record, number: int) -> bool:
    row = await tenants.control.record("nats_accounts", account["id"])
    assert (row["rotate_keys"], row["sync_revision"], row["sync_status"]) == (False, number, "synced")
    return True


async def test_as_many_rotations_are_made_as_are_asked_for_however_often_the_rows_are_edited_meanwhile(
    natsync: Stack, tenants: Tenants
) -> None:
    role = await tenants.role()
    accounts = [await tenants.account(f"rotated{number}") for number in range(ACCOUNTS)]
    users = [await tenants.user(account, role) for account in accounts]
    before = [await tenants.credentials(user) for user in users]
    keys = [(await tenants.synced(account))["public_key"] for account in accounts]
    async with witness_of(natsync) as witness:
        done = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            edits = [tasks.create_task(edited_until(done, tenants, account)) for account in accounts]
            async with asyncio.TaskGroup() as rotating:
                for account in accounts:
                    rotating.create_task(rotated(tenants, account, ROTATIONS // ACCOUNTS))
            done.set()
        assert sum(task.result() for task in edits) > ROTATIONS
        for account, user, old in zip(accounts, users, before, strict=True):
            await tenants.synced(account, rotate_keys=False)
            await tenants.credentials(user, other_than=old)
        for key in keys:
            await the_same_everywhere(natsync, tenants, key)
        told = [witness.signing_keys(key) for key in keys]
        assert sum(map(len, told)) in (ROTATIONS, ROTATIONS + ACCOUNTS)  # the first keys may have been told again
    for old, user in zip(before, users, strict=True):
        async with connected_with(natsync.nats_url, await tenants.credentials(user)):
            assert await refused(natsync.nats_url, old)


async def the_same_everywhere(natsync: Stack, tenants: Tenants, key: str) -> None:
    """The ledger, the row, the servers and the user's credentials name one and the same signing key."""
    (row,) = await tenants.control.records("nats_accounts", filter=f'public_key = "{key}"')
    (entry,) = await tenants.control.records("natsync_keys", filter=f'kind = "account" && public_key = "{key}"')
    (user,) = await tenants.control.records("nats_users", filter=f'account_id = "{row["id"]}"')
    (scope,) = await tenants.control.records("natsync_keys", filter=f'kind = "scope" && account = "{row["id"]}"')
    assert entry["revision"] == row["sync_revision"] == ROTATIONS // ACCOUNTS
    assert row["signing_public_key"] == entry["signing_public_key"]
    async with connected_with(natsync.nats_url, natsync.directory / "creds/sys.creds", name="sys") as system:
        shown = (await system.client.request(subjects.claims_lookup(key), b"", timeout=2)).data.decode()
    assert row["jwt"] == shown
    keys = unverified(shown)["nats"]["signing_keys"]
    assert row["signing_public_key"] in keys
    issuer = unverified(user["jwt"])["iss"]
    assert issuer == scope["public_key"]
    assert issuer in [one["key"] for one in keys if isinstance(one, dict)]
