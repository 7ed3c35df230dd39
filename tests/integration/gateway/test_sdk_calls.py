"""The official SDK gets the same status and the same JSON from PocketBase and through a gateway of two workers."""

import base64
import json
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import jwt

from tests.differences import where_they_differ
from tests.eventually import eventually
from tests.integration.gateway.test_body_meaning import FIELDS
from tests.pictures import png
from tests.servers import node
from tests.servers.gateway import GatewayServer
from tests.servers.mail import mail_server, mailbox
from tests.servers.natsync import Stack
from tests.servers.pocketbase import PocketBaseServer
from tests.servers.provider import Provider, oauth2_provider

SCRIPT = Path(__file__).with_name("calls.mjs")
OPEN = ""
OWN = "@request.auth.id != '' && owner = @request.auth.id"
RELATION = {"type": "relation", "maxSelect": 9}

JWT = re.compile(r"ey[\w-]+\.ey[\w-]+\.[\w-]+")
TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}Z")
MADE_UP = re.compile(r"\b[a-z0-9]{15}\b|\bpbc_\d+\b|(?<=_)[a-z0-9]{10}(?:_[a-z0-9]{10})*(?=\.)")
"""Ids, and what PocketBase adds to the names of files."""

REFUSED_HERE = {
    "impersonate": 403,
    "listExternalAuths": 403,
    "superuser": 403,
    "collections": 403,
    "settings": 403,
}
"""What is a superuser's or PocketBase's own is not reachable through the gateway."""

OWN_PAGE = {"../_/#/auth/oauth2-redirect-success": "../auth/oauth2/success"}
"""PocketBase's page, where windows of a provider end, is not reachable either."""


def with_own_page(told: list[Any]) -> list[Any]:
    return [[*call[:2], OWN_PAGE[call[2]]] if call[0] == "redirect" else call for call in told]


def collections(suffix: str, provider: Mapping[str, Any]) -> list[dict[str, Any]]:
    people = {"id": f"sdkpeople{suffix}", "name": f"people_{suffix}"}
    tags = {"id": f"sdktags{suffix}", "name": f"tags_{suffix}", "type": "base"}
    open_to_all = dict.fromkeys(("listRule", "viewRule", "createRule", "updateRule", "deleteRule"), OPEN)
    password = {"name": "password", "type": "password", "cost": 4, "required": True, "hidden": True, "min": 8}
    name = {"name": "name", "type": "text"}
    own = dict.fromkeys(("updateRule", "deleteRule"), "id = @request.auth.id")
    auth = {"type": "auth", **open_to_all, **own, "otp": {"enabled": True}, "authAlert": {"enabled": False}}
    fields = [
        *FIELDS,
        {"name": "owner", "type": "relation", "collectionId": people["id"], "maxSelect": 1},
        {**RELATION, "name": "tags", "collectionId": tags["id"]},
        {"name": "picture", "type": "file", "thumbs": ["1x1"]},
        {"name": "secret", "type": "file", "protected": True},
        {"name": "made", "type": "autodate", "onCreate": True},
    ]
    return [
        {**tags, **open_to_all, "fields": [name]},
        {
            **people,
            **auth,
            "fields": [name, password, {**RELATION, "name": "friends", "collectionId": people["id"]}],
            "oauth2": provider,
        },
        {
            "id": f"sdkvault{suffix}",
            "name": f"vault_{suffix}",
            **auth,
            "fields": [password],
            "mfa": {"enabled": True},
        },
        {
            "id": f"sdkposts{suffix}",
            "name": f"posts_{suffix}",
            "type": "base",
            **dict.fromkeys(("listRule", "viewRule"), "@request.auth.id != ''"),
            **dict.fromkeys(("createRule", "updateRule", "deleteRule"), OWN),
            "fields": fields,
        },
    ]


@dataclass(slots=True)
class Normalised:
    """What a script printed, without what is another in every run; `tokens` are the kinds and algorithms of tokens."""

    url: str
    suffix: str
    names: dict[str, str] = field(default_factory=dict[str, str])
    tokens: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])

    def of(self, text: str) -> Any:
        plain = text.replace(self.url, "URL").replace(self.suffix, "SUFFIX")
        plain = TIME.sub("TIME", JWT.sub(self._token, plain))
        return json.loads(MADE_UP.sub(self._name, plain))

    def _token(self, found: re.Match[str]) -> str:
        kind = jwt.decode(found[0], options={"verify_signature": False})["type"]
        self.tokens.add((kind, jwt.get_unverified_header(found[0])["alg"]))
        return f"{kind} token"

    def _name(self, found: re.Match[str]) -> str:
        return self.names.setdefault(found[0], f"name {len(self.names)}")


@dataclass(frozen=True, slots=True)
class Hall:
    """PocketBase as its superuser, with mail and a provider beside it."""

    control: httpx.AsyncClient
    provider: Provider
    mailbox: str

    async def prepare(self, *suffixes: str) -> None:
        made = [one for suffix in suffixes for one in collections(suffix, self.provider.settings())]
        (await self.control.put("/api/collections/import", json={"collections": made})).raise_for_status()

    async def run(self, url: str, suffix: str) -> tuple[Normalised, list[Any], dict[str, int]]:
        """The calls, by whichever server is at `url`: what came back, and the statuses of what is refused here."""
        self.provider.user = {"sub": suffix, "email": f"olga-{suffix}@example.com", "email_verified": True}
        picture = base64.b64encode(png(8, 8)).decode()
        told, refused = (await node.run(SCRIPT, url, suffix, self.mailbox, picture)).splitlines()
        normalised = Normalised(url, suffix)
        return normalised, normalised.of(told), json.loads(refused)


@asynccontextmanager
async def hall(pocketbase: PocketBaseServer, superuser_token: str) -> AsyncGenerator[Hall]:
    headers = {"Authorization": superuser_token}
    async with (
        httpx.AsyncClient(base_url=pocketbase.url, headers=headers, timeout=20) as control,
        oauth2_provider() as provider,
        mail_server() as mail,
        mailbox(mail, once=lambda: eventually(lambda: are_sent(control))) as inbox,
    ):
        smtp = {"enabled": True, "host": "127.0.0.1", "port": mail.port}
        (await control.patch("/api/settings", json={"smtp": smtp})).raise_for_status()
        try:
            yield Hall(control, provider, inbox)
        finally:
            await control.patch("/api/settings", json={"smtp": {"enabled": False}})


async def are_sent(control: httpx.AsyncClient) -> bool:
    """Has PocketBase noted where each code went? It does so after the mail is out, and trusts the address only then."""
    answer = await control.get("/api/collections/_otps/records", params={"filter": "sentTo = ''"})
    return answer.raise_for_status().json()["totalItems"] == 0


async def test_every_call_of_the_sdk_gives_the_same_directly_and_through_the_gateway(
    fed: Stack, fed_token: str, two_workers: GatewayServer
) -> None:
    node.install()
    async with hall(fed.pocketbase, fed_token) as place:
        await place.prepare("northern", "southern")
        direct, told_directly, allowed = await place.run(fed.pocketbase.url, "northern")
        through, told_through, refused = await place.run(two_workers.url, "southern")
    expected = with_own_page(told_directly)
    assert told_through == expected, where_they_differ(expected, told_through)
    assert direct.tokens == {("auth", "HS256"), ("file", "HS256")}
    assert through.tokens == {("auth", "ES256"), ("file", "HS256")}
    assert refused == REFUSED_HERE != allowed
