"""pb-nats's options, as settings, at work."""

import signal
import time
from collections.abc import Generator
from contextlib import ExitStack

import pytest

from common.core import subjects
from natsync.adapters.pocketbase_names import NamedPocketBase
from natsync.core.claims.token_codec import unverified
from natsync.core.collections.collection_names import CollectionNames
from tests.eventually import eventually
from tests.servers.issuer import ISSUER, issuer
from tests.servers.nats import nats_process
from tests.servers.natsync import (
    Stack,
    Tenants,
    connected_with,
    logged_in_with,
    prepare,
    refused,
    running_stack,
    stack,
    tenants_of,
)


@pytest.fixture(scope="module")
def chosen() -> Generator[Stack]:
    with running_stack(
        NATSYNC_OPERATOR_NAME="stone-age.io",
        NATSYNC_EVENT_FILTER="nats_roles.create",
        NATSYNC_SWEEP_SECONDS="3600",
        NATSYNC_DEFAULT_PUBLISH_PERMISSIONS="own.>,shared",
        NATSYNC_DEFAULT_SUBSCRIBE_PERMISSIONS="own.>,_INBOX.>",
        NATSYNC_DEFAULT_JWT_EXPIRY_SECONDS="3600",
    ) as running:
        yield running


async def test_events_that_are_filtered_out_wait_and_are_not_lost(chosen: Stack) -> None:
    """What the next pass finds, whatever it began for, is carried out: here a role that is created."""
    gateway = connected_with(chosen.nats_url, chosen.directory / "creds" / "gateway.creds", name="gateway")
    async with tenants_of(chosen) as tenants, gateway as listener:
        await (await listener.hears(subjects.RECORDS_HEARTBEAT)).next_msg(timeout=20)
        heard = await listener.hears(subjects.record("nats_users", "create"))
        role = await tenants.role()
        await tenants.synced(role)
        account = await tenants.account()
        user = await tenants.user(account, role)
        await heard.next_msg(timeout=5)
        assert (await tenants.control.record("nats_users", user["id"]))["sync_status"] == ""
        await tenants.role()
        async with connected_with(chosen.nats_url, await tenants.credentials(user)):
            pass


async def test_defaults_count_where_neither_role_nor_user_says_anything(chosen: Stack) -> None:
    async with tenants_of(chosen) as tenants:
        account = await tenants.account()
        named = await tenants.role('["other.>"]')
        empty = await tenants.role()
        users = [await tenants.user(account, role) for role in (empty, named)]
        await tenants.role()
        by_default, by_role = [await tenants.credentials(user) for user in users]
        async with connected_with(chosen.nats_url, by_default) as live:
            heard = await live.hears("own.>")
            await live.client.publish("own.thing", b"1")
            assert (await heard.next_msg(timeout=2)).data == b"1"
            await live.client.publish("other.thing", b"")
            await live.is_refused("other.thing")
        async with connected_with(chosen.nats_url, by_role) as live:
            await live.client.publish("own.thing", b"")
            await live.is_refused("own.thing")
        claims = unverified(by_default.splitlines()[1])
        assert 3500 < claims["exp"] - time.time() <= 3600


async def test_the_operator_has_the_name_it_was_given(chosen: Stack) -> None:
    async with tenants_of(chosen) as tenants:
        (row,) = await tenants.control.records("nats_system_operator")
    assert (row["name"], unverified(row["jwt"])["name"]) == ("stone-age.io", "stone-age.io")


async def test_no_call_of_pocketbase_waits_for_nats() -> None:
    """While nats-server is frozen rows are written as fast as ever; what they ask for is carried out afterwards."""
    with stack() as fresh, ExitStack() as running:
        assert fresh.command("bootstrap").returncode == 0
        prepare(fresh.pocketbase)
        configuration = fresh.directory / "nats.conf"
        server = running.enter_context(nats_process(configuration, fresh.nats_port, fresh.home / "nats.log"))
        running.enter_context(fresh.serving())
        async with tenants_of(fresh) as tenants:
            *_, user, creds = await tenants.someone()
            server.send_signal(signal.SIGSTOP)
            begun = time.monotonic()
            for number in range(20):
                await tenants.control.update("nats_users", user["id"], {"active": False, "description": str(number)})
            assert time.monotonic() - begun < 2
            server.send_signal(signal.SIGCONT)
            await eventually(lambda: refused(fresh.nats_url, creds), seconds=20)


async def test_collections_may_have_other_names() -> None:
    names = CollectionNames("tenants", "positions", "devices")
    chosen = {
        "NATSYNC_ACCOUNT_COLLECTION_NAME": "tenants",
        "NATSYNC_ROLE_COLLECTION_NAME": "positions",
        "NATSYNC_USER_COLLECTION_NAME": "devices",
    }
    with issuer() as signing, stack(issuer=ISSUER, jwks_url=signing.jwks_url, **chosen) as fresh:
        assert fresh.command("bootstrap").returncode == 0
        again = fresh.command("bootstrap")
        assert again.stdout == "natsync bootstrap: done\n"
        with fresh.nats(), fresh.serving():
            async with tenants_of(fresh) as plain:
                await plain.control.request("PATCH", "/api/settings", {"batch": {"enabled": True}})
                tenants = Tenants(NamedPocketBase(plain.control, names), fresh)
                account, _, user, creds = await tenants.someone()
                assert (await plain.control.record("devices", user["id"]))["creds_file"] == creds
                token = signing.token(user["id"], aud=["natsync"], collectionName="devices")
                async with connected_with(fresh.nats_url, creds) as live, logged_in_with(fresh.nats_url, token):
                    action = {"verb": "suspend", "collection": "devices", "record": user["id"]}
                    await plain.control.create("nats_actions", action)
                    await live.is_cut()
                await plain.control.update("tenants", account["id"], {"rotate_keys": True})
                await tenants.synced(account, rotate_keys=False)
                made = {one["name"] for one in await plain.control.collections()}
        assert {"tenants", "positions", "devices", "natsync_keys"} <= made
        assert not {"nats_accounts", "nats_roles", "nats_users"} & made
