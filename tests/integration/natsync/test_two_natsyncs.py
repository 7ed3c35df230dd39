"""Two natsyncs of one platform: one writes, the other takes over within seconds, and a late one writes nothing."""

import asyncio
import signal
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import httpx
import pytest

from common.core.pocketbase_answers import Record
from tests.eventually import eventually
from tests.integration.natsync.test_killed import Witness, witness_of
from tests.servers.natsync import Stack, Tenants, connected_with, prepare, refused, stack, tenants_of
from tests.servers.process import free_port, server
from tests.servers.programs import Process

ACCOUNTS = 6
TAKEOVER_SECONDS = 5.0


@pytest.fixture
def ready() -> Generator[Stack]:
    """As it is installed: only the settings' defaults say when another takes over."""
    with ExitStack() as running:
        fresh = running.enter_context(stack())
        del fresh.environment["NATSYNC_TAKEOVER_SECONDS"]
        done = fresh.command("bootstrap")
        assert done.returncode == 0, done.stderr
        prepare(fresh.pocketbase)
        running.enter_context(fresh.nats())
        yield fresh


def beside(stack: Stack) -> Stack:
    ports = {"NATSYNC_PORT": str(free_port()), "NATSYNC_OPERATIONS_PORT": str(free_port())}
    home = stack.home / "second"
    home.mkdir()
    environment = {**stack.environment, **ports}
    numbers = {"port": int(ports["NATSYNC_PORT"]), "operations_port": int(ports["NATSYNC_OPERATIONS_PORT"])}
    return replace(stack, home=home, environment=environment, **numbers)


@contextmanager
def serving(stack: Stack) -> Generator[Process]:
    command = [sys.executable, "-m", "natsync", "serve"]
    log = stack.home / "natsync.log"
    with server(command, port=stack.port, log=log, environment=stack.environment, stop=signal.SIGKILL) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGCONT)


async def leads(stack: Stack) -> bool:
    async with httpx.AsyncClient(base_url=stack.operations_url, trust_env=False, timeout=10) as client:
        return "natsync_leads 1.0" in (await client.get("/metrics")).text


async def is_ready(stack: Stack) -> bool:
    async with httpx.AsyncClient(base_url=stack.operations_url, trust_env=False, timeout=10) as client:
        return (await client.get("/readyz")).status_code == 200


async def everything(tenants: Tenants) -> dict[str, list[Record]]:
    names = ("nats_accounts", "nats_users", "nats_roles", "natsync_keys", "natsync_queue", "natsync_terms")
    return {name: await tenants.control.records(name) for name in names}


def increasing(witness: Witness, account: str) -> bool:
    dates = [claims["iat"] for claims in witness.said[account]]
    return dates == sorted(set(dates))


async def populated(tenants: Tenants) -> tuple[list[Record], list[Record], list[str]]:
    """Accounts, a user of each, and their credentials."""
    role = await tenants.role()
    accounts = [await tenants.account(f"tenant{number}") for number in range(ACCOUNTS)]
    users = [await tenants.user(account, role) for account in accounts]
    return accounts, users, [await tenants.credentials(user) for user in users]


async def rotated(tenants: Tenants, accounts: list[Record]) -> None:
    for account in accounts:
        await tenants.control.update("nats_accounts", account["id"], {"rotate_keys": True})


async def test_one_writes_and_the_other_goes_on_within_seconds_when_it_is_killed(ready: Stack) -> None:
    second = beside(ready)
    async with tenants_of(ready) as tenants, witness_of(ready) as witness:
        with serving(ready) as leader, serving(second):
            await eventually(lambda: leads(ready))
            await eventually(lambda: is_ready(second))
            accounts, users, before = await populated(tenants)
            keys = [(await tenants.synced(account))["public_key"] for account in accounts]
            assert await leads(ready)
            assert not await leads(second)
            witness.heard.clear()
            await rotated(tenants, accounts)
            await witness.heard.wait()
            leader.kill()
            killed = time.monotonic()
            await eventually(lambda: leads(second))
            assert time.monotonic() - killed <= TAKEOVER_SECONDS
            for user, old in zip(users, before, strict=True):
                fresh = await tenants.credentials(user, other_than=old)
                async with connected_with(ready.nats_url, fresh):
                    assert await refused(ready.nats_url, old)
    for key in keys:
        assert len(witness.signing_keys(key)) == 2
        assert increasing(witness, key)


async def test_a_leader_that_stood_still_in_the_midst_of_it_writes_nothing_when_it_goes_on(ready: Stack) -> None:
    second = beside(ready)
    async with tenants_of(ready) as tenants, witness_of(ready) as witness:
        with serving(ready) as leader, serving(second):
            await eventually(lambda: leads(ready))
            accounts, users, before = await populated(tenants)
            await eventually(lambda: is_ready(second))
            witness.heard.clear()
            await rotated(tenants, accounts)
            await witness.heard.wait()
            leader.send_signal(signal.SIGSTOP)
            await eventually(lambda: leads(second))
            for user, old in zip(users, before, strict=True):
                await tenants.credentials(user, other_than=old)
            for account in accounts:
                await tenants.synced(account, rotate_keys=False)
            stood, said = await settled(tenants), {key: list(told) for key, told in witness.said.items()}
            leader.send_signal(signal.SIGCONT)

            async def stands_by() -> bool:
                return not await leads(ready) and await is_ready(ready)

            await eventually(stands_by)
            assert await leads(second)
            assert await everything(tenants) == stood
            assert witness.said == said
            await tenants.control.update("nats_users", users[0]["id"], {"active": False})
            await tenants.synced(users[0], sync_status="inactive")


async def settled(tenants: Tenants) -> dict[str, list[Record]]:
    """All rows, once they stay as they are for a sweep."""

    async def still() -> dict[str, list[Record]] | None:
        before = await everything(tenants)
        await asyncio.sleep(0.7)
        return before if await everything(tenants) == before else None

    found = await eventually(still)
    assert found is not None
    return found


async def test_one_that_is_told_to_stop_is_followed_at_once(ready: Stack) -> None:
    second = beside(ready)
    async with tenants_of(ready) as tenants:
        with serving(ready) as leader:
            await eventually(lambda: leads(ready))
            with serving(second):
                await eventually(lambda: is_ready(second))
                leader.send_signal(signal.SIGTERM)
                await asyncio.to_thread(leader.wait, 10)
                stopped = time.monotonic()
                await eventually(lambda: leads(second))
                assert time.monotonic() - stopped < 2
                await tenants.someone()


async def test_a_command_goes_before_the_service_which_goes_on_afterwards(ready: Stack) -> None:
    async with tenants_of(ready) as tenants:
        with serving(ready):
            await tenants.someone()
            done = await asyncio.to_thread(ready.command, "apply")
            assert done.returncode == 0, done.stderr
            await tenants.someone()
            assert await leads(ready)
