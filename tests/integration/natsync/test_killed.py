"""natsync dies in the middle of what it does, again and again: nothing is lost, and nothing is done twice."""

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from nats.aio.msg import Msg

from natsync.core.claims import unverified
from tests.servers.natsync import Stack, connected_with, prepare, refused, stack, tenants_of
from tests.servers.process import server

ACCOUNTS = 4


@pytest.fixture
def bootstrapped() -> Generator[Stack]:
    with ExitStack() as running:
        fresh = running.enter_context(stack())
        done = fresh.command("bootstrap")
        assert done.returncode == 0, done.stderr
        prepare(fresh.pocketbase)
        running.enter_context(fresh.nats())
        yield fresh


@contextmanager
def until_killed(stack: Stack) -> Generator[None]:
    command = [sys.executable, "-m", "natsync", "serve"]
    log = stack.home / "natsync.log"
    with server(command, port=stack.port, log=log, environment=stack.environment, stop=signal.SIGKILL):
        yield


@dataclass(slots=True)
class Witness:
    """Every token that servers are told, by account."""

    said: dict[str, list[dict[str, Any]]] = field(default_factory=dict[str, list[dict[str, Any]]])
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    async def hear(self, message: Msg) -> None:
        claims = unverified(message.data.decode())
        self.said.setdefault(claims["sub"], []).append(claims)
        self.heard.set()

    def signing_keys(self, account: str) -> set[str]:
        return {key for claims in self.said[account] for key in claims["nats"]["signing_keys"] if isinstance(key, str)}


@asynccontextmanager
async def witness_of(stack: Stack) -> AsyncGenerator[Witness]:
    witness = Witness()
    async with connected_with(stack.nats_url, stack.directory / "creds/sys.creds", name="sys") as watching:
        await watching.client.subscribe("$SYS.REQ.CLAIMS.UPDATE", cb=witness.hear)
        await watching.client.flush()
        yield witness


async def test_every_rotation_and_every_cut_happens_once_however_often_natsync_is_killed(bootstrapped: Stack) -> None:
    async with tenants_of(bootstrapped) as tenants, witness_of(bootstrapped) as witness:
        with bootstrapped.serving():
            role = await tenants.role()
            accounts = [await tenants.account(f"tenant{number}") for number in range(ACCOUNTS)]
            users = [await tenants.user(account, role) for account in accounts]
            before = [await tenants.credentials(user) for user in users]
            keys = [(await tenants.synced(account))["public_key"] for account in accounts]
        await tenants.control.update("nats_users", users[0]["id"], {"active": False})
        await tenants.control.delete("nats_users", users[1]["id"])
        for account in accounts:
            await tenants.control.update("nats_accounts", account["id"], {"rotate_keys": True})
            witness.heard.clear()
            with until_killed(bootstrapped):
                await witness.heard.wait()
        with bootstrapped.serving():
            for account in accounts:
                await tenants.synced(account, rotate_keys=False)
            fresh = [
                await tenants.credentials(user, other_than=old) for user, old in zip(users[2:], before[2:], strict=True)
            ]
            await tenants.synced(users[0], sync_status="inactive")
            for creds in before:
                assert await refused(bootstrapped.nats_url, creds)
            for creds in fresh:
                async with connected_with(bootstrapped.nats_url, creds):
                    pass
    for key in keys:
        assert len(witness.signing_keys(key)) == 2
        dates = [claims["iat"] for claims in witness.said[key]]
        assert dates == sorted(set(dates))
