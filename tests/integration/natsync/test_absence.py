"""Servers come late, go away and lose their memory; natsync catches up by itself."""

import shutil
from collections.abc import Generator
from contextlib import ExitStack

import httpx
import nats.errors
import pytest

from tests.eventually import eventually
from tests.servers.natsync import Stack, connected_with, refused, stack, tenants_of


@pytest.fixture
def bootstrapped() -> Generator[Stack]:
    with stack() as fresh:
        done = fresh.command("bootstrap")
        assert (done.returncode, "token issued" in done.stdout, "eyJ" in done.stdout) == (0, True, False)
        yield fresh


async def readiness(stack: Stack) -> dict[str, str]:
    async with httpx.AsyncClient(base_url=stack.operations_url, trust_env=False) as client:
        return (await client.get("/readyz")).json()["probes"]


async def test_a_nats_server_that_comes_late_and_one_that_forgot_everything_are_caught_up_with(
    bootstrapped: Stack,
) -> None:
    async with tenants_of(bootstrapped) as tenants:
        with bootstrapped.serving():
            account, role = await tenants.account(), await tenants.role()
            user, leaver = await tenants.user(account, role), await tenants.user(account, role)
            waiting = await tenants.synced(account, sync_status="pending")
            assert "NATS" in waiting["sync_error"]
            assert "ok" not in (await readiness(bootstrapped))["nats"]
            with bootstrapped.nats():
                creds, left = await tenants.credentials(user), await tenants.credentials(leaver)
                async with connected_with(bootstrapped.nats_url, creds):
                    pass
            await tenants.control.delete("nats_users", leaver["id"])
            shutil.rmtree(bootstrapped.home / "nats")
            with bootstrapped.nats():
                await eventually(lambda: lets_in(bootstrapped, creds), seconds=15)
                assert await refused(bootstrapped.nats_url, left)


async def lets_in(stack: Stack, creds: str) -> bool:
    try:
        return not await refused(stack.nats_url, creds)
    except nats.errors.Error:
        return False


async def test_a_user_deleted_while_natsync_was_away_is_cut_off_when_it_returns(bootstrapped: Stack) -> None:
    with ExitStack() as running:
        running.enter_context(bootstrapped.nats())
        async with tenants_of(bootstrapped) as tenants:
            with bootstrapped.serving():
                *_, user, creds = await tenants.someone()
            async with connected_with(bootstrapped.nats_url, creds) as live:
                await tenants.control.delete("nats_users", user["id"])
                await live.client.flush(timeout=2)
                with bootstrapped.serving():
                    await live.is_cut()


async def test_a_pocketbase_that_is_away_is_waited_for(bootstrapped: Stack) -> None:
    bootstrapped.environment["POCKETBASE_URL"] = "http://127.0.0.1:9"
    with bootstrapped.nats(), bootstrapped.serving():

        async def probes() -> dict[str, str]:
            return await readiness(bootstrapped)

        found = await eventually(probes, lambda seen: seen["nats"] == "ok")
        assert "does not answer" in found["pocketbase"]
        assert "does not answer" in found["reconcile"]
