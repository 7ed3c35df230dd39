"""Rows in PocketBase become NATS credentials, and stop being ones."""

import asyncio
from contextlib import AsyncExitStack
from itertools import count
from typing import Any

import pytest
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NothingHeard

from common.core import subjects
from common.core.pocketbase_answers import Record
from natsync.adapters.pocketbase_rows import PocketBaseRows
from natsync.core.showing.mirrors import Write
from tests.eventually import eventually
from tests.servers.natsync import UNLIMITED, Stack, Tenants, connected_with, refused


async def test_credentials_reach_what_the_role_allows_and_nothing_else(natsync: Stack, tenants: Tenants) -> None:
    *_, creds = await tenants.someone('["orders.*"]', '["orders.>", "_INBOX.>"]')
    async with connected_with(natsync.nats_url, creds) as user:
        heard = await user.hears("orders.>")
        await user.client.publish("orders.new", b"1")
        assert (await heard.next_msg(timeout=2)).data == b"1"
        await user.client.publish("invoices.new", b"1")
        await user.is_refused("invoices.new")
        await user.client.subscribe("invoices.>")
        await user.is_refused("invoices.>")


async def test_an_empty_role_allows_everything_within_the_account_and_nothing_beyond(
    natsync: Stack, tenants: Tenants
) -> None:
    *_, ours = await tenants.someone()
    *_, theirs = await tenants.someone()
    async with connected_with(natsync.nats_url, ours) as one, connected_with(natsync.nats_url, theirs) as other:
        own, foreign = await one.hears(">"), await other.hears(">")
        await one.client.publish("orders.new", b"ours")
        assert (await own.next_msg(timeout=2)).data == b"ours"
        with pytest.raises(NothingHeard):
            await foreign.next_msg(timeout=0.2)


async def test_deactivating_a_user_cuts_its_connection_and_reactivating_issues_credentials_that_work(
    natsync: Stack, tenants: Tenants
) -> None:
    _, _, user, creds = await tenants.someone()
    async with connected_with(natsync.nats_url, creds) as live:
        await tenants.control.update("nats_users", user["id"], {"active": False})
        await live.is_cut()
    suspended = await tenants.synced(user, sync_status="inactive")
    assert (suspended["creds_file"], suspended["jwt"]) == ("", "")
    assert await refused(natsync.nats_url, creds)
    await tenants.control.update("nats_users", user["id"], {"active": True})
    fresh = await tenants.credentials(user, other_than=creds)
    async with connected_with(natsync.nats_url, fresh):
        assert await refused(natsync.nats_url, creds)


async def test_deleting_a_user_cuts_its_connection_for_good(natsync: Stack, tenants: Tenants) -> None:
    account, role, user, creds = await tenants.someone()
    neighbour = await tenants.credentials(await tenants.user(account, role))
    async with (
        connected_with(natsync.nats_url, creds) as live,
        connected_with(natsync.nats_url, neighbour) as unharmed,
    ):
        await tenants.control.delete("nats_users", user["id"])
        await live.is_cut()
        await unharmed.client.flush(timeout=2)
    assert await refused(natsync.nats_url, creds)


async def test_moving_a_user_to_another_account_ends_its_access_to_the_first(natsync: Stack, tenants: Tenants) -> None:
    _, _, user, creds = await tenants.someone()
    elsewhere = await tenants.account("elsewhere")
    async with connected_with(natsync.nats_url, creds) as live:
        await tenants.control.update("nats_users", user["id"], {"account_id": elsewhere["id"]})
        await live.is_cut()
    fresh = await tenants.credentials(user, other_than=creds)
    assert await refused(natsync.nats_url, creds)
    async with connected_with(natsync.nats_url, fresh):
        pass


async def test_editing_a_role_takes_effect_on_whoever_holds_it_with_the_credentials_they_have(
    natsync: Stack, tenants: Tenants
) -> None:
    _, role, user, creds = await tenants.someone('["a.>", "b.>"]')
    async with connected_with(natsync.nats_url, creds) as live:
        await tenants.control.update("nats_roles", role["id"], {"publish_permissions": '["a.>", "c.>"]'})
        await live.is_cut()
    async with connected_with(natsync.nats_url, creds) as again:
        heard = await again.hears("c.>")
        await again.client.publish("c.1", b"")
        await heard.next_msg(timeout=2)
        await again.client.publish("b.1", b"")
        await again.is_refused("b.1")
    assert await tenants.credentials(user) == creds


async def test_narrowing_a_users_own_lists_ends_what_its_old_credentials_allowed(
    natsync: Stack, tenants: Tenants
) -> None:
    account, role = await tenants.account(), await tenants.role('["r.>"]')
    user = await tenants.user(account, role, publish_permissions='["a.>", "b.>"]')
    creds = await tenants.credentials(user)
    async with connected_with(natsync.nats_url, creds) as live:
        await tenants.control.update("nats_users", user["id"], {"publish_permissions": '["a.>"]'})
        await live.is_cut()
    fresh = await tenants.credentials(user, other_than=creds)
    assert await refused(natsync.nats_url, creds)
    async with connected_with(natsync.nats_url, fresh) as narrowed:
        await narrowed.client.publish("b.1", b"")
        await narrowed.is_refused("b.1")


async def test_widening_a_users_own_lists_leaves_its_live_connections_alone(natsync: Stack, tenants: Tenants) -> None:
    account, role = await tenants.account(), await tenants.role('["r.>"]')
    user = await tenants.user(account, role)
    creds = await tenants.credentials(user)
    async with connected_with(natsync.nats_url, creds) as live:
        await tenants.control.update("nats_users", user["id"], {"publish_permissions": '["b.>"]'})
        fresh = await tenants.credentials(user, other_than=creds)
        await live.client.flush(timeout=2)
    async with connected_with(natsync.nats_url, fresh) as wider:
        heard = await wider.hears("b.>")
        await wider.client.publish("b.1", b"")
        await heard.next_msg(timeout=2)


async def test_rotating_keys_cuts_every_user_once_and_issues_new_credentials(natsync: Stack, tenants: Tenants) -> None:
    account, _, user, creds = await tenants.someone()
    before = await tenants.synced(account)
    async with connected_with(natsync.nats_url, creds) as live:
        await tenants.control.update("nats_accounts", account["id"], {"rotate_keys": True})
        await live.is_cut()
    fresh = await tenants.credentials(user, other_than=creds)
    assert await refused(natsync.nats_url, creds)
    async with connected_with(natsync.nats_url, fresh):
        after = await tenants.synced(account, rotate_keys=False)
        assert after["public_key"] == before["public_key"]
        assert after["signing_public_key"] != before["signing_public_key"]


async def test_a_trigger_that_is_raised_again_as_soon_as_it_is_cleared_counts_again(tenants: Tenants) -> None:
    account, _, user, _ = await tenants.someone()
    keys = {(await tenants.synced(account))["signing_public_key"]}
    for number in range(1, 4):
        await tenants.control.update("nats_accounts", account["id"], {"rotate_keys": True})
        await eventually(lambda: cleared(tenants, account))
        keys.add((await tenants.synced(account, sync_revision=number))["signing_public_key"])
    assert len(keys) == 4
    await tenants.synced(user)


async def cleared(tenants: Tenants, account: Record) -> bool:
    return not (await tenants.control.record("nats_accounts", account["id"]))["rotate_keys"]


async def test_regenerating_issues_another_token_and_leaves_the_old_one_valid(natsync: Stack, tenants: Tenants) -> None:
    _, _, user, creds = await tenants.someone()
    await tenants.control.update("nats_users", user["id"], {"regenerate": True})
    fresh = await tenants.credentials(user, other_than=creds)
    await tenants.synced(user, regenerate=False)
    async with connected_with(natsync.nats_url, creds), connected_with(natsync.nats_url, fresh):
        pass


@pytest.mark.parametrize("by_deleting", [False, True])
async def test_an_account_that_is_switched_off_or_deleted_is_off_the_servers(
    natsync: Stack, tenants: Tenants, by_deleting: bool
) -> None:
    account, _, user, creds = await tenants.someone()
    async with connected_with(natsync.nats_url, creds) as live:
        if by_deleting:
            await tenants.control.delete("nats_users", user["id"])
            await tenants.control.delete("nats_accounts", account["id"])
        else:
            await tenants.control.update("nats_accounts", account["id"], {"active": False})
        await live.is_cut()

    async def turned_away() -> bool:
        return await refused(natsync.nats_url, creds)

    await eventually(turned_away)


async def test_an_account_that_is_switched_on_again_lets_its_users_in_but_not_those_deleted_meanwhile(
    natsync: Stack, tenants: Tenants
) -> None:
    account, role, user, creds = await tenants.someone()
    other = await tenants.user(account, role)
    others = await tenants.credentials(other)
    await tenants.control.update("nats_accounts", account["id"], {"active": False})
    await tenants.synced(user, sync_status="inactive", sync_error="its account is inactive")
    await tenants.control.delete("nats_users", other["id"])
    await tenants.control.update("nats_accounts", account["id"], {"active": True})
    await tenants.synced(account)
    await tenants.synced(user)

    async def lets_in() -> bool:
        return not await refused(natsync.nats_url, creds)

    async def keeps_out() -> bool:
        return await refused(natsync.nats_url, others)

    await eventually(lets_in)
    await eventually(keeps_out)


async def test_a_bad_row_is_set_aside_with_its_reason_and_the_others_go_on(natsync: Stack, tenants: Tenants) -> None:
    account = await tenants.account()
    broken = [await tenants.role(text) for text in ("[", '["a b"]', '{"a": 1}', '["a..b"]', '["a.>.b"]')]
    users = [await tenants.user(account, role) for role in broken]
    well = await tenants.credentials(await tenants.user(account, await tenants.role()))
    async with connected_with(natsync.nats_url, well):
        pass
    for role, user in zip(broken, users, strict=True):
        assert "publish_permissions" in (await tenants.synced(role, sync_status="error"))["sync_error"]
        assert (await tenants.synced(user, sync_status="error"))["creds_file"] == ""


async def test_a_user_whose_role_breaks_keeps_its_access_and_can_still_be_cut_off(
    natsync: Stack, tenants: Tenants
) -> None:
    _, role, user, creds = await tenants.someone()
    async with connected_with(natsync.nats_url, creds) as live:
        await tenants.control.update("nats_roles", role["id"], {"subscribe_permissions": "nonsense"})
        await tenants.synced(user, sync_status="error")
        await live.client.flush(timeout=2)
        await tenants.control.update("nats_users", user["id"], {"active": False})
        await live.is_cut()


async def test_limits_left_out_are_zero_and_the_row_says_what_that_means(natsync: Stack, tenants: Tenants) -> None:
    account = await tenants.account(**dict.fromkeys(UNLIMITED, 0))
    user = await tenants.user(account, await tenants.role())
    shown = await tenants.synced(account)
    assert "max_connections is 0: nobody can connect" in shown["sync_error"]
    with pytest.raises(Exception, match="maximum account active connections"):
        async with connected_with(natsync.nats_url, await tenants.credentials(user)):
            pass


async def test_a_connection_limit_is_the_accounts(natsync: Stack, tenants: Tenants) -> None:
    account = await tenants.account(max_connections=1)
    creds = await tenants.credentials(await tenants.user(account, await tenants.role()))
    async with AsyncExitStack() as open_ones:
        await open_ones.enter_async_context(connected_with(natsync.nats_url, creds))
        with pytest.raises(Exception, match="maximum account active connections"):
            await open_ones.enter_async_context(connected_with(natsync.nats_url, creds))


async def test_a_row_created_without_active_stays_off_and_says_so(tenants: Tenants) -> None:
    account = await tenants.account(active=False)
    assert "active is false" in (await tenants.synced(account, sync_status="inactive"))["sync_error"]


async def test_copies_that_someone_edited_are_put_right(tenants: Tenants) -> None:
    account, _, user, creds = await tenants.someone()
    right = await tenants.synced(account)
    await tenants.control.update("nats_accounts", account["id"], {"public_key": "AFAKE", "jwt": "x", "seed": "x"})
    await tenants.control.update("nats_users", user["id"], {"creds_file": "mine", "sync_status": "fine"})
    await tenants.synced(account, **{name: right[name] for name in ("public_key", "jwt", "seed")})
    await tenants.synced(user, creds_file=creds)


async def test_what_natsync_writes_undoes_no_one_elses_edit(tenants: Tenants) -> None:
    """PocketBase's own PATCH would: about one edit in sixty is lost to it at this rate."""
    account = await tenants.account(active=False)
    rows = PocketBaseRows(tenants.control)
    writing = True

    async def write() -> None:
        for number in count():
            await rows.show([Write("nats_accounts", account["id"], {"sync_error": str(number)})])
            if not writing:
                return

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write())
        for number in range(150):
            await tenants.control.update("nats_accounts", account["id"], {"description": str(number)})
            await asyncio.sleep(0)
            seen = await tenants.control.record("nats_accounts", account["id"])
            assert seen["description"] == str(number)
        writing = False


async def test_a_stale_token_on_the_servers_is_replaced_within_a_sweep(natsync: Stack, tenants: Tenants) -> None:
    """As after a restored backup: the servers take an older token for good, and would let a deleted user in."""
    account, role, user, creds = await tenants.someone()
    await tenants.user(account, role)
    stale = (await tenants.synced(account))["jwt"]
    await tenants.control.delete("nats_users", user["id"])

    async def token_moved() -> bool:
        return (await tenants.control.record("nats_accounts", account["id"]))["jwt"] != stale

    async def turned_away() -> bool:
        return await refused(natsync.nats_url, creds)

    await eventually(token_moved)
    await eventually(turned_away)
    async with connected_with(natsync.nats_url, natsync.directory / "creds" / "sys.creds", name="sys") as system:
        answer = await system.client.request(subjects.CLAIMS_UPDATE, stale.encode(), timeout=2)
        assert b"jwt updated" in answer.data
    await eventually(turned_away)


async def test_storage_limits_switch_jetstream_on_and_off_and_streams_survive(natsync: Stack, tenants: Tenants) -> None:
    storage: dict[str, Any] = {"max_jetstream_disk_storage": 1_000_000, "max_jetstream_memory_storage": -1}
    account = await tenants.account(**storage)
    creds = await tenants.credentials(await tenants.user(account, await tenants.role()))
    async with connected_with(natsync.nats_url, creds) as user:
        stream = user.client.jetstream(timeout=2)
        await stream.add_stream(name="ORDERS", subjects=["orders.>"], max_bytes=10_000)
        await stream.publish("orders.1", b"kept")

        async def available() -> bool:
            try:
                return (await stream.stream_info("ORDERS")).state.messages == 1
            except NatsError:
                return False

        await tenants.control.update("nats_accounts", account["id"], dict.fromkeys(storage, 0))
        await eventually(available, lambda seen: not seen)
        await tenants.control.update("nats_accounts", account["id"], storage)
        await eventually(available)
