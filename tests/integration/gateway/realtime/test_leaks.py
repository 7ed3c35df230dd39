"""Random users, rules, writes, reassignments and deletions: whoever listens through the gateway is told exactly what a
direct subscription of the same user is told, nothing more and nothing less.
"""

import random
import secrets
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.eventually import eventually
from tests.integration.gateway.realtime.listener import (
    InOrder,
    Listener,
    in_order,
    listening,
    topic,
    until_own_streams,
    until_told,
)
from tests.servers.gateway import PASSWORD, GatewayServer
from tests.servers.natsync import Stack
from tests.thorough import times

ROUNDS, WRITES = 3, 40
LOCAL = (
    "",
    "owner = @request.auth.id",
    "@request.auth.id != '' && owner = @request.auth.id",
    "published = true",
    "published = true || owner = @request.auth.id",
    "@request.auth.role = audience && published != false",
    "audience = @request.auth.role && (level <= @request.auth.level || owner = @request.auth.id)",
    "@request.auth.verified = true || level > 1",
    "@request.auth.collectionName = 'people' && owner != @request.auth.id",
    "secret = 's1' || audience != 'staff'",
    "owner = null || @request.context = 'default' || author.id = @request.auth.id",
    "@request.auth.id = author",
)
ASKED = (
    "title ~ 'a'",
    "editors.id ?= @request.auth.id",
    "author.role = @request.auth.role",
    "@request.auth.friend.role = audience",
    "@collection.people.role ?= audience && level:isset = false || title:lower = 'b'",
    "@request.headers.x_tenant = 'a' || @request.query.open = 'yes'",
)
USER_RULES = ("", "id = @request.auth.id", "role = @request.auth.role", "verified = true", "@request.auth.id != ''")
MANAGE_RULES = (None, "role = @request.auth.role", "@request.auth.level > 2", "@request.auth.friend = id")
FILTERS = ("", "published = true", "level > 1 && audience != 'x'", "title ~ 'b'", "secret = 's1'", "owner = 'nobody'")
FIELDS = ("", "id,title", "*", "title:excerpt(2),id", "secret,owner,collectionName")
EXPANDS = ("", "", "author", "author.friend,editors")


@dataclass(slots=True)
class Stage:
    """Names of the two collections of one run, those who are in it, and what they wrote."""

    root: httpx.AsyncClient
    writing: InOrder
    chance: random.Random
    items: str
    people: list[str] = field(default_factory=list[str])
    written: list[str] = field(default_factory=list[str])

    def item(self) -> dict[str, Any]:
        choice = self.chance.choice
        return {
            "title": choice(["a", "b", "A line of text", "ünï <&>"]),
            "secret": choice(["s1", "s2", ""]),
            "owner": choice([*self.people, ""]),
            "author": choice([*self.people, ""]),
            "editors": self.chance.sample(self.people, 2),
            "published": choice([True, False]),
            "audience": choice(["staff", "guest", ""]),
            "level": choice([0, 1, 2.5, 3]),
            "data": choice([None, {"b": [1, 2.5, "x"], "a": None}, "text", 12345678901234567890]),
            "at": choice(["", "2024-01-02 03:04:05.678Z"]),
        }

    def person(self) -> dict[str, Any]:
        choice = self.chance.choice
        return {
            "role": choice(["staff", "guest", ""]),
            "level": choice([0, 1, 2.5, 3]),
            "friend": choice([*self.people, ""]),
            "verified": choice([True, False]),
            "emailVisibility": choice([True, False]),
        }

    async def write(self) -> None:
        kind = self.chance.random()
        path = f"/api/collections/{self.items}/records"
        if kind < 0.4 or not self.written:
            self.written.append(await self.writing.create(path, self.item()))
        elif kind < 0.7:
            changed = dict(self.chance.sample(sorted(self.item().items(), key=lambda pair: pair[0]), 4))
            await self.writing.update(path, self.chance.choice(self.written), changed)
        elif kind < 0.85:
            id = self.written.pop(self.chance.randrange(len(self.written)))
            await self.writing.delete(path, id)
        else:
            people = "/api/collections/people/records"
            await self.writing.update(people, self.chance.choice(self.people), self.person())

    async def new_rules(self) -> None:
        rules = [self.chance.choice([*LOCAL, *LOCAL, *ASKED, None]) for _ in range(2)]
        body = {"listRule": rules[0], "viewRule": rules[1]}
        assert (await self.root.patch(f"/api/collections/{self.items}", json=body)).is_success
        rules = [self.chance.choice([*USER_RULES, None]) for _ in range(2)]
        body = {"listRule": rules[0], "viewRule": rules[1], "manageRule": self.chance.choice(MANAGE_RULES)}
        assert (await self.root.patch("/api/collections/people", json=body)).is_success

    def topics(self) -> list[str]:
        choice = self.chance.choice
        paths = [f"{self.items}/*", f"{self.items}/*", self.items, *(f"{self.items}/{id}" for id in self.written[:3])]
        wanted = [topic(path) for path in paths]
        for path in (*paths, *paths):
            options = {"filter": choice(FILTERS), "fields": choice(FIELDS), "expand": choice(EXPANDS)}
            wanted.append(topic(path, **{name: value for name, value in options.items() if value}))
        wanted += ["people/*", f"people/{choice(self.people)}", topic("people/*", filter="email != ''"), "marks/*"]
        return list(dict.fromkeys(wanted))


async def prepared(root: httpx.AsyncClient, items: str) -> None:
    """What a run needs; the people and the marks are shared by all runs."""
    text = [{"name": name, "type": "text"} for name in ("title", "owner", "audience")]
    if (await root.get("/api/collections/people")).status_code == 404:
        own = [{"name": "role", "type": "text"}, {"name": "level", "type": "number"}]
        made = await root.post("/api/collections", json={"name": "people", "type": "auth", "fields": own})
        assert made.is_success, made.text
        friend = {"name": "friend", "type": "relation", "collectionId": made.json()["id"], "maxSelect": 1}
        fields = [*made.json()["fields"], friend]
        assert (await root.patch("/api/collections/people", json={"fields": fields})).is_success
        mark: dict[str, Any] = {"name": "marks", "type": "base", "listRule": "", "fields": []}
        assert (await root.post("/api/collections", json=mark)).is_success
    people = (await root.get("/api/collections/people")).json()["id"]
    fields = [
        *text,
        {"name": "secret", "type": "text", "hidden": True},
        {"name": "author", "type": "relation", "collectionId": people, "maxSelect": 1},
        {"name": "editors", "type": "relation", "collectionId": people, "maxSelect": 3},
        {"name": "published", "type": "bool"},
        {"name": "level", "type": "number"},
        {"name": "data", "type": "json"},
        {"name": "at", "type": "date"},
    ]
    made = await root.post("/api/collections", json={"name": items, "type": "base", "fields": fields, "listRule": ""})
    assert made.is_success, made.text


async def person(stage: Stage, urls: tuple[str, str]) -> list[dict[str, str]]:
    """Signed in at both; the first of the headers are PocketBase's."""
    email = f"{secrets.token_hex(6)}@example.com"
    body = {"email": email, "password": PASSWORD, "passwordConfirm": PASSWORD, **stage.person()}
    made = await stage.root.post("/api/collections/people/records", json=body)
    assert made.is_success, made.text
    stage.people.append(made.json()["id"])
    found: list[dict[str, str]] = []
    for url in urls:
        async with httpx.AsyncClient(base_url=url, timeout=20) as client:
            credentials = {"identity": email, "password": PASSWORD}
            answer = await client.post("/api/collections/people/auth-with-password", json=credentials)
            found.append({"Authorization": answer.json()["token"]})
    return found


@asynccontextmanager
async def both_ways(
    urls: tuple[str, str], callers: list[list[dict[str, str]]]
) -> AsyncGenerator[list[tuple[Listener, Listener]]]:
    async with AsyncExitStack() as stack:
        yield [
            (
                await stack.enter_async_context(listening(urls[0], direct)),
                await stack.enter_async_context(listening(urls[1], through)),
            )
            for direct, through in callers
        ]


@pytest.mark.parametrize("seed", range(1, 1 + times(1, 12)))
async def test_every_client_is_told_what_a_direct_subscription_of_the_same_user_is_told(
    fed: Stack, fanning: GatewayServer, root: httpx.AsyncClient, seed: int
) -> None:
    urls = (fed.pocketbase.url, fanning.url)
    async with in_order(root, fed) as writing:
        stage = Stage(root, writing, random.Random(seed), f"items_{secrets.token_hex(3)}")
        await prepared(root, stage.items)
        await until_told(root, fed)
        await rounds(stage, urls, fed)


async def rounds(stage: Stage, urls: tuple[str, str], feed: Stack) -> None:
    callers: list[list[dict[str, str]]] = [[{}, {}], *[await person(stage, urls) for _ in range(3)]]
    for _ in range(4):
        await stage.write()
    heard = 0
    for _ in range(ROUNDS):
        await stage.new_rules()
        await until_told(stage.root, feed)
        heard += await a_round(stage, urls, callers)
    assert heard, "nobody was ever told anything"


async def a_round(stage: Stage, urls: tuple[str, str], callers: list[list[dict[str, str]]]) -> int:
    """How much was told."""
    await until_own_streams(urls[1])
    async with both_ways(urls, callers) as pairs:
        for pair in pairs:
            topics = stage.topics()
            for listener in pair:
                assert await listener.subscribe(*topics) == 204
        for _ in range(WRITES):
            await stage.write()
        mark = (await stage.root.post("/api/collections/marks/records", json={})).json()["id"]

        async def differences() -> list[Any]:
            marked = [any(mark in data for _, data in one.told) for pair in pairs for one in pair]
            assert all(marked), "not everybody has heard of the end yet"
            return [found for pair in pairs if (found := difference(*pair))]

        try:
            await eventually(differences, lambda found: not found, seconds=5)
        except AssertionError:
            rules = (await stage.root.get(f"/api/collections/{stage.items}")).json()
            people = (await stage.root.get("/api/collections/people")).json()
            names = ("listRule", "viewRule", "manageRule")
            shown = [{name: row.get(name) for name in names} for row in (rules, people)]
            raise AssertionError(f"{shown}: {await differences()}") from None
        return sum(shown_by(through, stage.items) for _, through in pairs)


def shown_by(listener: Listener, items: str) -> int:
    return sum(name.startswith(items) for name, _ in listener.told)


def difference(direct: Listener, through: Listener) -> dict[str, Counter[tuple[str, str]]]:
    missing, leaked = direct.counted - through.counted, through.counted - direct.counted
    return {"missing": missing, "leaked": leaked} if missing or leaked else {}
