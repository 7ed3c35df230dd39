"""Two gateway processes that keep answers, and PocketBase changed past them, with every server real."""

import asyncio
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.eventually import eventually, not_later_than
from tests.servers.gateway import PASSWORD, GatewayServer, User, prepare, signed_up
from tests.servers.natsync import CALM, Stack, running_stack
from tests.session_client import OPERATOR_KEY, two_gateways

SOON_SECONDS = 1.0
HESITATION = """
for (const hook of [onRecordViewRequest, onRecordsListRequest]) {
  hook((e) => {
    if (e.requestInfo().headers["x_hesitate"]) {
      $app.store().setFunc("hesitating", (count) => (count || 0) + 1)
      while ($app.store().get("hesitating")) sleep(10)
    }
    return e.next()
  })
}
routerAdd("GET", "/hesitating", (e) => e.json(200, $app.store().get("hesitating") || 0))
routerAdd("DELETE", "/hesitating", (e) => {
  $app.store().set("hesitating", 0)
  return e.noContent(204)
})
"""
"""A PocketBase that has read its records, and does not tell of them until it is asked to go on."""
NOTHING: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Site:
    stack: Stack
    servers: tuple[GatewayServer, GatewayServer]
    superuser_token: str


@dataclass(frozen=True, slots=True)
class Scene:
    """Two processes, and PocketBase itself as its superuser."""

    here: httpx.AsyncClient
    there: httpx.AsyncClient
    direct: httpx.AsyncClient

    async def collection(self, **terms: Any) -> str:
        name = f"posts_{uuid4().hex[:8]}"
        fields = [{"name": "title", "type": "text"}, {"name": "owner", "type": "text"}]
        rules = dict.fromkeys(("listRule", "viewRule", "createRule", "updateRule", "deleteRule"), "")
        body = {"name": name, "type": "base", "fields": [*fields, *terms.pop("fields", ())], **rules, **terms}
        (await self.direct.post("/api/collections", json=body)).raise_for_status()
        return name

    async def record(self, collection: str, **fields: Any) -> str:
        answer = await self.direct.post(f"/api/collections/{collection}/records", json=fields)
        return answer.raise_for_status().json()["id"]

    async def changed(self, collection: str, id: str, **fields: Any) -> None:
        path = f"/api/collections/{collection}/records/{id}"
        (await self.direct.patch(path, json=fields)).raise_for_status()


@pytest.fixture(scope="module")
def site(valkey_url: str) -> Generator[Site]:
    with ExitStack() as running:
        stack = running.enter_context(running_stack(hooks=HESITATION, **CALM))
        token = prepare(stack.pocketbase)
        servers = running.enter_context(two_gateways(stack.pocketbase, valkey_url, **listening(stack)))
        yield Site(stack, servers, token)


def listening(stack: Stack) -> dict[str, str]:
    creds = stack.directory / "creds" / "gateway.creds"
    return {"NATS_URL": stack.nats_url, "GATEWAY_NATS_CREDS": str(creds)}


@pytest.fixture
async def scene(site: Site) -> AsyncGenerator[Scene]:
    async with (
        httpx.AsyncClient(base_url=site.servers[0].url, timeout=20) as here,
        httpx.AsyncClient(base_url=site.servers[1].url, timeout=20) as there,
        httpx.AsyncClient(
            base_url=site.stack.pocketbase.url, timeout=20, headers={"Authorization": site.superuser_token}
        ) as direct,
    ):
        yield Scene(here, there, direct)


async def read(
    client: httpx.AsyncClient, path: str, user: User | None = None, *, sent: Mapping[str, str] = NOTHING
) -> httpx.Response:
    return await client.get(path, headers={**(user.headers if user else {}), **sent})


async def kept(client: httpx.AsyncClient, path: str, user: User | None = None) -> httpx.Response:
    """The answer once it comes from memory."""

    async def ask() -> httpx.Response:
        return await read(client, path, user)

    return await eventually(ask, lambda answer: answer.headers.get("x-cache") == "HIT")


async def soon(client: httpx.AsyncClient, path: str, status: int, text: str = "", user: User | None = None) -> None:
    """Whatever is asked more than a second after the change has to be true, and to stay so."""

    async def ask() -> httpx.Response:
        return await read(client, path, user)

    def is_true(answer: httpx.Response) -> bool:
        return answer.status_code == status and text in answer.text

    await not_later_than(SOON_SECONDS, ask, is_true)
    for _ in range(3):
        assert is_true(await ask())


def path_of(collection: str, id: str = "") -> str:
    return f"/api/collections/{collection}/records" + (f"/{id}" if id else "")


async def test_a_read_is_asked_once_and_then_answered_from_memory_with_the_same_body(scene: Scene) -> None:
    posts = await scene.collection()
    id = await scene.record(posts, title="first")
    for path in (path_of(posts, id), path_of(posts), f"{path_of(posts)}?filter=title='first'&page=1"):
        answer = await kept(scene.here, path)
        assert answer.json() == (await scene.direct.get(path)).json()


async def test_a_change_made_directly_counts_in_both_processes_within_a_second(scene: Scene) -> None:
    posts = await scene.collection()
    id = await scene.record(posts, title="first")
    for client in (scene.here, scene.there):
        await kept(client, path_of(posts, id))
    await scene.changed(posts, id, title="second")
    for client in (scene.here, scene.there):
        await soon(client, path_of(posts, id), 200, '"second"')


OWNED = "@request.auth.id != '' && owner = @request.auth.id"


@pytest.fixture
async def ann(scene: Scene) -> User:
    return await signed_up(scene.here)


@pytest.fixture
async def bob(scene: Scene) -> User:
    return await signed_up(scene.there, name="bob")


async def test_who_loses_a_record_does_not_see_it_a_second_later(scene: Scene, ann: User, bob: User) -> None:
    posts = await scene.collection(listRule=OWNED, viewRule=OWNED)
    id = await scene.record(posts, title="secret", owner=ann.id)
    for client in (scene.here, scene.there):
        await kept(client, path_of(posts, id), ann)
        await kept(client, path_of(posts), ann)
        assert (await read(client, path_of(posts, id), bob)).status_code == 404
        assert (await read(client, path_of(posts), bob)).json()["items"] == []
    await scene.changed(posts, id, owner=bob.id)
    for client in (scene.here, scene.there):
        await soon(client, path_of(posts, id), 404, user=ann)
        await soon(client, path_of(posts), 200, '"items":[]', user=ann)
        await soon(client, path_of(posts, id), 200, "secret", user=bob)
        await soon(client, path_of(posts), 200, "secret", user=bob)


async def test_another_rule_counts_within_a_second(scene: Scene, ann: User) -> None:
    posts = await scene.collection()
    id = await scene.record(posts, title="once public")
    for client in (scene.here, scene.there):
        await kept(client, path_of(posts, id))
        await kept(client, path_of(posts, id), ann)
    await scene.direct.patch(f"/api/collections/{posts}", json={"viewRule": "owner = @request.auth.id && owner != ''"})
    for client in (scene.here, scene.there):
        await soon(client, path_of(posts, id), 404)
        await soon(client, path_of(posts, id), 404, user=ann)


async def test_a_delete_that_takes_others_along_counts_for_these_too(scene: Scene) -> None:
    authors = await scene.collection()
    target = (await scene.direct.get(f"/api/collections/{authors}")).json()["id"]
    relation = {"name": "author", "type": "relation", "collectionId": target, "cascadeDelete": True, "maxSelect": 1}
    posts = await scene.collection(fields=[relation])
    author = await scene.record(authors, title="author")
    id = await scene.record(posts, title="post", author=author)
    for client in (scene.here, scene.there):
        await kept(client, path_of(posts, id))
    await scene.direct.delete(path_of(authors, author))
    for client in (scene.here, scene.there):
        await soon(client, path_of(posts, id), 404)


async def test_an_edit_of_an_expanded_record_and_of_one_that_a_rule_reads_counts(scene: Scene, ann: User) -> None:
    teams = await scene.collection()
    target = (await scene.direct.get(f"/api/collections/{teams}")).json()["id"]
    relation = {"name": "team", "type": "relation", "collectionId": target, "maxSelect": 1}
    posts = await scene.collection(fields=[relation], viewRule="team.owner = @request.auth.id")
    team = await scene.record(teams, title="red", owner=ann.id)
    id = await scene.record(posts, title="post", team=team)
    path = f"{path_of(posts, id)}?expand=team"
    for client in (scene.here, scene.there):
        assert '"red"' in (await kept(client, path, ann)).text
    await scene.changed(teams, team, title="blue")
    for client in (scene.here, scene.there):
        await soon(client, path, 200, '"blue"', user=ann)
    await scene.changed(teams, team, owner="nobody")
    for client in (scene.here, scene.there):
        await soon(client, path, 404, user=ann)


async def test_a_change_of_what_a_view_is_made_from_counts_for_the_view(scene: Scene) -> None:
    posts = await scene.collection()
    id = await scene.record(posts, title="first")
    shelf = f"shelf_{posts}"
    query = f"SELECT id, title FROM {posts}"
    view = {"name": shelf, "type": "view", "viewQuery": query, "listRule": "", "viewRule": ""}
    (await scene.direct.post("/api/collections", json=view)).raise_for_status()
    for client in (scene.here, scene.there):
        for path in (path_of(shelf), path_of(shelf, id)):
            assert "first" in (await kept(client, path)).text
    await scene.changed(posts, id, title="second")
    for client in (scene.here, scene.there):
        for path in (path_of(shelf), path_of(shelf, id)):
            await soon(client, path, 200, "second")
            await kept(client, path)
    query = f"SELECT id, ('not ' || title) AS title FROM {posts}"
    (await scene.direct.patch(f"/api/collections/{shelf}", json={"viewQuery": query})).raise_for_status()
    for client in (scene.here, scene.there):
        await soon(client, path_of(shelf, id), 200, "not second")
    await scene.direct.delete(f"/api/collections/{shelf}")


async def test_an_answer_that_a_change_has_overtaken_is_given_once_and_not_kept(scene: Scene, ann: User) -> None:
    posts = await scene.collection(viewRule=OWNED)
    mine = await scene.record(posts, title="first", owner=ann.id)
    hesitating = {**ann.headers, "X-Hesitate": "1"}
    asked = [(client, path) for client in (scene.here, scene.there) for path in (path_of(posts, mine), path_of(posts))]
    await kept(scene.here, path_of(posts, mine), ann)
    await scene.changed(posts, mine, title="second")
    async with asyncio.TaskGroup() as tasks:
        slow = [tasks.create_task(client.get(path, headers=hesitating)) for client, path in asked]
        await eventually(lambda: hesitations(scene), lambda told: told == len(slow))
        await scene.changed(posts, mine, title="third", owner="somebody else")
        (await scene.direct.delete("/hesitating")).raise_for_status()
    assert all("second" in task.result().text for task in slow), "PocketBase had read the record before"
    for client in (scene.here, scene.there):
        assert (await read(client, path_of(posts, mine), ann)).status_code == 404
        assert "third" in (await read(client, path_of(posts), ann)).text


async def hesitations(scene: Scene) -> int:
    return (await scene.direct.get("/hesitating")).json()


async def test_a_value_of_the_callers_record_counts_as_it_is_now(scene: Scene, ann: User, bob: User) -> None:
    posts = await scene.collection(viewRule="@request.auth.name = title")
    id = await scene.record(posts, title="ann")
    for client in (scene.here, scene.there):
        await kept(client, path_of(posts, id), ann)
        assert (await read(client, path_of(posts, id), bob)).status_code == 404
    await scene.changed("users", ann.id, name="anna")
    for client in (scene.here, scene.there):
        await soon(client, path_of(posts, id), 404, user=ann)
    await scene.changed("users", bob.id, name="ann")
    for client in (scene.here, scene.there):
        await soon(client, path_of(posts, id), 200, user=bob)


async def test_an_own_write_is_read_back_at_once_in_either_process(scene: Scene, ann: User) -> None:
    posts = await scene.collection()
    made = await scene.here.post(path_of(posts), json={"title": "0"}, headers=ann.headers)
    path = path_of(posts, made.json()["id"])
    clients = (scene.here, scene.there)
    for client in clients:
        await kept(client, path)
    for number in range(20):
        title = f"title {number}"
        await clients[number % 2].patch(path, json={"title": title}, headers=ann.headers)
        for client in clients:
            assert (await read(client, path)).json()["title"] == title
    await scene.here.delete(path, headers=ann.headers)
    assert (await read(scene.there, path)).status_code == 404


async def test_who_has_the_answer_already_is_told_so_without_a_body(scene: Scene, ann: User) -> None:
    posts = await scene.collection(viewRule=OWNED)
    id = await scene.record(posts, title="first", owner=ann.id)
    answer = await kept(scene.here, path_of(posts, id), ann)
    tag = answer.headers["etag"]
    assert answer.headers["cache-control"] == "private, no-cache"
    assert "Authorization" in answer.headers["vary"]
    again = await read(scene.here, path_of(posts, id), ann, sent={"If-None-Match": f'"other", W/{tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    stranger = await read(scene.here, path_of(posts, id), sent={"If-None-Match": tag})
    assert stranger.status_code == 404
    await scene.changed(posts, id, title="second")
    await soon(scene.here, path_of(posts, id), 200, '"second"', user=ann)
    assert (await read(scene.here, path_of(posts, id), ann, sent={"If-None-Match": tag})).status_code == 200


async def test_a_refusal_is_never_kept(scene: Scene) -> None:
    posts = await scene.collection()
    id = await scene.record(posts, title="first")
    await kept(scene.here, path_of(posts, id))
    for _ in range(3):
        answer = await read(scene.here, path_of(posts, "unknown12345678"))
        assert (answer.status_code, answer.headers["x-cache"]) == (404, "MISS")


async def test_a_file_is_kept_whole_and_parts_of_it_are_asked_of_pocketbase(scene: Scene) -> None:
    posts = await scene.collection(
        fields=[{"name": "file", "type": "file"}, {"name": "hidden", "type": "file", "protected": True}]
    )
    made = await scene.direct.post(
        path_of(posts), files={"file": ("a.txt", b"0123456789"), "hidden": ("b.txt", b"abc")}, data={"title": "t"}
    )
    record = made.json()
    path = f"/api/files/{posts}/{record['id']}/{record['file']}"
    direct = await scene.direct.get(path)
    other = await read(scene.here, path)
    assert other.headers["x-cache"] == "BYPASS"  # one protected field is enough
    assert other.content == direct.content == b"0123456789"
    part = await read(scene.here, path, sent={"Range": "bytes=2-4"})
    assert (part.status_code, part.content) == (206, b"234")
    for answer in (other, part, await scene.here.head(path)):
        assert answer.headers["cache-control"] == f"private, {direct.headers['cache-control']}"


async def test_a_file_that_anybody_may_have_is_kept(scene: Scene) -> None:
    posts = await scene.collection(fields=[{"name": "file", "type": "file"}])
    record = (await scene.direct.post(path_of(posts), files={"file": ("a.txt", b"0123456789")})).json()
    path = f"/api/files/{posts}/{record['id']}/{record['file']}"
    direct, own = await scene.direct.get(path), await kept(scene.here, path)
    for name in ("content-type", "last-modified", "cache-control", "content-security-policy", "content-disposition"):
        assert own.headers.get(name) == direct.headers.get(name)
    assert own.content == b"0123456789"
    part = await read(scene.here, path, sent={"Range": "bytes=2-4"})
    assert (part.status_code, part.content, part.headers["x-cache"]) == (206, b"234", "BYPASS")
    since = await read(scene.here, path, sent={"If-Modified-Since": direct.headers["last-modified"]})
    assert since.status_code == 304
    await scene.direct.delete(path_of(posts, record["id"]))
    await soon(scene.here, path, 404)


async def test_an_answer_of_more_than_a_mebibyte_passes_whole_and_is_asked_each_time(scene: Scene, ann: User) -> None:
    posts = await scene.collection(fields=[{"name": "body", "type": "text", "max": 800_000}])
    first, second = [await scene.record(posts, title=letter, body=letter * 700_000) for letter in "ab"]
    for user in (None, ann):
        for client in (scene.here, scene.there, scene.here):
            answer = await read(client, path_of(posts), user)
            assert answer.headers["x-cache"] == "BYPASS"
            assert answer.content == (await scene.direct.get(path_of(posts))).content
    await scene.changed(posts, first, title="changed")
    assert (await read(scene.here, path_of(posts))).json()["items"][0]["title"] == "changed"
    assert (await kept(scene.here, path_of(posts, second))).json()["body"] == "b" * 700_000


async def test_the_operator_is_told_why_a_read_is_kept_or_not(site: Site, scene: Scene, ann: User) -> None:
    posts = await scene.collection(viewRule=OWNED)
    id = await scene.record(posts, title="first", owner=ann.id)
    await kept(scene.here, path_of(posts, id), ann)
    url = f"{site.servers[0].operations_url}/cache/explain"
    asked = {"path": path_of(posts, id), "principal": f"users/{ann.id}"}
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {OPERATOR_KEY}"}) as operator:
        told = (await operator.get(url, params=asked)).json()
        assert told["class"] == "auth-projection"
        assert told["depends_on"] == [posts]
        assert told["cache"]["outcome"] == "hit"
        stranger = (await operator.get(url, params={"path": path_of(posts, id)})).json()
        assert stranger["cache"]["outcome"] == "miss"
        random = (await operator.get(url, params={"path": f"{path_of(posts)}?sort=@random"})).json()
        assert random["class"] == "never"
        nothing = await operator.get(url)
        assert (nothing.status_code, nothing.json()["message"]) == (400, "Missing or malformed: path.")
    async with httpx.AsyncClient() as nobody:
        assert (await nobody.get(url, params=asked)).status_code in (401, 403)


async def test_who_was_changed_or_deleted_directly_is_out_in_both_processes(scene: Scene, ann: User, bob: User) -> None:
    everybody = "@request.auth.id != ''"
    posts = await scene.collection(viewRule=everybody)
    id = await scene.record(posts, title="for members")
    for client in (scene.here, scene.there):
        await kept(client, path_of(posts, id), ann)
        await kept(client, path_of(posts, id), bob)
    changed = {"password": "another password", "passwordConfirm": "another password"}
    await scene.changed("users", ann.id, **changed)
    await scene.direct.delete(path_of("users", bob.id))
    for client in (scene.here, scene.there):
        await soon(client, path_of(posts, id), 404, user=ann)
        await soon(client, path_of(posts, id), 404, user=bob)
    carl = await signed_up(scene.here, name="carl")
    assert (await read(scene.there, path_of(posts, id), carl)).status_code == 200


@pytest.mark.parametrize("change", [{"authToken": {"secret": "s" * 50}}, {"authRule": "verified = true"}])
async def test_who_an_auth_collection_does_not_know_any_more_is_out_in_both_processes(
    scene: Scene, change: dict[str, Any]
) -> None:
    """PocketBase has no event for it; another auth rule makes another secret of tokens, too."""
    people, email = f"people_{uuid4().hex[:8]}", f"{uuid4().hex[:12]}@example.com"
    made = await scene.direct.post("/api/collections", json={"name": people, "type": "auth"})
    account = {"email": email, "password": PASSWORD, "passwordConfirm": PASSWORD}
    await scene.record(people, **account)
    posts = await scene.collection(viewRule="@request.auth.id != ''")
    id = await scene.record(posts, title="for members")
    login = {"identity": email, "password": PASSWORD}
    answer = await scene.here.post(f"/api/collections/{people}/auth-with-password", json=login)
    user = User(answer.json()["record"]["id"], email, PASSWORD, answer.json()["token"], {})
    for client in (scene.here, scene.there):
        await kept(client, path_of(posts, id), user)
    (await scene.direct.patch(f"/api/collections/{made.json()['id']}", json=change)).raise_for_status()
    for client in (scene.here, scene.there):
        await soon(client, "/sessions", 401, user=user)
        await soon(client, path_of(posts, id), 404, user=user)
