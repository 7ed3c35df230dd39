"""Requests as no well-behaved client writes them: what PocketBase's own log says it got of each.

Every request bears a User-Agent of its own, by which the log is read, and is sent to PocketBase directly too: what that
takes is what the gateway keeps from it. PocketBase writes its log every few seconds, so all are sent before any is
looked at.
"""

import asyncio
import json
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.bodies import FORM, JSON
from tests.eventually import eventually
from tests.raw_http import send_raw
from tests.servers.gateway import GatewayServer
from tests.servers.pocketbase import PocketBaseServer

SHELF = "/api/collections/shelf/records"
LISTED = f"GET {SHELF}"
CREATED = f"POST {SHELF}"
BACKUP = "shelf.zip"
CLIENT, SPOOFED = "203.0.113.9", "198.51.100.1"
LAST = "the last one"

TITLE = '{"title":"x"}'
CHUNKED = f"{len(TITLE):x}\r\n{TITLE}\r\n0\r\n\r\n"
LOGIN = '{"identity":"{email}","password":"{password}"}'
AS_SUPERUSER = "Authorization: {superuser}"
OF_JSON, OF_FORM = f"Content-Type: {JSON}", f"Content-Type: {FORM}"


@dataclass(frozen=True, slots=True)
class Attack:
    """One request; names in braces stand for what is not known before the servers run.

    `taken` is PocketBase's own status for it, 0 where that is of no account. `reaches` is all PocketBase may get of
    it through the gateway, by method and URL; nothing where it is empty.
    """

    name: str
    line: str
    headers: tuple[str, ...] = ()
    body: str = ""
    taken: int = 0
    reaches: str = ""

    def written(self, agent: str, known: dict[str, str]) -> bytes:
        """With the length of the body, unless something is said of that already."""
        head = [f"{self.line} HTTP/1.1", "Host: localhost", "Connection: close", f"User-Agent: {agent}", *self.headers]
        text = "\r\n".join(head)
        for name, value in known.items():
            text = text.replace(f"{{{name}}}", value)
        body = self.body
        for name, value in known.items():
            body = body.replace(f"{{{name}}}", value)
        if body and "Transfer-Encoding" not in text:
            text += f"\r\nContent-Length: {len(body)}"
        return f"{text}\r\n\r\n{body}".encode()


def batch(*items: dict[str, Any], key: str = "requests") -> str:
    return json.dumps({key: items})


def subscribed(topic: str) -> str:
    return json.dumps({"clientId": "x", "subscriptions": [topic]})


ITEM = {"method": "POST", "url": SHELF, "body": {"title": "x"}}
FROM_ELSEWHERE = {"method": "POST", "url": "/api/collections/near/records", "headers": {"X-Forwarded-For": SPOOFED}}
TOPIC_FROM_ELSEWHERE = "shelf/*?options=" + quote(json.dumps({"headers": {"X-Forwarded-For": SPOOFED}}))

PATHS = [
    Attack("dot segments", "GET /api/collections/x/../../settings", (AS_SUPERUSER,), taken=307),
    Attack("escaped dot segments", "GET /api/collections/x/%2e%2e/%2e%2e/settings", (AS_SUPERUSER,)),
    Attack("a dot", "GET /api/./settings", (AS_SUPERUSER,), taken=307),
    Attack("a double slash", "GET /api//settings", (AS_SUPERUSER,), taken=307),
    Attack("a double slash first", "GET //api/settings", (AS_SUPERUSER,), taken=307),
    Attack("an escaped slash", "GET /api%2fsettings", (AS_SUPERUSER,)),
    Attack("an escaped slash in an id", f"{LISTED}/a%2fb", (AS_SUPERUSER,), taken=404),
    Attack("an escaped backslash", f"{LISTED}/a%5cb", (AS_SUPERUSER,), taken=404),
    Attack("an escaped NUL", f"{LISTED}/a%00b", (AS_SUPERUSER,), taken=404),
    Attack("an escaped line break", f"{LISTED}/a%0d%0aX-Injected:%201", (AS_SUPERUSER,), taken=404),
    Attack("the absolute form", f"GET http://localhost{SHELF}", taken=200),
    Attack("the absolute form elsewhere", "GET http://elsewhere/api/settings", (AS_SUPERUSER,), taken=200),
]
CLOSED = [
    Attack("settings", "GET /api/settings", (AS_SUPERUSER,), taken=200),
    Attack("settings by escapes", "GET /%61pi/%73ettings", (AS_SUPERUSER,), taken=200),
    Attack("collections", "GET /api/collections", (AS_SUPERUSER,), taken=200),
    Attack("raw SQL", "POST /api/sql", (AS_SUPERUSER, OF_JSON), '{"query":"SELECT 1"}', 200),
    Attack("a backup by a token in the query", f"GET /api/backups/{BACKUP}?token={{file_token}}", taken=200),
    Attack("superusers", "POST /api/collections/_superusers/auth-with-password", (OF_JSON,), LOGIN, 200),
    Attack("superusers in capitals", "POST /api/collections/_SUPERUSERS/auth-with-password", (OF_JSON,), LOGIN, 200),
    Attack("superusers by escapes", "POST /api/collections/%5fsup%65rusers/auth-with-password", (OF_JSON,), LOGIN, 200),
    Attack("superusers by id", "POST /api/collections/pbc_3142635823/auth-with-password", (OF_JSON,), LOGIN, 200),
    Attack("a system collection", "GET /api/collections/_externalAuths/records", (AS_SUPERUSER,), taken=200),
    Attack("a route that is none", "GET /api/hooks/custom", (AS_SUPERUSER,), taken=404),
]
HEADS = [
    Attack("two hosts", LISTED, ("Host: elsewhere",)),
    Attack("a length and chunks", CREATED, (OF_JSON, "Content-Length: 4", "Transfer-Encoding: chunked"), CHUNKED, 200),
    Attack("chunks and a length", CREATED, (OF_JSON, "Transfer-Encoding: chunked", "Content-Length: 4"), CHUNKED, 200),
    Attack("two lengths", CREATED, (OF_JSON, "Content-Length: 3"), TITLE),
    Attack("a transfer coding that is none", CREATED, (OF_JSON, "Transfer-Encoding: xchunked"), CHUNKED),
    Attack("a transfer coding that packs", CREATED, (OF_JSON, "Transfer-Encoding: gzip, chunked"), CHUNKED),
    Attack("a space before the colon", LISTED, ("X-Odd : 1",)),
    Attack("a folded header", LISTED, ("X-Odd: 1\r\n continued",), taken=200),
]
BODIES = [
    Attack("a body that a rule of lists reads", "GET /api/collections/asked/records", (OF_JSON,), TITLE, 200),
    Attack("a read with a body in chunks", LISTED, (OF_JSON, "Transfer-Encoding: chunked"), CHUNKED, 200),
    Attack("a delete with a body", f"DELETE {SHELF}/abcabcabcabcabc", (OF_JSON,), TITLE, 404),
    Attack("a type that begins like JSON", CREATED, ("Content-Type: application/jsonfoo",), TITLE, 200),
    Attack("a coding that is ignored", CREATED, (OF_JSON, "Content-Encoding: gzip"), TITLE, 200),
    Attack("a second value", CREATED, (OF_JSON,), TITLE + '{"title":"y"}', 200),
    Attack("a name twice", CREATED, (OF_JSON,), '{"title":"x","title":"y"}'),
    Attack("a batch in capitals", "POST /api/batch", (OF_JSON,), batch(ITEM, key="REQUESTS"), 200),
    Attack("a batch in the query", f"POST /api/batch?@jsonPayload={quote(batch(ITEM))}", (OF_FORM,), "a=1", 200),
    Attack("a topic that breaks the line", "POST /api/realtime", (OF_JSON,), subscribed("shelf/*\ndata: {}"), 404),
    Attack("a topic from elsewhere", "POST /api/realtime", (OF_JSON,), subscribed(TOPIC_FROM_ELSEWHERE), 404),
]
REFUSED = [*PATHS, *CLOSED, *HEADS, *BODIES]
READ_IN_ONE_WAY = [
    Attack("capitals", "GET /api/collections/SHELF/records", reaches=LISTED),
    Attack("escapes", "GET /api/collections/%73helf/records", reaches=LISTED),
    Attack("an id", "GET /api/collections/{shelf_id}/records", reaches=LISTED),
    Attack("the first of a name", f"{LISTED}?sort=title&sort=-title", reaches=f"{LISTED}?sort=title"),
    Attack("the first of a name by escapes", f"{LISTED}?%70erPage=7&perPage=9", reaches=f"{LISTED}?perPage=7"),
    Attack("no pair with a semicolon", f"{LISTED}?perPage=7;page=2&page=3", reaches=f"{LISTED}?page=3"),
    Attack("no pair with a broken escape", f"{LISTED}?perPage=%zz&page=3", reaches=f"{LISTED}?page=3"),
    Attack("no fields beside a form", f"{CREATED}?title=smuggled", (OF_FORM,), "title=x", reaches=CREATED),
    Attack("no payload beside a form", f"{CREATED}?@jsonPayload={quote(TITLE)}", (OF_FORM,), "a=1", reaches=CREATED),
]
ADDRESSES = Attack(
    "addresses",
    LISTED,
    (
        *(f"{name}: {SPOOFED}" for name in ("x_forwarded_for", "X-Real-IP", "CF-Connecting-IP", "X.Forwarded.For")),
        f"X-Forwarded-For: {SPOOFED}",
        f"X-Forwarded-For: {SPOOFED}, {CLIENT}",
        f"x_forwarded_for: {SPOOFED}",
    ),
)
FROM_NEAR = Attack("an item from elsewhere", "POST /api/batch", (OF_JSON,), batch(FROM_ELSEWHERE), 200)
TO_ELSEWHERE = Attack("a redirect", "GET /api/oauth2-redirect?state=x&code=y", taken=307)


@dataclass(slots=True)
class Seen:
    """By agent: who answered what, and the lines of PocketBase's log."""

    heads: dict[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])
    lines: dict[str, list[dict[str, Any]]] = field(default_factory=dict[str, list[dict[str, Any]]])

    def through(self, attack: Attack) -> list[str]:
        lines = self.lines.get(f"through {attack.name}", [])
        return [f"{line['method']} {line['url']}" for line in lines]


@pytest.fixture(scope="module")
def seen(guarded: PocketBaseServer, superuser_token: str, gateway: GatewayServer) -> Generator[Seen]:
    fields = [{"name": "title", "type": "text"}]
    rules = {"shelf": "", "asked": "@request.body.title = 'x'", "near": ""}
    with httpx.Client(base_url=guarded.url, timeout=30, headers={"Authorization": superuser_token}) as control:
        known = {"superuser": superuser_token, "email": guarded.email, "password": guarded.password}
        for name, rule in rules.items():
            near = f"@request.headers.x_forwarded_for = '{SPOOFED}'" if name == "near" else ""
            allowed = {"listRule": rule, "viewRule": "", "createRule": near, "deleteRule": ""}
            body = {"name": name, "type": "base", "fields": fields, **allowed}
            known[f"{name}_id"] = control.post("/api/collections", json=body).raise_for_status().json()["id"]
        control.post("/api/backups", json={"name": BACKUP}).raise_for_status()
        known["file_token"] = control.post("/api/files/token").json()["token"]
        yield asyncio.run(sent(guarded, gateway, known))
        for name in rules:
            control.delete(f"/api/collections/{name}").raise_for_status()


async def sent(pocketbase: PocketBaseServer, gateway: GatewayServer, known: dict[str, str]) -> Seen:
    found = Seen()
    last = Attack(LAST, LISTED)
    for attack in (*REFUSED, *READ_IN_ONE_WAY, ADDRESSES, FROM_NEAR, TO_ELSEWHERE, last):
        for way, url in (("directly", pocketbase.url), ("through", gateway.url)):
            agent = f"{way} {attack.name}"
            answer = await send_raw(url, attack.written(agent, known))
            found.heads[agent] = answer.status, answer.head
    async with httpx.AsyncClient(base_url=pocketbase.url, headers={"Authorization": known["superuser"]}) as control:
        await eventually(lambda: logged(control, f"through {LAST}"))
        for line in await logged(control, ""):
            found.lines.setdefault(line["userAgent"], []).append(line)
    return found


async def logged(control: httpx.AsyncClient, agent: str) -> list[dict[str, Any]]:
    chosen = f"data.userAgent = '{agent}'" if agent else "data.userAgent ~ 'through' || data.userAgent ~ 'directly'"
    answer = await control.get("/api/logs", params={"perPage": 500, "filter": chosen, "fields": "data"})
    return [item["data"] for item in answer.raise_for_status().json()["items"]]


@pytest.mark.parametrize("attack", REFUSED, ids=lambda attack: attack.name)
def test_what_could_be_read_in_two_ways_or_is_closed_never_reaches_pocketbase(seen: Seen, attack: Attack) -> None:
    status, head = seen.heads[f"through {attack.name}"]
    assert status in (400, 403, 404)
    assert "connection: close" in head
    assert seen.through(attack) == []
    if attack.taken:
        assert seen.heads[f"directly {attack.name}"][0] == attack.taken


@pytest.mark.parametrize("attack", READ_IN_ONE_WAY, ids=lambda attack: attack.name)
def test_what_is_spelt_in_many_ways_reaches_pocketbase_in_one(seen: Seen, attack: Attack) -> None:
    assert seen.heads[f"through {attack.name}"][0] == 200
    assert seen.through(attack) == [attack.reaches]
    [direct] = seen.lines[f"directly {attack.name}"]
    assert f"{direct['method']} {direct['url']}" != attack.reaches


def test_pocketbase_takes_the_client_to_be_where_the_trusted_proxy_says(seen: Seen) -> None:
    [line] = seen.lines[f"through {ADDRESSES.name}"]
    assert (line["userIP"], line["remoteIP"]) == (CLIENT, "127.0.0.1")


def test_an_item_of_a_batch_is_from_where_the_batch_is_from(seen: Seen) -> None:
    assert seen.heads[f"directly {FROM_NEAR.name}"][0] == FROM_NEAR.taken
    assert seen.heads[f"through {FROM_NEAR.name}"][0] == 400
    assert seen.through(FROM_NEAR) == ["POST /api/batch"], "without a word of where it says it is from"


def test_a_redirect_is_the_client_s_to_follow(seen: Seen) -> None:
    (direct, its), (status, ours) = (seen.heads[f"{way} {TO_ELSEWHERE.name}"] for way in ("directly", "through"))
    assert direct == status == TO_ELSEWHERE.taken
    assert location_in(its) == "location: ../_/#/auth/oauth2-redirect-failure"
    assert location_in(ours) == "location: ../auth/oauth2/failure", "PocketBase's page is not reachable"


def location_in(head: str) -> str:
    return next((line for line in head.split("\r\n") if line.startswith("location:")), "")
