"""The way of a user through the whole platform, all of it through the one domain. `just demo` and the tests walk it."""

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import nats
from nats.aio.client import Client, RawCredentials

from chathub.client import Chat, open_chat
from chathub.core.standing import Event, Said, Told
from common.adapters.pocketbase import open_pocketbase
from common.core.errors import NotFound
from tests.eventually import eventually
from tests.servers import node

COLLECTION = "demo_notes"
SDK_SCRIPT = Path(__file__).with_name("sdk.mjs")
SILENCE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Address:
    """Where the platform is, and who may change it."""

    url: str
    admin_email: str
    admin_password: str
    pocketbase_url: str
    superuser_email: str
    superuser_password: str

    @property
    def websocket_url(self) -> str:
        return self.url.replace("http", "ws", 1)


@dataclass(frozen=True, slots=True)
class Seen:
    step: str
    detail: Any


@dataclass(frozen=True, slots=True)
class Session:
    token: str
    record: dict[str, Any]


async def walk(address: Address) -> AsyncIterator[Seen]:
    """Every step, after it was seen to work. Raises AssertionError or the error met."""
    suffix = secrets.token_hex(4)
    password = secrets.token_urlsafe(12)
    yield Seen("prepare a collection of notes (directly in PocketBase)", await prepare_collection(address))
    node.install()
    output = await node.run(SDK_SCRIPT, address.url, COLLECTION, suffix, password)
    for line in output.splitlines():
        told = json.loads(line)
        yield Seen(told["step"], told["seen"])
    async with httpx.AsyncClient(base_url=address.url, timeout=10) as client:
        ann = await log_in(client, "users", f"ann-{suffix}@example.com", password)
        bob = await log_in(client, "users", f"bob-{suffix}@example.com", password)
        async for seen in chat(address, ann, bob):
            yield seen
        admin = await log_in(client, "users", address.admin_email, address.admin_password)
        async for seen in messaging(address, client, admin, suffix):
            yield seen


async def prepare_collection(address: Address) -> dict[str, str]:
    async with open_pocketbase(
        address.pocketbase_url, email=address.superuser_email, password=address.superuser_password
    ) as control:
        try:
            await control.request("GET", f"/api/collections/{COLLECTION}")
        except NotFound:
            own = "@request.auth.id != '' && owner = @request.auth.id"
            await control.request(
                "POST",
                "/api/collections",
                {
                    "name": COLLECTION,
                    "type": "base",
                    "fields": [
                        {"name": "title", "type": "text", "required": True},
                        {"name": "owner", "type": "text"},
                    ],
                    "listRule": "@request.auth.id != ''",
                    "viewRule": "@request.auth.id != ''",
                    "createRule": own,
                    "updateRule": own,
                    "deleteRule": own,
                },
            )
    return {"collection": COLLECTION}


async def log_in(client: httpx.AsyncClient, collection: str, email: str, password: str) -> Session:
    answer = await client.post(
        f"/api/collections/{collection}/auth-with-password", json={"identity": email, "password": password}
    )
    assert answer.status_code == 200, f"login answered {answer.status_code}: {answer.text}"
    body = answer.json()
    return Session(body["token"], body["record"])


@asynccontextmanager
async def chat_client(address: Address, session: Session) -> AsyncGenerator[tuple[Chat, list[Event]]]:
    """A program that chats as that user, and what it was welcomed with."""

    async def token() -> str:
        return session.token

    async with open_chat(f"{address.websocket_url}/ws", token, proxy=False) as chat:
        yield chat, await heard(chat, lambda event: isinstance(event, Told) and event.type == "connected_users")


async def heard(chat: Chat, holds: Callable[[Event], bool]) -> list[Event]:
    """Everything up to the next event for which it holds."""
    events: list[Event] = []
    async with asyncio.timeout(10):
        async for event in chat:
            events.append(event)
            if holds(event):
                break
    return events


async def chat(address: Address, ann: Session, bob: Session) -> AsyncIterator[Seen]:
    text = f"hello {secrets.token_hex(4)}"

    def is_it(event: Event) -> bool:
        return isinstance(event, Said) and event.message == text

    async with chat_client(address, ann) as (first, welcome), chat_client(address, bob) as (second, _):
        [told] = [event for event in welcome if isinstance(event, Told) and event.type == "active_channels"]
        channel = told.payload["channels"][0]["name"]
        place = await first.say(channel, text)
        [said] = [event for event in await heard(second, is_it) if isinstance(event, Said) and is_it(event)]
        assert (said.owner_id, said.cache_id) == (ann.record["id"], place), "the message bears another author or place"
        yield Seen("two users chat", {"channel": channel, "from": said.username, "message": said.message})
    async with chat_client(address, bob) as (_, welcome):
        history = [event for event in welcome if isinstance(event, Said)]
        assert sum(is_it(event) for event in history) == 1, "history repeats the message"
        yield Seen("one comes back and reloads the history", {"messages": len(history)})


async def messaging(address: Address, client: httpx.AsyncClient, admin: Session, suffix: str) -> AsyncIterator[Seen]:
    tenants = [await make_tenant(client, admin, f"{name}-{suffix}") for name in ("north", "south")]
    yield Seen(
        "an admin makes two accounts, each with a role and a user", {"accounts": [tenant.account for tenant in tenants]}
    )
    async with AsyncExitStack() as stack:
        north, south = [
            await stack.enter_async_context(nats_client(address, await credentials(client, tenant)))
            for tenant in tenants
        ]
        yield Seen(
            "both connect to NATS with their creds_file",
            {"through": "/nats/ws", "server": str(north.connected_server_version)},
        )
        heard_north = await north.subscribe("sensors.>")
        heard_south = await south.subscribe("sensors.>")
        await asyncio.wait_for(north.flush(), 5)
        await asyncio.wait_for(south.flush(), 5)
        await north.publish("sensors.temperature", b"23.5")
        message = await heard_north.next_msg(timeout=5)
        yield Seen("one publishes and hears", {"subject": message.subject, "data": message.data.decode()})
        silent = await hears_nothing(heard_south)
        assert silent, "another account heard the message"
        yield Seen("the other account hears nothing", {"waited_seconds": SILENCE_SECONDS})
    async for seen in messaging_by_token(address, client, tenants[0]):
        yield seen


async def messaging_by_token(address: Address, client: httpx.AsyncClient, tenant: "Tenant") -> AsyncIterator[Seen]:
    session = await log_in(client, "nats_users", tenant.email, tenant.password)
    bearer = {"Authorization": f"Bearer {session.token}"}
    creds = (await client.get("/nats/creds", headers=bearer)).raise_for_status().json()
    assert "BEGIN NATS USER JWT" in creds["creds_file"]
    yield Seen("the user asks natsync for its credentials", {"from": "/nats/creds", "user": creds["nats_username"]})
    async with nats_client(address, token=session.token) as device:
        heard = await device.subscribe("sensors.>")
        await device.publish("sensors.humidity", b"40")
        message = await heard.next_msg(timeout=5)
        yield Seen("it connects with its session's token and no credentials", {"hears": message.data.decode()})
        (current,) = [one for one in (await client.get("/sessions", headers=bearer)).json()["items"] if one["current"]]
        (await client.delete(f"/sessions/{current['id']}", headers=bearer)).raise_for_status()

        async def is_cut() -> bool:
            return device.is_closed

        await eventually(is_cut)
        yield Seen("its session ends, and so does the connection", {"session": "ended"})


@dataclass(frozen=True, slots=True)
class Tenant:
    account: str
    email: str
    password: str


async def make_tenant(client: httpx.AsyncClient, admin: Session, name: str) -> Tenant:
    unlimited = ("max_connections", "max_subscriptions", "max_data", "max_payload")
    storage = ("max_jetstream_disk_storage", "max_jetstream_memory_storage")
    account = await create(
        client, admin, "nats_accounts", {"name": name, "active": True, **dict.fromkeys(unlimited + storage, -1)}
    )
    role = await create(
        client,
        admin,
        "nats_roles",
        {
            "name": f"sensor-{name}",
            "publish_permissions": '["sensors.>"]',
            "subscribe_permissions": '["sensors.>", "_INBOX.>"]',
            **dict.fromkeys(("max_subscriptions", "max_data", "max_payload"), -1),
        },
    )
    tenant = Tenant(name, f"device-{name}@example.com", secrets.token_urlsafe(12))
    user = {
        "email": tenant.email,
        "password": tenant.password,
        "passwordConfirm": tenant.password,
        "nats_username": f"device-{name}",
        "account_id": account["id"],
        "role_id": role["id"],
        "active": True,
    }
    await create(client, admin, "nats_users", user)
    return tenant


async def create(client: httpx.AsyncClient, who: Session, collection: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = await client.post(
        f"/api/collections/{collection}/records", json=body, headers={"Authorization": who.token}
    )
    assert answer.status_code == 200, f"creating in {collection} answered {answer.status_code}: {answer.text}"
    return answer.json()


async def credentials(client: httpx.AsyncClient, tenant: Tenant) -> str:
    """The user's own creds_file, read with his own login, as soon as it is there."""
    session = await log_in(client, "nats_users", tenant.email, tenant.password)
    path = f"/api/collections/nats_users/records/{session.record['id']}?fields=creds_file"

    async def ask() -> str:
        answer = await client.get(path, headers={"Authorization": session.token})
        return answer.json()["creds_file"]

    return await eventually(ask)


@asynccontextmanager
async def nats_client(address: Address, creds: str = "", token: str = "") -> AsyncGenerator[Client]:
    login: dict[str, Any] = {"user_credentials": RawCredentials(creds)} if creds else {"token": token}
    async with asyncio.timeout(10):
        client = await nats.connect(
            f"{address.websocket_url}/nats/ws", allow_reconnect=False, error_cb=let_pass, **login
        )
    try:
        yield client
    finally:
        await client.close()


async def let_pass(_error: Exception) -> None:
    """A step sees for itself that its connection has ended."""


async def hears_nothing(subscription: Any) -> bool:
    try:
        await subscription.next_msg(timeout=SILENCE_SECONDS)
    except TimeoutError:
        return True
    return False
