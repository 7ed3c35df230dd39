"""Servers that refuse: with no room for a further account, or that may not forget one."""

from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace

import pytest
from nats.aio.msg import Msg

from tests.eventually import eventually
from tests.servers.nats_cluster import Cluster, Trust, nats_cluster
from tests.servers.natsync import Stack, Tenants, connected_with, prepare, refused, stack, tenants_of


@dataclass(frozen=True, slots=True)
class Platform:
    stack: Stack
    cluster: Cluster

    @property
    def url(self) -> str:
        return self.cluster.nodes[0].url


@contextmanager
def platform(*, allow_delete: bool = True, room_for: int = 1000) -> Generator[Platform]:
    """One server; `room_for` so many accounts beside the platform's own."""
    with ExitStack() as running:
        fresh = running.enter_context(stack())
        done = fresh.command("bootstrap")
        assert done.returncode == 0, done.stderr
        prepare(fresh.pocketbase)
        trust = Trust.of(fresh.directory / "nats.conf")
        trust = replace(trust, allow_delete=allow_delete, limit=len(trust.preload) + room_for)
        cluster = running.enter_context(nats_cluster(trust, nodes=1))
        fresh.environment["NATS_URL"] = cluster.url
        running.enter_context(fresh.serving())
        yield Platform(fresh, cluster)


@pytest.fixture
def cramped() -> Generator[Platform]:
    with platform(room_for=1) as running:
        yield running


@pytest.fixture
def unforgetting() -> Generator[Platform]:
    with platform(allow_delete=False) as running:
        yield running


@asynccontextmanager
async def tenants_and_publications(running: Platform) -> AsyncGenerator[tuple[Tenants, list[str]]]:
    """And whatever the server is told from now on."""
    said: list[str] = []

    async def hear(message: Msg) -> None:
        said.append(message.data.decode())

    async with AsyncExitStack() as opened:
        tenants = await opened.enter_async_context(tenants_of(running.stack))
        creds = running.stack.directory / "creds/sys.creds"
        watching = await opened.enter_async_context(connected_with(running.url, creds, name="sys"))
        await watching.client.subscribe("$SYS.REQ.CLAIMS.UPDATE", cb=hear)
        await watching.client.flush()
        yield tenants, said


async def test_an_account_for_which_there_is_no_room_waits_in_the_queue_and_delays_nobody(cramped: Platform) -> None:
    async with tenants_of(cramped.stack) as tenants:
        first, role, user, creds = await tenants.someone()
        late = await tenants.account("late")
        waiting = await tenants.synced(late, sync_status="pending")
        assert "full" in waiting["sync_error"]
        (row,) = await eventually(lambda: tenants.control.records("natsync_queue"))
        assert (row["account"], row["action"]) == (late["id"], "publish")
        assert row["attempts"] >= 1
        async with connected_with(cramped.url, creds) as live:
            await tenants.control.delete("nats_users", user["id"])
            await live.is_cut()
        await tenants.control.delete("nats_accounts", first["id"])
        await tenants.synced(late)
        await eventually(lambda: tenants.control.records("natsync_queue"), lambda rows: rows == [])
        await tenants.credentials(await tenants.user(late, role))


async def test_an_account_that_cannot_be_removed_is_locked_and_can_be_opened_again(unforgetting: Platform) -> None:
    async with tenants_and_publications(unforgetting) as (tenants, said):
        account, _, user, creds = await tenants.someone()
        async with connected_with(unforgetting.url, creds) as live:
            await tenants.control.update("nats_accounts", account["id"], {"active": False})
            await live.is_cut()
        await tenants.synced(account, sync_status="inactive")
        assert await refused(unforgetting.url, creds)
        settled = len(said)
        neighbour = await tenants.account("neighbour")
        await tenants.synced(neighbour)  # at least one further pass
        assert len(said) == settled + 1
        await tenants.control.update("nats_accounts", account["id"], {"active": True})
        await tenants.synced(account)
        async with connected_with(unforgetting.url, await tenants.credentials(user)):
            pass
