"""PocketBase, natsync and three nats-servers, one of which misses something: all agree again in one sweep."""

import json
import signal
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack

import pytest

from natsync.core.claims import AccountClaims, account_body, encode
from natsync.core.claims.keys import KeyKind
from tests.eventually import eventually
from tests.servers.nats_cluster import Cluster, Node, Trust, nats_cluster
from tests.servers.nats_operator import new_key
from tests.servers.natsync import Stack, Tenants, connected_with, prepare, refused, stack, tenants_of

SWEEP_SECONDS = 2.0


@pytest.fixture(scope="module")
def whole() -> Generator[tuple[Stack, Cluster]]:
    with ExitStack() as running:
        platform = running.enter_context(stack())
        done = platform.command("bootstrap")
        assert done.returncode == 0, done.stderr
        prepare(platform.pocketbase)
        cluster = running.enter_context(nats_cluster(Trust.of(platform.directory / "nats.conf")))
        platform.environment["NATS_URL"] = cluster.url
        platform.environment["NATSYNC_SWEEP_SECONDS"] = str(SWEEP_SECONDS)
        running.enter_context(platform.serving())
        yield platform, cluster


@pytest.fixture
def platform(whole: tuple[Stack, Cluster]) -> Stack:
    return whole[0]


@pytest.fixture
def cluster(whole: tuple[Stack, Cluster]) -> Cluster:
    """All servers run, whatever the test before this one left."""
    _, there = whole
    there.start()
    return there


@pytest.fixture
async def tenants(platform: Stack) -> AsyncGenerator[Tenants]:
    async with tenants_of(platform) as made:
        yield made


def tokens(cluster: Cluster, account: str) -> dict[str, str]:
    """What each server has stored of an account."""
    files = {node.name: node.resolver / f"{account}.jwt" for node in cluster.nodes}
    return {name: file.read_text() if file.exists() else "" for name, file in files.items()}


async def until_refused(node: Node, creds: str, *, seconds: float = 10) -> None:
    await eventually(lambda: refused(node.url, creds), seconds=seconds)


async def until_let_in(node: Node, creds: str, *, seconds: float = 10) -> None:
    async def let_in() -> bool:
        return not await refused(node.url, creds)

    await eventually(let_in, seconds=seconds)


async def test_an_account_deleted_while_a_server_is_down_stays_deleted_when_it_is_back(
    cluster: Cluster, tenants: Tenants
) -> None:
    account, _, user, creds = await tenants.someone()
    key = (await tenants.synced(account))["public_key"]
    down = cluster.nodes[2]
    await until_let_in(down, creds)
    down.stop(signal.SIGKILL)
    await tenants.control.delete("nats_users", user["id"])
    await tenants.control.delete("nats_accounts", account["id"])
    for node in cluster.nodes[:2]:
        await until_refused(node, creds)
    cluster.start(down)

    async def gone_everywhere() -> bool:
        return not any(tokens(cluster, key).values())

    await eventually(gone_everywhere, seconds=SWEEP_SECONDS + 3)
    for node in cluster.nodes:
        assert await refused(node.url, creds)


async def test_a_user_suspended_in_the_second_in_which_a_server_went_down_is_refused_there_too(
    cluster: Cluster, tenants: Tenants
) -> None:
    account, role, user, creds = await tenants.someone()
    neighbour = await tenants.credentials(await tenants.user(account, role))
    key = (await tenants.synced(account))["public_key"]
    down = cluster.nodes[2]
    await until_let_in(down, creds)
    down.stop(signal.SIGKILL)
    await tenants.control.update("nats_users", user["id"], {"active": False})
    for node in cluster.nodes[:2]:
        await until_refused(node, creds)
    cluster.start(down)
    await until_refused(down, creds, seconds=SWEEP_SECONDS + 3)
    await tenants.synced(account)
    assert len(set(tokens(cluster, key).values())) == 1
    for node in cluster.nodes:
        assert await refused(node.url, creds)
        assert not await refused(node.url, neighbour)


async def test_a_server_that_lost_its_resolver_directory_gets_every_account_back(
    cluster: Cluster, tenants: Tenants
) -> None:
    *_, left, revoked = await tenants.someone()
    account, _, _, creds = await tenants.someone()
    await tenants.control.delete("nats_users", left["id"])
    await until_refused(cluster.nodes[1], revoked)
    down = cluster.nodes[1]
    down.stop(signal.SIGKILL)
    down.wipe()
    cluster.start(down)
    await until_let_in(down, creds, seconds=SWEEP_SECONDS + 3)
    key = (await tenants.synced(account))["public_key"]

    async def same_everywhere() -> bool:
        return len(set(tokens(cluster, key).values())) == 1

    await eventually(same_everywhere)
    assert await refused(down.url, revoked)


async def test_a_file_lost_on_one_server_alone_is_put_back(cluster: Cluster, tenants: Tenants) -> None:
    account, *_ = await tenants.someone()
    key = (await tenants.synced(account))["public_key"]
    (cluster.nodes[2].resolver / f"{key}.jwt").unlink()

    async def same_everywhere() -> bool:
        return len(set(tokens(cluster, key).values())) == 1

    await eventually(same_everywhere, seconds=SWEEP_SECONDS + 3)


async def test_a_token_that_somebody_else_put_on_the_servers_is_replaced_at_once(
    platform: Stack, cluster: Cluster, tenants: Tenants
) -> None:
    account, _, _, creds = await tenants.someone()
    key = (await tenants.synced(account))["public_key"]
    nobody = new_key(KeyKind.OPERATOR)
    body = account_body(AccountClaims(signing_keys=[new_key(KeyKind.ACCOUNT).public_key]))
    foreign = encode(body, subject=key, name="foreign", issuer=nobody, issued_at=int(time.time()) + 60)
    async with connected_with(cluster.nodes[1].url, platform.directory / "creds/sys.creds", name="sys") as somebody:
        await somebody.client.publish("$SYS.REQ.CLAIMS.UPDATE", foreign.encode())
        await somebody.client.flush()

    async def replaced() -> bool:
        shown = set(tokens(cluster, key).values())
        return len(shown) == 1 and foreign not in shown

    await eventually(replaced, seconds=SWEEP_SECONDS + 3)
    for node in cluster.nodes:
        await until_let_in(node, creds)


async def test_a_frozen_server_does_not_delay_a_cut_on_the_others(cluster: Cluster, tenants: Tenants) -> None:
    _, _, user, creds = await tenants.someone()
    frozen = cluster.nodes[2]
    await until_let_in(frozen, creds)
    async with connected_with(cluster.nodes[1].url, creds) as live:
        frozen.freeze()
        try:
            begun = time.monotonic()
            await tenants.control.update("nats_users", user["id"], {"active": False})
            await live.is_cut()
            assert time.monotonic() - begun < 2
        finally:
            frozen.thaw()
    await until_refused(frozen, creds)


async def test_the_log_of_natsync_holds_no_token(platform: Stack, tenants: Tenants) -> None:
    _, _, user, creds = await tenants.someone()
    async with connected_with(platform.environment["NATS_URL"].split(",")[0], creds) as live:
        await tenants.control.update("nats_users", user["id"], {"active": False})
        await live.is_cut()
    await tenants.synced(user, sync_status="inactive")
    log = (platform.home / "natsync.log").read_text()
    assert "connections cut" in log or "pass" in log
    assert "eyJ" not in log
    assert not any(json.loads(line).get("jwt") for line in log.splitlines() if line.startswith("{"))
