"""PocketBase, the nats-server that natsync bootstraps, and natsync itself."""

import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import nats.errors
from nats.aio.client import Client
from nats.aio.subscription import Subscription

from common.adapters.pocketbase import PocketBase, open_pocketbase
from common.core.pocketbase_answers import Record
from tests.eventually import eventually
from tests.servers.nats import nats_process
from tests.servers.pocketbase import PocketBaseServer, pocketbase_server
from tests.servers.process import directory, free_port, server
from tests.servers.programs import Process, run

UNLIMITED = dict.fromkeys(("max_connections", "max_subscriptions", "max_data", "max_payload"), -1)
PASSWORD = "correct-horse"
CALM = {"NATSYNC_SWEEP_SECONDS": "30"}
"""For whoever needs natsync's record feed only: it goes by events."""

REFUSALS = ("authorization violation", "authentication revoked", "authentication expired")
"""The latter two meet a login that was let in just before."""


@dataclass(frozen=True, slots=True)
class Stack:
    pocketbase: PocketBaseServer
    home: Path
    nats_port: int
    port: int
    operations_port: int
    environment: dict[str, str]

    @property
    def directory(self) -> Path:
        return self.home / "natsync"

    @property
    def nats_url(self) -> str:
        return f"nats://127.0.0.1:{self.nats_port}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def operations_url(self) -> str:
        return f"http://127.0.0.1:{self.operations_port}"

    def command(self, *arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "natsync", *arguments]
        return run(command, environment={**self.environment, **changed})

    @contextmanager
    def nats(self) -> Generator[Process]:
        with nats_process(self.directory / "nats.conf", self.nats_port, self.home / "nats.log") as process:
            yield process

    @contextmanager
    def serving(self) -> Generator[Process]:
        with server(
            [sys.executable, "-m", "natsync", "serve"],
            port=self.port,
            log=self.home / "natsync.log",
            environment=self.environment,
        ) as process:
            yield process


@contextmanager
def stack(*, issuer: str = "", jwks_url: str = "", hooks: str = "", **changed: str) -> Generator[Stack]:
    """PocketBase alone is running; the rest is started by who needs it."""
    with directory() as home, pocketbase_server(hooks) as pocketbase:
        nats_port, port, operations_port = free_port(), free_port(), free_port()
        environment = {
            "PATH": os.defpath,
            "HOME": str(home),
            "POCKETBASE_URL": pocketbase.url,
            "NATS_URL": f"nats://127.0.0.1:{nats_port}",
            "NATSYNC_POCKETBASE_EMAIL": pocketbase.email,
            "NATSYNC_POCKETBASE_PASSWORD": pocketbase.password,
            "NATSYNC_ENCRYPTION_KEY": "k" * 43,
            "NATSYNC_DIRECTORY": str(home / "natsync"),
            "NATSYNC_NATS_PORT": str(nats_port),
            "NATSYNC_NATS_WEBSOCKET_PORT": str(free_port()),
            "NATSYNC_NATS_MONITOR_PORT": str(free_port()),
            "NATSYNC_PORT": str(port),
            "NATSYNC_OPERATIONS_PORT": str(operations_port),
            "NATSYNC_ISSUER": issuer,
            "NATSYNC_JWKS_URL": jwks_url,
            "NATSYNC_SWEEP_SECONDS": "0.5",
            "NATSYNC_DEBOUNCE_MS": "20",
            "NATSYNC_TAKEOVER_SECONDS": "1",
            **changed,
        }
        yield Stack(pocketbase, home, nats_port, port, operations_port, environment)


@contextmanager
def running_stack(*, issuer: str = "", jwks_url: str = "", hooks: str = "", **changed: str) -> Generator[Stack]:
    with ExitStack() as running:
        whole = running.enter_context(stack(issuer=issuer, jwks_url=jwks_url, hooks=hooks, **changed))
        done = whole.command("bootstrap")
        assert done.returncode == 0, done.stderr
        prepare(whole.pocketbase)
        running.enter_context(whole.nats())
        running.enter_context(whole.serving())
        yield whole


def hearing(feed: Stack) -> dict[str, str]:
    """Settings of a gateway that hears the record feed."""
    creds = feed.directory / "creds" / "gateway.creds"
    return {"NATS_URL": feed.nats_url, "GATEWAY_NATS_CREDS": str(creds)}


def prepare(pocketbase: PocketBaseServer) -> None:
    """Batches are on, as on the platform; and passwords cost little, for dozens of people sign up in these tests."""
    with httpx.Client(base_url=pocketbase.url, trust_env=False) as client:
        login = {"identity": pocketbase.email, "password": pocketbase.password}
        answer = client.post("/api/collections/_superusers/auth-with-password", json=login).raise_for_status()
        client.headers["Authorization"] = answer.json()["token"]
        client.patch("/api/settings", json={"batch": {"enabled": True}}).raise_for_status()
        for collection in ("users", "nats_users"):
            path = f"/api/collections/{collection}"
            fields = client.get(path).raise_for_status().json()["fields"]
            quick = [{**field, "cost": 4} if field["type"] == "password" else field for field in fields]
            client.patch(path, json={"fields": quick}).raise_for_status()


@dataclass(slots=True)
class Tenants:
    """Makes rows as a superuser would and waits until they are carried out."""

    control: PocketBase
    stack: Stack
    made: int = 0

    async def account(self, name: str = "tenant", **fields: Any) -> Record:
        return await self.control.create("nats_accounts", {"name": name, "active": True, **UNLIMITED, **fields})

    async def role(self, publish: str = "", subscribe: str = "", **fields: Any) -> Record:
        limits = {name: -1 for name in UNLIMITED if name != "max_connections"}
        lists = {"publish_permissions": publish, "subscribe_permissions": subscribe}
        return await self.control.create("nats_roles", {"name": "role", **limits, **lists, **fields})

    async def user(self, account: Record, role: Record, **fields: Any) -> Record:
        self.made += 1
        body = {
            "email": f"user{self.made}-{account['id']}@example.com",
            "password": PASSWORD,
            "passwordConfirm": PASSWORD,
            "nats_username": f"user{self.made}",
            "account_id": account["id"],
            "role_id": role["id"],
            "active": True,
        }
        return await self.control.create("nats_users", {**body, **fields})

    async def synced(self, row: Record, **expected: Any) -> Record:
        """The row, once it says so."""
        wanted = {"sync_status": "synced", **expected}

        def holds(seen: Record) -> bool:
            return all(seen[name] == value for name, value in wanted.items())

        return await eventually(lambda: self.control.record(row["collectionName"], row["id"]), holds)

    async def credentials(self, row: Record, *, other_than: str = "") -> str:
        def holds(seen: Record) -> bool:
            return seen["sync_status"] == "synced" and seen["creds_file"] not in ("", other_than)

        return (await eventually(lambda: self.control.record("nats_users", row["id"]), holds))["creds_file"]

    async def someone(self, publish: str = "", subscribe: str = "") -> tuple[Record, Record, Record, str]:
        """A new account, role and user, and the user's credentials."""
        account, role = await self.account(), await self.role(publish, subscribe)
        user = await self.user(account, role)
        return account, role, user, await self.credentials(user)


@asynccontextmanager
async def tenants_of(stack: Stack) -> AsyncGenerator[Tenants]:
    server = stack.pocketbase
    async with open_pocketbase(server.url, email=server.email, password=server.password) as control:
        yield Tenants(control, stack)


@dataclass(slots=True)
class Connection:
    client: Client
    errors: list[str] = field(default_factory=list[str])

    async def hears(self, subject: str) -> Subscription:
        """A subscription the server knows of. nats-py's PING overtakes what is still to be written, so one flush
        says nothing about the subscription before it; by the second it has gone out."""
        subscription = await self.client.subscribe(subject)
        await self.client.flush()
        await self.client.flush()
        return subscription

    async def is_refused(self, what: str) -> None:
        """Waits for the server's refusal of an operation on `what`."""

        async def seen() -> bool:
            heard = [error.lower() for error in self.errors]
            return any("permissions violation" in error and what.lower() in error for error in heard)

        await eventually(seen)

    async def is_cut(self, *, seconds: float = 10) -> None:
        async def closed() -> bool:
            return self.client.is_closed

        await eventually(closed, seconds=seconds)


@asynccontextmanager
async def connected_with(url: str, creds: str | Path, *, name: str = "test") -> AsyncGenerator[Connection]:
    """A connection that does not come back by itself. Raises when the server refuses the credentials."""
    text = creds.read_text() if isinstance(creds, Path) else creds
    with directory() as home:
        path = home / "user.creds"
        path.write_text(text)
        async with connection(url, name, user_credentials=str(path)) as made:
            yield made


@asynccontextmanager
async def logged_in_with(url: str, token: str, *, user: str = "", name: str = "test") -> AsyncGenerator[Connection]:
    """The same with an access token and no credentials; beside the name of the user that is wanted, if one is given."""
    login = {"user": user, "password": token} if user else {"token": token} if token else {}
    async with connection(url, name, **login) as made:
        yield made


@asynccontextmanager
async def connection(url: str, name: str, **login: Any) -> AsyncGenerator[Connection]:
    errors: list[str] = []

    async def note(error: Exception) -> None:
        errors.append(str(error))

    client = Client()
    try:
        await client.connect(
            url,
            inbox_prefix=f"_INBOX.{name}".encode(),
            allow_reconnect=False,
            error_cb=note,
            connect_timeout=4,
            **login,
        )
        if not client.is_connected:  # the server hung up without a word, which nats-py does not tell
            raise nats.errors.ConnectionClosedError
    except BaseException:
        await hang_up(client)
        raise
    try:
        yield Connection(client, errors)
    finally:
        if not client.is_closed:
            await client.close()


async def hang_up(client: Client) -> None:
    """The client leaves its socket open when the server turns it away."""
    await client.close()
    if (transport := client._transport) is not None:
        transport.close()
        with suppress(OSError):
            await transport.wait_closed()


async def refused(url: str, creds: str) -> bool:
    """Does the server turn these credentials away?"""
    try:
        async with connected_with(url, creds):
            return False
    except (nats.errors.Error, OSError) as error:
        if not any(reason in str(error).lower() for reason in REFUSALS):
            raise
        return True
