"""Rules in the gateway itself: they are asked first and have a last look, whatever way a write or a read comes."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest

from tests.bodies import FORM, JSON, MULTIPART, file, multipart, urlencoded, value
from tests.court import write_rules
from tests.eventually import eventually
from tests.realtime_client import stream, subscribe
from tests.servers.gateway import GatewayServer, User, gateway_server, signed_up
from tests.servers.pocketbase import PocketBaseServer
from tests.servers.provider import oauth2_provider
from tests.session_client import OPERATOR_KEY

POSTS = "/api/collections/posts/records"
USERS = "/api/collections/users"
BATCH = "/api/batch"

RULES = """
    @before("posts", "create", "update")
    def checked(ctx):
        if "forbidden" in ctx.values("title"):
            raise FieldError("title", "Must be another.", "validation_forbidden")
        if ctx.values("title") == ["broken"]:
            raise RuntimeError("hunter2")
        if any(upload.filename == "forbidden.txt" for uploads in ctx.files.values() for upload in uploads):
            refuse("No such files.")
        ctx.record["by"] = ctx.principal.username or "guest"

    @before("posts", "update")
    async def waited(ctx):
        import asyncio, pathlib
        if place := ctx.metadata.headers.get("x-wait"):
            pathlib.Path(place, "begun").touch()
            while not pathlib.Path(place, "go").exists():
                await asyncio.sleep(0.01)

    @before("posts", "delete")
    async def kept(ctx):
        stored = await ctx.stored
        if stored["secret"] == "keep":
            refuse("This one stays.")

    @before("posts", "view")
    def signed_in(ctx):
        if ctx.metadata.headers.get("x-closed"):
            refuse(status=404)

    @after("posts", "*")
    def redacted(ctx):
        for record in ctx.records:
            record.pop("secret", None)

    @after("users", "*")
    def nameless(ctx):
        for record in ctx.records:
            record["name"] = "somebody"

    @before("users", "create")
    def plain(ctx):
        if ctx.values("name") == ["forbidden"]:
            refuse("No such name.")

    @before("users", "create")
    def invited(ctx):
        if ctx.metadata.context == "oauth2" and not ctx.values("name"):
            refuse("Say who you are.")
"""


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rules")
    write_rules(folder, posts=RULES)
    return folder


@pytest.fixture(scope="module")
def ruled(guarded: PocketBaseServer, superuser_token: str, valkey_url: str, rules: Path) -> Generator[GatewayServer]:
    everybody = dict.fromkeys(("listRule", "viewRule", "createRule", "updateRule", "deleteRule"), "")
    fields: list[dict[str, Any]] = [
        {"name": "title", "type": "text"},
        {"name": "by", "type": "text"},
        {"name": "secret", "type": "text"},
        {"name": "n", "type": "number"},
        {"name": "author", "type": "relation", "collectionId": "_pb_users_auth_", "maxSelect": 1},
        {"name": "f", "type": "file"},
    ]
    collection = {"name": "posts", "type": "base", "fields": fields, **everybody}
    with httpx.Client(base_url=guarded.url, headers={"Authorization": superuser_token}, timeout=30) as control:
        control.post("/api/collections", json=collection).raise_for_status()
        told = {
            "GATEWAY_RULES_FOLDER": str(rules),
            "GATEWAY_WATCH_RULES": "true",
            "GATEWAY_RULE_DEADLINE_SECONDS": "10",
            "GATEWAY_OPERATOR_KEY": OPERATOR_KEY,
        }
        with gateway_server(guarded, valkey_url, told) as running:
            yield running
        control.delete("/api/collections/posts").raise_for_status()


@pytest.fixture
async def through(ruled: GatewayServer) -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=ruled.url, timeout=20) as client:
        yield client


def item(fields: Mapping[str, Any], method: str = "POST", url: str = POSTS) -> bytes:
    return json.dumps({"requests": [{"method": method, "url": url, "body": fields}]}).encode()


WAYS: Mapping[str, Callable[[str], tuple[str, str, bytes]]] = {
    "json": lambda title: (POSTS, JSON, json.dumps({"title": title, "secret": "s"}).encode()),
    "form": lambda title: (POSTS, FORM, urlencoded([("title", title), ("secret", "s")])),
    "payload": lambda title: (POSTS, FORM, urlencoded([("@jsonPayload", json.dumps({"title": title, "secret": "s"}))])),
    "upload": lambda title: (
        POSTS,
        MULTIPART,
        multipart(value("title", title), value("secret", "s"), file("f", b"1", "one.txt")),
    ),
    "batch": lambda title: (BATCH, JSON, item({"title": title, "secret": "s"})),
    "upsert": lambda title: (BATCH, JSON, item({"title": title, "secret": "s", "id": "u" * 15}, "PUT")),
    "batch form": lambda title: (
        BATCH,
        MULTIPART,
        multipart(value("@jsonPayload", item({"title": title, "secret": "s"}).decode()), file("requests.0.f", b"1")),
    ),
}


def answered(answer: httpx.Response) -> Any:
    told: Any = answer.json()
    return told[0]["body"] if answer.url.path == BATCH else told


def refused_of(answer: httpx.Response) -> tuple[int, Any]:
    """Status and field errors, those of a batch's item where it was one."""
    told = answer.json()
    if inner := told["data"].get("requests"):
        response = inner["0"]["response"]
        return response["status"], response.get("data")
    return answer.status_code, told["data"]


@pytest.mark.parametrize("way", WAYS)
async def test_a_create_is_seen_changed_and_redacted_however_it_comes(
    through: httpx.AsyncClient, superuser: httpx.AsyncClient, way: str
) -> None:
    target, content_type, body = WAYS[way]("fine")
    made = await through.post(target, content=body, headers={"Content-Type": content_type})
    assert made.status_code == 200, made.text
    told = answered(made)
    assert (told["title"], told["by"], "secret" in told) == ("fine", "guest", False)
    stored = (await superuser.get(f"{POSTS}/{told['id']}")).json()
    assert (stored["by"], stored["secret"]) == ("guest", "s")
    await superuser.delete(f"{POSTS}/{told['id']}")


@pytest.mark.parametrize("way", WAYS)
async def test_a_create_is_refused_however_it_comes(
    through: httpx.AsyncClient, superuser: httpx.AsyncClient, way: str
) -> None:
    before = (await superuser.get(POSTS)).json()["totalItems"]
    target, content_type, body = WAYS[way]("forbidden")
    refused = await through.post(target, content=body, headers={"Content-Type": content_type})
    code = {"code": "validation_forbidden", "message": "Must be another."}
    assert refused_of(refused) == (400, {"title": code})
    assert (await superuser.get(POSTS)).json()["totalItems"] == before


@pytest.mark.parametrize("way", WAYS)
async def test_a_rule_that_raises_lets_nothing_through(
    through: httpx.AsyncClient, superuser: httpx.AsyncClient, way: str
) -> None:
    before = (await superuser.get(POSTS)).json()["totalItems"]
    target, content_type, body = WAYS[way]("broken")
    refused = await through.post(target, content=body, headers={"Content-Type": content_type})
    assert refused.status_code == 500
    assert "hunter2" not in refused.text
    assert (await superuser.get(POSTS)).json()["totalItems"] == before


async def test_updates_and_deletes_are_seen_as_well(through: httpx.AsyncClient, superuser: httpx.AsyncClient) -> None:
    kept = (await superuser.post(POSTS, json={"title": "a", "secret": "keep"})).json()["id"]
    free = (await superuser.post(POSTS, json={"title": "a"})).json()["id"]
    batched = item({"title": "forbidden"}, "PATCH", f"{POSTS}/{free}")
    for answer in (
        await through.patch(f"{POSTS}/{free}", json={"title": "forbidden"}),
        await through.post(BATCH, content=batched, headers={"Content-Type": JSON}),
    ):
        assert refused_of(answer)[0] == 400
    assert (await through.delete(f"{POSTS}/{kept}")).status_code == 403
    deletion = {"requests": [{"method": "DELETE", "url": f"{POSTS}/{kept}"}]}
    assert refused_of(await through.post(BATCH, json=deletion))[0] == 403
    assert (await superuser.get(f"{POSTS}/{kept}")).json()["title"] == "a"
    deletion["requests"][0]["url"] = f"{POSTS}/{free}"
    assert (await through.post(BATCH, json=deletion)).json() == [{"body": None, "status": 204}]
    gone = await through.delete(f"{POSTS}/{free}")
    assert (gone.status_code, gone.json()["status"]) == (404, 404)
    other = (await superuser.post(POSTS, json={"title": "a"})).json()["id"]
    assert ((await through.delete(f"{POSTS}/{other}")).status_code) == 204


async def test_a_client_who_leaves_without_waiting_has_written_what_he_sent(
    ruled: GatewayServer, superuser: httpx.AsyncClient, tmp_path: Path
) -> None:
    made = (await superuser.post(POSTS, json={"title": "a"})).json()["id"]
    address, body = urlsplit(ruled.url), json.dumps({"title": "b"})
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(
        f"PATCH {POSTS}/{made} HTTP/1.1\r\nHost: localhost\r\nX-Wait: {tmp_path}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    )

    async def begun() -> bool:
        return (tmp_path / "begun").exists()

    async def title() -> str:
        return (await superuser.get(f"{POSTS}/{made}")).json()["title"]

    await eventually(begun)
    writer.transport.abort()
    (tmp_path / "go").touch()
    await eventually(title, lambda title: title == "b", seconds=5)


async def test_a_file_is_seen_before_it_is_passed_on(through: httpx.AsyncClient) -> None:
    form = multipart(file("f", b"1", "forbidden.txt"))
    refused = await through.post(POSTS, content=form, headers={"Content-Type": MULTIPART})
    assert (refused.status_code, refused.json()["message"]) == (403, "No such files.")


async def test_reads_are_seen_and_redacted_and_so_are_expanded_records(
    through: httpx.AsyncClient, superuser: httpx.AsyncClient
) -> None:
    ann = await signed_up(through)
    made = (await superuser.post(POSTS, json={"title": "a", "secret": "s", "author": ann.id})).json()["id"]
    one = await through.get(f"{POSTS}/{made}", params={"expand": "author"}, headers=ann.headers)
    assert "secret" not in one.json()
    assert one.json()["expand"]["author"]["name"] == "somebody"
    query = {"filter": f"id='{made}'", "expand": "author", "fields": "id,secret,expand.author.name"}
    [listed] = (await through.get(POSTS, params=query, headers=ann.headers)).json()["items"]
    assert listed == {"id": made, "expand": {"author": {"name": "somebody"}}}
    closed = await through.get(f"{POSTS}/{made}", headers={"X-Closed": "1"})
    assert closed.status_code == 404
    await superuser.delete(f"{POSTS}/{made}")


async def test_what_rules_show_is_not_to_be_had_by_realtime(ruled: GatewayServer, through: httpx.AsyncClient) -> None:
    async with stream(through) as (client_id, _):
        expanding = f"notes/*?options={quote(json.dumps({'query': {'expand': 'posts_via_author'}}))}"
        for topic in ("posts/*", "posts", "users/abc", "_pb_users_auth_/*", "POSTS/*"):
            assert await subscribe(through, client_id, {}, "notes/*", topic) == 403
        assert await subscribe(through, client_id, {}, "notes/*", "@oauth2", "", expanding) == 204


async def test_a_sign_in_shows_the_record_as_a_read_of_it_would(through: httpx.AsyncClient) -> None:
    ann: User = await signed_up(through, name="Ann")
    assert ann.record["name"] == "somebody"
    refreshed = await through.post(f"{USERS}/auth-refresh", headers=ann.headers)
    assert refreshed.json()["record"]["name"] == "somebody"


async def test_a_sign_up_by_way_of_a_provider_is_a_create_and_a_sign_in_is_none(
    through: httpx.AsyncClient, superuser: httpx.AsyncClient
) -> None:
    body: dict[str, Any] = {"provider": "oidc", "code": "c", "codeVerifier": "v" * 43, "redirectURL": "http://x/"}

    async def come(subject: str, **more: Any) -> httpx.Response:
        email = f"{subject}@example.com"
        provider.user = {"sub": subject, "email": email, "email_verified": True, "name": "New"}
        return await through.post(f"{USERS}/auth-with-oauth2", json={**body, **more})

    nothing: list[dict[str, Any]] = [{}, {"createData": None}, {"createData": {}}]
    forbidden: dict[str, Any] = {"createData": {"name": "forbidden"}}
    async with oauth2_provider() as provider:
        await superuser.patch("/api/collections/users", json={"oauth2": provider.settings()})
        try:
            for said in (*nothing, forbidden):
                message = "No such name." if said is forbidden else "Say who you are."
                refused = await come("new", **said)
                assert (refused.status_code, refused.json()["message"]) == (403, message)
            assert await accounts(superuser, "new@example.com") == 0
            fine = await come("new", createData={"name": "fine"})
            assert (fine.status_code, fine.json()["meta"]["isNew"]) == (200, True)
            for said in (nothing[0], forbidden):
                again = await come("new", **said)
                assert (again.status_code, again.json()["meta"]["isNew"]) == (200, False)
            wrong = await through.post(f"{USERS}/auth-with-oauth2", json={**body, "provider": "another"})
            assert "provider" in wrong.json()["data"], "what PocketBase itself refuses it says itself"
        finally:
            await superuser.patch("/api/collections/users", json={"oauth2": {"enabled": False}})
    stored = (await superuser.get(f"{USERS}/records/{fine.json()['record']['id']}")).json()
    assert stored["name"] == "fine"


async def accounts(superuser: httpx.AsyncClient, email: str) -> int:
    return (await superuser.get(f"{USERS}/records", params={"filter": f"email='{email}'"})).json()["totalItems"]


async def test_the_operator_is_told_which_rules_there_are_and_what_went_wrong(
    through: httpx.AsyncClient, ruled: GatewayServer, rules: Path
) -> None:
    assert (await through.post(POSTS, json={"title": "broken"})).status_code == 500
    url = f"{ruled.operations_url}/operator/rules"
    assert (await through.get(url)).status_code == 401
    told = (await through.get(url, headers={"Authorization": f"Bearer {OPERATOR_KEY}"})).json()
    assert (told["enforcing"], told["faults"], told["unknown_collections"]) == (True, [], [])
    [file] = told["files"]
    assert file["file"] == str(rules / "posts.py")
    assert [rule["name"] for rule in file["rules"]] == [
        "checked",
        "waited",
        "kept",
        "signed_in",
        "redacted",
        "nameless",
        "plain",
        "invited",
    ]
    [failure] = told["failures"]
    line = next(
        number for number, text in enumerate((rules / "posts.py").read_text().splitlines(), 1) if "hunter2" in text
    )
    assert (failure["rule"], failure["line"], failure["kind"]) == ("checked", line, "RuntimeError")


async def test_a_file_that_does_not_load_closes_everything_that_rules_may_guard(
    through: httpx.AsyncClient, rules: Path
) -> None:
    broken = rules / "broken.py"

    async def status() -> int:
        return (await through.get(POSTS)).status_code

    broken.write_text("no python")
    try:
        await eventually(status, lambda status: status == 503, seconds=5)
        for way in ("json", "batch"):
            target, content_type, body = WAYS[way]("fine")
            refused = await through.post(target, content=body, headers={"Content-Type": content_type})
            assert refused.status_code == 503
    finally:
        broken.unlink()
    await eventually(status, lambda status: status == 200, seconds=5)
