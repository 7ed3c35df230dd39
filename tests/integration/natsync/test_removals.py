"""Many rows gone at once are taken for a mistake; and whoever comes back at once is let in again."""

from common.adapters.pocketbase import record_path
from common.core.pocketbase_answers import Record
from natsync.core.claims import unverified
from tests.eventually import eventually
from tests.servers.natsync import Stack, Tenants, connected_with, refused, running_stack, tenants_of

TOO_MANY = 21
CYCLES = 4
MEANWHILE = """
onRecordUpdate((event) => {
  if (event.record.get("description") === "hesitant" && event.record.get("sync_status") === "inactive") {
    event.record.set("active", true)
  }
  event.next()
}, "nats_users")
"""
"""Somebody else's change, the moment before natsync writes what it has done."""


async def operator_says(tenants: Tenants) -> str:
    (row,) = await tenants.control.records("nats_system_operator")
    return row["sync_error"]


async def deleted(tenants: Tenants, rows: list[Record]) -> None:
    """All in one transaction."""
    requests = [{"method": "DELETE", "url": record_path(row["collectionName"], row["id"])} for row in rows]
    await tenants.control.batch(requests)


async def test_a_mass_deletion_removes_nobody_until_somebody_says_so_and_delays_no_cut(
    natsync: Stack, tenants: Tenants
) -> None:
    role = await tenants.role()
    accounts = [await tenants.account(f"mass{number}") for number in range(TOO_MANY)]
    user = await tenants.user(accounts[0], role)
    _, _, suspended, others = await tenants.someone()
    creds = await tenants.credentials(user)
    for account in accounts:
        await tenants.synced(account)
    async with connected_with(natsync.nats_url, creds) as live, connected_with(natsync.nats_url, others) as cut:
        await deleted(tenants, [user, *accounts])
        said = await eventually(lambda: operator_says(tenants))
        assert f"{TOO_MANY} of" in said
        await tenants.control.update("nats_users", suspended["id"], {"active": False})
        await cut.is_cut()
        await live.client.flush(timeout=2)
        assert not await refused(natsync.nats_url, creds)
        action = await tenants.control.create("nats_actions", {"verb": "allow_removals", "reason": "they are gone"})
        await live.is_cut()
    await eventually(lambda: refused(natsync.nats_url, creds))
    await eventually(lambda: operator_says(tenants), lambda error: error == "")
    await eventually(lambda: tenants.control.record("nats_actions", action["id"]), lambda row: row["status"] == "done")


async def test_who_is_suspended_and_resumed_within_a_second_is_let_in_with_new_credentials_alone(
    natsync: Stack, tenants: Tenants
) -> None:
    _, _, user, creds = await tenants.someone()
    dates = [unverified(token_of(creds))["iat"]]
    for _ in range(CYCLES):
        async with connected_with(natsync.nats_url, creds) as live:
            await tenants.control.update("nats_users", user["id"], {"active": False})
            await live.is_cut()
        await tenants.control.update("nats_users", user["id"], {"active": True})
        fresh = await tenants.credentials(user, other_than=creds)
        async with connected_with(natsync.nats_url, fresh):
            assert await refused(natsync.nats_url, creds)
        creds = fresh
        dates.append(unverified(token_of(creds))["iat"])
    assert dates == sorted(set(dates))  # later than every cut, be the clock's second the same


async def test_what_somebody_changes_while_natsync_writes_the_row_is_seen_without_a_sweep() -> None:
    with running_stack(hooks=MEANWHILE, NATSYNC_SWEEP_SECONDS="3600") as stack:
        async with tenants_of(stack) as tenants:
            _, _, user, creds = await tenants.someone()
            await tenants.control.update("nats_users", user["id"], {"active": False, "description": "hesitant"})
            fresh = await tenants.credentials(user, other_than=creds)
            async with connected_with(stack.nats_url, fresh):
                assert await refused(stack.nats_url, creds)


def token_of(creds: str) -> str:
    return creds.splitlines()[1]
