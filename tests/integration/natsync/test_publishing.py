"""What servers refuse is tried again, ever less often, across restarts, and without holding up what is new."""

from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass

import pytest

from common.adapters.pocketbase import PocketBase, open_pocketbase
from common.core.errors import UpstreamUnavailable
from natsync.adapters.nats_live_connections import NatsLiveConnections
from natsync.adapters.nats_servers import NatsServers
from natsync.adapters.nats_system_account import DeletionOff, NatsSystemAccount, NotVerified
from natsync.adapters.pocketbase_queue import COLLECTION, PocketBaseQueue
from natsync.core.claims.keys import KeyKind
from natsync.core.collections.schema import QUEUE
from natsync.core.collections.shape import creation
from natsync.core.deciding.publish_queue import QueueTerms, Work
from natsync.cut_connections import CutConnections
from natsync.publish_accounts import PublishAccounts
from tests.servers.nats_cluster import Cluster, nats_cluster
from tests.servers.nats_operator import Operator, Tenant, new_key
from tests.servers.natsync import connected_with
from tests.servers.pocketbase import PocketBaseServer
from tests.servers.system_connection import joined, trust_in

NOW = 1_700_000_000
TERMS = QueueTerms(max_attempts=2, initial_backoff_seconds=1, interval_seconds=30, retention_seconds=100,
                   cleanup_interval_seconds=10)  # fmt: skip
ROOM = 3


@dataclass(slots=True)
class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def operator() -> Operator:
    return Operator()


@pytest.fixture
def cluster(operator: Operator) -> Generator[Cluster]:
    """One server that has room for so few accounts, its own among them."""
    with nats_cluster(trust_in(operator, limit=ROOM), nodes=1) as running:
        yield running


@pytest.fixture
async def servers(cluster: Cluster, operator: Operator) -> AsyncGenerator[NatsServers]:
    async with joined(cluster, operator) as there:
        yield there


@pytest.fixture
async def control(pocketbase: PocketBaseServer) -> AsyncGenerator[PocketBase]:
    async with open_pocketbase(pocketbase.url, email=pocketbase.email, password=pocketbase.password) as control:
        if COLLECTION not in {one["name"] for one in await control.collections()}:
            await control.request("POST", "/api/collections", creation(QUEUE, {}))
        for row in await control.records(COLLECTION):
            await control.delete(COLLECTION, row["id"])
        yield control


@pytest.fixture
def clock() -> Clock:
    return Clock()


def publisher(servers: NatsServers, control: PocketBase, clock: Clock) -> PublishAccounts:
    cutting = CutConnections(NatsLiveConnections(servers), patience_seconds=2)
    return PublishAccounts(NatsSystemAccount(servers), cutting, PocketBaseQueue(control), TERMS, clock)


async def fill(publishing: PublishAccounts, operator: Operator) -> list[Tenant]:
    """The server takes no further account."""
    made = [Tenant(f"tenant{number}") for number in range(ROOM - 1)]
    for tenant in made:
        work = Work(tenant.name, "publish", "content")
        await publishing.publish(work, tenant.public_key, operator.account(tenant), before="")
    return made


async def test_what_a_server_has_no_room_for_is_tried_again_ever_less_often_until_it_has(
    servers: NatsServers, operator: Operator, control: PocketBase, clock: Clock
) -> None:
    publishing = publisher(servers, control, clock)
    await publishing.observe()
    present = await fill(publishing, operator)
    late, work = Tenant("late"), Work("late", "publish", "content")
    for attempt, wait in ((1, 1), (2, 2), (3, 4)):
        with pytest.raises(NotVerified, match="full"):
            await publishing.publish(work, late.public_key, operator.account(late), before="")
        (row,) = await control.records(COLLECTION)
        assert (row["account"], row["attempts"], row["next_try_at"]) == ("late", attempt, clock.now + wait)
        assert bool(row["failed_at"]) == (attempt >= TERMS.max_attempts)
        assert "full" in publishing.held(work)
        assert publishing.retry_in_seconds() == wait
        assert "full" in publishing.report("late")["servers"]["n1"]
        clock.now += wait
        assert publishing.held(work) == ""
    await publishing.remove(Work("gone", "remove"), present[0].public_key, operator.deletion(present[0].public_key))
    told = await publishing.publish(work, late.public_key, operator.account(late), before="")
    assert told.verified_at == clock.now
    assert told.verified == told.desired != ""
    report = publishing.report("late")
    assert (report["servers"], report["attempts"], report["error"]) == ({"n1": "verified"}, 0, "")
    assert await control.records(COLLECTION) == []
    assert publishing.tickets == {}


async def test_a_ticket_outlives_the_process_and_does_not_delay_what_is_new(
    servers: NatsServers, operator: Operator, control: PocketBase, clock: Clock
) -> None:
    first = publisher(servers, control, clock)
    await first.observe()
    await fill(first, operator)
    late, work = Tenant("late"), Work("late", "publish", "content")
    with pytest.raises(NotVerified):
        await first.publish(work, late.public_key, operator.account(late), before="")
    second = publisher(servers, control, clock)
    await second.observe()
    assert "full" in second.held(work)
    assert second.held(Work("late", "publish", "with a revocation")) == ""
    assert second.held(Work("late", "remove")) == ""


async def test_what_is_no_longer_wanted_leaves_the_queue_and_what_failed_long_ago_begins_anew(
    servers: NatsServers, operator: Operator, control: PocketBase, clock: Clock
) -> None:
    publishing = publisher(servers, control, clock)
    await publishing.observe()
    await fill(publishing, operator)
    kept, dropped = Tenant("kept"), Tenant("dropped")
    for _ in range(TERMS.max_attempts):
        for tenant in (kept, dropped):
            work = Work(tenant.name, "publish", "content")
            with pytest.raises(NotVerified):
                await publishing.publish(work, tenant.public_key, operator.account(tenant), before="")
    await publishing.tidy({"kept"})
    assert [row["account"] for row in await control.records(COLLECTION)] == ["kept"]
    clock.now += TERMS.retention_seconds
    await publishing.tidy({"kept"})
    assert await control.records(COLLECTION) == []
    assert publishing.held(Work("kept", "publish", "content")) == ""


async def test_nats_being_away_is_no_failure_of_an_account(
    cluster: Cluster, servers: NatsServers, operator: Operator, control: PocketBase, clock: Clock
) -> None:
    publishing = publisher(servers, control, clock)
    await publishing.observe()
    cluster.nodes[0].stop()
    tenant, work = Tenant("tenant"), Work("tenant", "publish", "content")
    with pytest.raises(UpstreamUnavailable):
        await publishing.publish(work, tenant.public_key, operator.account(tenant), before="")
    assert publishing.tickets == {}


async def test_a_pocketbase_that_is_away_does_not_keep_a_cut_from_the_servers(
    servers: NatsServers, operator: Operator, control: PocketBase, clock: Clock
) -> None:
    async with open_pocketbase("http://127.0.0.1:9", email="a@example.com", password="p") as away:
        publishing = publisher(servers, away, clock)
        tenant, user = Tenant("tenant"), new_key(KeyKind.USER)
        before = operator.account(tenant, issued_at=NOW)
        await publishing.publish(Work("t", "publish", "1"), tenant.public_key, before, before="")
        async with connected_with(servers.connection.server, tenant.user(user, issued_at=NOW)) as live:
            after = operator.account(tenant, issued_at=NOW + 1, revocations={user.public_key: NOW})
            told = await publishing.publish(Work("t", "publish", "2"), tenant.public_key, after, before=before)
            await live.is_cut()
            assert told.cut
            assert told.cut.left == 0


async def test_that_a_server_removes_no_account_is_for_the_caller_to_act_upon(
    operator: Operator, control: PocketBase, clock: Clock
) -> None:
    with nats_cluster(trust_in(operator, allow_delete=False), nodes=1) as cluster:
        async with joined(cluster, operator) as servers:
            publishing = publisher(servers, control, clock)
            await publishing.observe()
            tenant, user = Tenant("tenant"), new_key(KeyKind.USER)
            token = operator.account(tenant, issued_at=NOW)
            await publishing.publish(Work("t", "publish", "1"), tenant.public_key, token, before="")
            async with connected_with(cluster.nodes[0].url, tenant.user(user)) as live:
                with pytest.raises(DeletionOff):
                    await publishing.remove(
                        Work("t", "remove"), tenant.public_key, operator.deletion(tenant.public_key)
                    )
                assert publishing.tickets == {}
                locked = operator.account(tenant, issued_at=NOW + 1, signing_keys=[], revocations={"*": NOW + 1})
                await publishing.publish(Work("t", "publish", "2"), tenant.public_key, locked, before=token)
                await live.is_cut()
