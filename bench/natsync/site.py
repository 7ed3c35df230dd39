"""PocketBase with a thousand accounts of ten users each, and the nats-server that is to learn of them."""

import json
import os
import shutil
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import nats
from nats.aio.client import Client

from common.adapters.pocketbase import PocketBase, open_pocketbase, records_path
from common.core.pocketbase_answers import Record
from common.serving.settings import load
from natsync.settings import Settings
from tests.servers.natsync import PASSWORD, UNLIMITED, Stack, prepare, stack

ACCOUNTS = 1_000
USERS_EACH = 10
ROLES = 5
AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Site:
    stack: Stack
    control: PocketBase
    settings: Settings
    accounts: Sequence[Record]
    roles: Sequence[Record]

    @contextmanager
    def nats_that_knows_nobody(self) -> Generator[None]:
        """But for the accounts in its configuration."""
        shutil.rmtree(self.stack.home / "nats", ignore_errors=True)
        with self.stack.nats():
            yield

    @asynccontextmanager
    async def system(self) -> AsyncGenerator[Client]:
        creds = self.stack.directory / "creds" / "sys.creds"
        client = await nats.connect(self.stack.nats_url, user_credentials=str(creds), inbox_prefix=b"_INBOX.sys")
        try:
            yield client
        finally:
            await client.close()

    async def new_user(self, number: int) -> Record:
        made = await self.control.batch([user(self.accounts[number % ACCOUNTS], self.roles[0], f"late{number}")])
        return made[0]


@asynccontextmanager
async def open_site() -> AsyncGenerator[Site]:
    """As it is installed: passes and sweeps are as far apart as the settings' defaults say."""
    with stack() as fresh:
        for name in ("NATSYNC_SWEEP_SECONDS", "NATSYNC_DEBOUNCE_MS", "NATSYNC_TAKEOVER_SECONDS"):
            del fresh.environment[name]
        done = fresh.command("bootstrap")
        if done.returncode:
            raise RuntimeError(done.stderr)
        prepare(fresh.pocketbase)
        server = fresh.pocketbase
        with mock.patch.dict(os.environ, fresh.environment):
            settings = load(Settings)
        async with open_pocketbase(server.url, email=server.email, password=server.password) as control:
            patience = {"batch": {"enabled": True, "maxRequests": AT_ONCE, "timeout": 60}}
            await control.request("PATCH", "/api/settings", patience)
            limits = {name: -1 for name in UNLIMITED if name != "max_connections"}
            subjects = [json.dumps([f"role{number}.>", "_INBOX.>"]) for number in range(ROLES)]
            roles = await filled(control, "nats_roles", [role(subject, limits) for subject in subjects])
            names = [f"tenant{number:04}" for number in range(ACCOUNTS)]
            accounts = await filled(control, "nats_accounts", [{"name": name, **UNLIMITED} for name in names])
            bodies = [
                user(account, roles[number % ROLES], f"user{number}")
                for account in accounts
                for number in range(USERS_EACH)
            ]
            for start in range(0, len(bodies), AT_ONCE):
                await control.batch(bodies[start : start + AT_ONCE])
            yield Site(fresh, control, settings, accounts, roles)


def role(subjects: str, limits: dict[str, int]) -> dict[str, Any]:
    return {"name": "role", "publish_permissions": subjects, "subscribe_permissions": subjects, **limits}


def user(account: Record, role: Record, name: str) -> dict[str, Any]:
    body = {
        "email": f"{name}-{account['id']}@example.com",
        "password": PASSWORD,
        "passwordConfirm": PASSWORD,
        "nats_username": name,
        "account_id": account["id"],
        "role_id": role["id"],
        "active": True,
    }
    return {"method": "POST", "url": records_path("nats_users"), "body": body}


async def filled(control: PocketBase, collection: str, rows: Sequence[dict[str, Any]]) -> list[Record]:
    requests = [{"method": "POST", "url": records_path(collection), "body": {"active": True, **row}} for row in rows]
    made: list[Record] = []
    for start in range(0, len(requests), AT_ONCE):
        made += await control.batch(requests[start : start + AT_ONCE])
    return made
