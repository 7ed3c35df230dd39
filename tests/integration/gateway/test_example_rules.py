"""The example rules before a real PocketBase whose own rules let everybody do everything."""

import secrets
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.adapters.pocketbase import PocketBase, open_pocketbase
from gateway.adapters.rule_folder import RuleFolder
from gateway.core.bodies.field_names import field_of
from gateway.core.rule_files.context import Asker, StoredRecord
from gateway.core.rule_files.journal import Journal
from gateway.core.rule_files.moderation import ModerationTerms
from gateway.isolate.lanes import open_lanes
from gateway.judging.judge import Judge
from gateway.judging.moderate import Moderator
from gateway.judging.run_rule import Runner
from tests.court import write_rules
from tests.rules_pipeline import Pipeline
from tests.servers.pocketbase import PocketBaseServer, pocketbase_server

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples" / "rules"
PASSWORD = "correct-horse"
OPEN = {"listRule": "", "viewRule": "", "createRule": "", "updateRule": "", "deleteRule": ""}
AWARDED = ["validVerified", "postr_plus", "postr_subscriber_since", "followers"]


@pytest.fixture(scope="module")
def pocketbase_open() -> Generator[PocketBaseServer]:
    with pocketbase_server() as running:
        yield running


@pytest.fixture(scope="module")
def root(pocketbase_open: PocketBaseServer) -> Generator[httpx.Client]:
    """The superuser, who has opened everything and made the collections of the examples."""
    server = pocketbase_open
    with httpx.Client(base_url=server.url, timeout=30) as client:
        credentials = {"identity": server.email, "password": server.password}
        answer = client.post("/api/collections/_superusers/auth-with-password", json=credentials)
        client.headers["Authorization"] = answer.json()["token"]
        client.patch("/api/settings", json={"batch": {"enabled": True}}).raise_for_status()
        users = client.get("/api/collections/users").json()
        more = [
            {"name": "validVerified", "type": "bool"},
            {"name": "postr_plus", "type": "bool"},
            {"name": "postr_subscriber_since", "type": "text", "autogeneratePattern": "[a-z]{8}"},
            {"name": "followers", "type": "number"},
            {"name": "bio", "type": "text"},
        ]
        change = {**OPEN, "manageRule": "id != ''", "fields": [*users["fields"], *more]}
        client.patch("/api/collections/users", json=change).raise_for_status()
        fields = [
            {"name": "title", "type": "text", "required": True},
            {"name": "body", "type": "editor"},
            {"name": "draft", "type": "bool"},
            {"name": "owner", "type": "relation", "collectionId": users["id"], "maxSelect": 1},
        ]
        made = client.post("/api/collections", json={"name": "posts", "type": "base", "fields": fields, **OPEN})
        made.raise_for_status()
        yield client


@dataclass
class Member:
    id: str
    email: str
    client: httpx.AsyncClient


Account = tuple[str, str, str]  # id, address and token


@pytest.fixture(scope="module")
def accounts(root: httpx.Client) -> list[Account]:
    return [sign_up(root) for _ in range(2)]


def sign_up(root: httpx.Client) -> Account:
    email = f"{secrets.token_hex(6)}@example.com"
    body = {"email": email, "password": PASSWORD, "passwordConfirm": PASSWORD, "emailVisibility": True}
    id: str = root.post("/api/collections/users/records", json=body).json()["id"]
    credentials = {"identity": email, "password": PASSWORD}
    answer = root.post("/api/collections/users/auth-with-password", json=credentials, headers={"Authorization": ""})
    return id, email, answer.json()["token"]


class RootRecords:
    def __init__(self, control: PocketBase) -> None:
        self._control = control

    async def stored(self, collection: str, id: str) -> StoredRecord:
        return await self._control.record(collection, id)


@dataclass
class Stage:
    """The pipeline with the examples in it, a guest and two members."""

    guest: httpx.AsyncClient
    ann: Member
    bob: Member
    root: httpx.Client

    def count(self, collection: str) -> int:
        return self.root.get(f"/api/collections/{collection}/records").json()["totalItems"]

    def stored(self, collection: str, id: str) -> dict[str, Any]:
        return self.root.get(f"/api/collections/{collection}/records/{id}").json()


Opening = Callable[[Path], AbstractAsyncContextManager[Stage]]


@pytest.fixture
async def opening(pocketbase_open: PocketBaseServer, root: httpx.Client, accounts: list[Account]) -> Opening:
    """Opens the pipeline with the rules of a folder."""

    @asynccontextmanager
    async def opened(folder: Path) -> AsyncGenerator[Stage]:
        server = pocketbase_open
        with open_lanes() as lanes:
            rules, journal = RuleFolder(folder, lanes), Journal()
            await rules.load()
            async with (
                open_pocketbase(server.url, email=server.email, password=server.password) as control,
                httpx.AsyncClient(base_url=server.url, timeout=30) as pocketbase,
            ):
                runner = Runner(lanes, journal, deadline_seconds=10, tells_messages=False)
                judge = Judge(rules, runner, RootRecords(control), Moderator(None, ModerationTerms(), journal))
                askers = {token: Asker(id=id, collection="users") for id, _, token in accounts}
                transport = httpx.ASGITransport(Pipeline(judge, pocketbase, askers).app())
                ann, bob = (Member(id, email, client(transport, token)) for id, email, token in accounts)
                yield Stage(client(transport, ""), ann, bob, root)

    return opened


def client(transport: httpx.ASGITransport, token: str) -> httpx.AsyncClient:
    headers = {"Authorization": token} if token else {}
    return httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers)


@pytest.fixture
async def stage(opening: Opening) -> AsyncGenerator[Stage]:
    async with opening(EXAMPLES) as opened:
        yield opened


def users(id: str = "") -> str:
    return "/api/collections/users/records" + (f"/{id}" if id else "")


def posts(id: str = "") -> str:
    return "/api/collections/posts/records" + (f"/{id}" if id else "")


async def test_owners_change_their_record_and_nobody_else_does(stage: Stage) -> None:
    answer = await stage.ann.client.patch(users(stage.ann.id), json={"bio": "hi"})
    assert answer.status_code == 200
    assert stage.stored("users", stage.ann.id)["bio"] == "hi"
    missing = await stage.ann.client.patch(users("zzzzzzzzzzzzzzz"), json={"bio": "x"})
    for client in (stage.bob.client, stage.guest):
        for method in ("PATCH", "DELETE"):
            refused = await client.request(method, users(stage.ann.id), json={"email": "taken@example.com"})
            assert (refused.status_code, refused.json()) == (404, missing.json())
    assert stage.stored("users", stage.ann.id)["email"] == stage.ann.email


SPELLINGS = ["{}", "{}+", "+{}", "{}-", "{}:autogenerate"]


@pytest.mark.parametrize("field", AWARDED)
@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_nobody_awards_themselves_on_any_path(stage: Stage, field: str, spelling: str) -> None:
    before, key = stage.stored("users", stage.ann.id), spelling.format(field)
    url, own = users(stage.ann.id), stage.ann.client
    item = {"method": "PATCH", "url": url, "body": {key: 7}}
    answers = [
        await own.patch(url, json={key: 7}),
        await own.patch(url, data={key: "7"}),
        await own.patch(url, data={key: "7"}, files={"avatar": ("a.png", b"\x89PNG\r\n\x1a\n")}),
        await own.patch(url, files={key: ("a.png", b"\x89PNG\r\n\x1a\n")}),
        await own.post("/api/batch", json={"requests": [{**item, "body": {"bio": "x"}}, item]}),
    ]
    for answer in answers:
        assert answer.status_code == 400
        assert answer.json() == {
            "status": 400,
            "message": "Failed to update record.",
            "data": {field: {"code": "validation_not_yours", "message": "Not yours to change."}},
        }
    assert stage.stored("users", stage.ann.id) == before


async def test_nobody_signs_up_with_an_award(stage: Stage) -> None:
    email = f"{secrets.token_hex(6)}@example.com"
    body = {"email": email, "password": PASSWORD, "passwordConfirm": PASSWORD}
    refused = await stage.guest.post(users(), json={**body, "followers": 9})
    assert refused.status_code == 400
    assert (await stage.guest.post(users(), json=body)).status_code == 200


async def test_posts_are_signed_checked_and_their_owners(stage: Stage) -> None:
    made = (await stage.ann.client.post(posts(), json={"title": " hello ", "body": "x"})).json()
    assert (made["title"], made["owner"], made["draft"]) == ("hello", stage.ann.id, False)
    for fields in ({"title": "ab"}, {"title": "LOUD"}, {"title": "fine", "owner": stage.bob.id}, {"title+": "more"}):
        assert (await stage.ann.client.post(posts(), json=fields)).status_code == 400
        assert (await stage.ann.client.patch(posts(made["id"]), json=fields)).status_code == 400
    assert (await stage.guest.post(posts(), json={"title": "hello"})).status_code == 401
    assert (await stage.bob.client.patch(posts(made["id"]), json={"title": "mine"})).status_code == 404
    assert (await stage.bob.client.delete(posts(made["id"]))).status_code == 404
    assert (await stage.ann.client.patch(posts(made["id"]), json={"title": "mine"})).status_code == 200
    assert stage.stored("posts", made["id"])["title"] == "mine"
    assert (await stage.ann.client.delete(posts(made["id"]))).status_code == 204


async def test_a_missing_field_is_refused_word_by_word_as_pocketbase_refuses_it(stage: Stage) -> None:
    refused = await stage.ann.client.post(posts(), json={"body": "x"})
    direct = stage.root.post(posts(), json={"body": "x"})
    assert (refused.status_code, refused.json()) == (direct.status_code, direct.json())


async def test_a_batch_is_written_as_its_rules_leave_it_or_not_at_all(stage: Stage) -> None:
    def item(title: str) -> dict[str, Any]:
        return {"method": "POST", "url": posts(), "body": {"title": title}}

    mark = secrets.token_hex(4)
    refused = await stage.ann.client.post("/api/batch", json={"requests": [item(mark), item("LOUD")]})
    assert refused.status_code == 400
    written = await stage.ann.client.post("/api/batch", json={"requests": [item(f" {mark} "), item(mark)]})
    assert [result["body"]["owner"] for result in written.json()] == [stage.ann.id] * 2
    found = stage.root.get(posts(), params={"filter": f"title = '{mark}'"}).json()
    assert found["totalItems"] == 2


async def test_addresses_and_drafts_show_to_their_owners_alone(stage: Stage) -> None:
    made = (await stage.ann.client.post(posts(), json={"title": "draft", "body": "secret", "draft": True})).json()
    assert made["body"] == "secret"
    own = (await stage.ann.client.get(posts(made["id"]), params={"expand": "owner"})).json()
    assert (own["body"], own["expand"]["owner"]["email"]) == ("secret", stage.ann.email)
    for client in (stage.bob.client, stage.guest):
        for query in (
            {"expand": "owner", "filter": f"id='{made['id']}'"},
            {"expand": "owner", "fields": "body,expand.owner.email,expand.owner.collectionName"},
            {"fields": "body"},
        ):
            for url in (posts(), posts(made["id"])):
                answer = await client.get(url, params=query)
                assert answer.status_code == 200
                assert "secret" not in answer.text
                assert stage.ann.email not in answer.text
        assert stage.ann.email not in (await client.get(users(), params={"perPage": 500})).text
    hidden = await stage.guest.get(posts(made["id"]), params={"expand": "owner", "fields": "expand.owner.email"})
    assert hidden.status_code == 400


async def test_rules_that_do_not_load_let_nothing_reach_pocketbase(opening: Opening, tmp_path: Path) -> None:
    (tmp_path / "users.py").write_text("def")
    async with opening(tmp_path) as broken:
        count = broken.count("posts")
        answers = [
            await broken.ann.client.post(posts(), json={"title": "abc"}),
            await broken.ann.client.get(posts()),
            await broken.ann.client.delete(users(broken.ann.id)),
        ]
        assert [answer.status_code for answer in answers] == [503] * 3
        assert answers[0].json()["data"] == {}
        assert broken.stored("users", broken.ann.id)["id"] == broken.ann.id
        assert broken.count("posts") == count


async def test_what_a_rule_sets_is_what_pocketbase_stores_whatever_else_is_sent(
    opening: Opening, tmp_path: Path
) -> None:
    write_rules(tmp_path, sign='@before("posts", "*")\ndef sign(ctx): ctx.record["owner"] = ctx.principal.id')
    async with opening(tmp_path) as signing:
        ann, bob = signing.ann, signing.bob
        both = {"title": "abc", "owner": ann.id, "owner+": bob.id}
        assert signing.root.post(posts(), json=both).json()["owner"] == bob.id  # PocketBase's own last word
        assert (await ann.client.post(posts(), json=both)).status_code == 400
        for spelling in ("owner", "owner+", "+owner"):
            fields = {"title": "abc", spelling: bob.id}
            for body in ({"json": fields}, {"data": fields}, {"data": fields, "files": {"x": ("x", b"")}}):
                made = (await ann.client.post(posts(), **cast(Any, body))).json()
                assert signing.stored("posts", made["id"])["owner"] == ann.id


AFFIXES = st.text(st.sampled_from("+-:.# \x00autogenerateeachlower"), max_size=4)


@pytest.fixture(scope="module")
def probe(root: httpx.Client) -> str:
    """The address of one record with a field of each kind that takes modifiers."""
    fields: list[dict[str, Any]] = [
        {"name": "n", "type": "number"},
        {"name": "text", "type": "text", "autogeneratePattern": "[a-z]{8}"},
        {"name": "choice", "type": "select", "values": ["1", "2"], "maxSelect": 2},
        {"name": "plain", "type": "bool"},
    ]
    body = {"name": "probes", "type": "base", "fields": fields, **OPEN}
    root.post("/api/collections", json=body).raise_for_status()
    made = root.post("/api/collections/probes/records", json={"n": 5, "choice": ["2"]}).json()
    return f"/api/collections/probes/records/{made['id']}"


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["n", "text", "choice", "plain", "N", "Text"]),
    AFFIXES | st.sampled_from(["", "+", "-"]),
    AFFIXES | st.sampled_from(["", "+", "-", ":autogenerate", ":each", ":lower", ":length", ":isset"]),
)
def test_no_key_changes_a_field_that_is_not_the_one_it_is_taken_for(
    root: httpx.Client, probe: str, field: str, prefix: str, suffix: str
) -> None:
    """Random keys to the real PocketBase: whatever changes is what `field_of` says."""
    key = prefix + field + suffix
    before = root.get(probe).json()
    after = root.patch(probe, json={key: 1}).json()
    assert {name for name in before if after.get(name) != before[name]} <= {field_of(key)}
