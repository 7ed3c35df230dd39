"""What a body says to PocketBase that it does not say to whoever judged it: none of it gets through.

Each attack tries to have the word SMUGGLED written, and the last word has PocketBase's own state.
"""

import gzip
import json
import secrets
from collections.abc import AsyncGenerator, Generator
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest

from tests import pictures
from tests.bodies import BOUNDARY, FORM, JSON, MEBIBYTE, MULTIPART, Part, file, multipart, value
from tests.raw_http import RawAnswer, send_raw
from tests.servers.gateway import GatewayServer
from tests.servers.pocketbase import PocketBaseServer

VAULT = "/api/collections/vault/records"
TENANTS = "/api/collections/tenants/records"
SMUGGLED = "SMUGGLED"
ITEM = {"method": "POST", "url": VAULT, "body": {"title": SMUGGLED}}
BATCH = json.dumps({"requests": [ITEM]})
PAYLOAD = json.dumps({"title": SMUGGLED})


@pytest.fixture(scope="module", autouse=True)
def vault(guarded: PocketBaseServer, superuser_token: str) -> Generator[None]:
    control = {"Authorization": superuser_token}
    rules = dict.fromkeys(("listRule", "viewRule", "createRule", "updateRule", "deleteRule"), "")
    fields: list[dict[str, Any]] = [
        {"name": "title", "type": "text"},
        {"name": "attachment", "type": "file", "maxSize": 2000 * MEBIBYTE},
        {
            "name": "picture",
            "type": "file",
            "mimeTypes": ["image/png", "image/svg+xml"],
            "maxSelect": 2,
            "maxSize": 100_000,
        },
    ]
    north = "@request.headers.x_tenant = 'north'"
    with httpx.Client(base_url=guarded.url, timeout=30, headers=control) as client:
        for collection in (
            {"name": "vault", "type": "base", "fields": fields, **rules},
            {
                "name": "tenants",
                "type": "base",
                "fields": fields[:1],
                **rules,
                "createRule": north,
                "listRule": f"@request.body.title = '{SMUGGLED}'",
            },
        ):
            client.post("/api/collections", json=collection).raise_for_status()
        yield
        for name in ("vault", "tenants"):
            client.delete(f"/api/collections/{name}").raise_for_status()


@pytest.fixture
async def through(gateway: GatewayServer) -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=60) as client:
        yield client


async def ask(
    server: GatewayServer | PocketBaseServer, method: str, target: str, body: bytes, *headers: str
) -> RawAnswer:
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
    lines.append(f"Content-Length: {len(body)}")
    return await send_raw(server.url, "\r\n".join([*lines, "", ""]).encode("latin-1") + body, seconds=30)


ABOUT_IT = {"filter": f"title ~ '{SMUGGLED}'"}


async def smuggled(superuser: httpx.AsyncClient) -> int:
    return sum([(await superuser.get(path, params=ABOUT_IT)).json()["totalItems"] for path in (VAULT, TENANTS)])


def as_json(body: str) -> tuple[bytes, tuple[str, ...]]:
    return body.encode(), (f"Content-Type: {JSON}",)


def as_type(content_type: str, body: str | bytes = PAYLOAD) -> tuple[bytes, tuple[str, ...]]:
    return body if isinstance(body, bytes) else body.encode(), (f"Content-Type: {content_type}",)


def as_parts(*parts: Part) -> tuple[bytes, tuple[str, ...]]:
    return as_type(MULTIPART, multipart(*parts))


REFUSED: list[tuple[str, str, tuple[bytes, tuple[str, ...]]]] = [
    # JSON
    ("POST", VAULT, as_json('{"title":"x"}' + PAYLOAD)),
    ("POST", VAULT, as_json(PAYLOAD + "\n,")),
    ("POST", VAULT, as_json(f'{{"title":"x","title":"{SMUGGLED}"}}')),
    ("POST", VAULT, as_json(f'{{"title":"x","\\u0074itle":"{SMUGGLED}"}}')),
    ("POST", VAULT, as_json("[" + PAYLOAD + "]")),
    ("POST", VAULT, as_json(f'{{"title":"{SMUGGLED}","n":NaN}}')),
    ("POST", VAULT, as_type(JSON, f'{{"title":"{SMUGGLED}'.encode() + b'\xff"}')),
    ("POST", VAULT, as_type(JSON, PAYLOAD.encode("utf-16"))),
    ("POST", VAULT, as_json(f'{{"title":"{SMUGGLED}","x":' + "[" * 9000 + "]" * 9000 + "}")),
    # types
    ("POST", VAULT, as_type("application/jsonfoo")),
    ("POST", VAULT, as_type("application/json, text/plain")),
    ("POST", VAULT, as_type("application/json; charset=utf-16")),
    ("POST", VAULT, as_type("application/x-www-form-urlencodedX", f"title={SMUGGLED}")),
    ("POST", VAULT, as_type("text/xml", f"<x><title>{SMUGGLED}</title></x>")),
    ("POST", VAULT, (PAYLOAD.encode(), ())),
    ("POST", VAULT, (PAYLOAD.encode(), ("Content-Type: application/json", "Content-Type: text/plain"))),
    ("POST", VAULT, (PAYLOAD.encode(), ("Content-Type: application/json", "Content-Encoding: gzip"))),
    ("POST", VAULT, (PAYLOAD.encode(), ("Content-Type: application/json", "Content-Encoding: identity, br"))),
    ("POST", VAULT, as_type(f"{MULTIPART}; boundary=other", multipart(value("title", SMUGGLED)))),
    ("POST", VAULT, as_type(f"multipart/form-data; boundary*=utf-8''{BOUNDARY}", multipart(value("title", SMUGGLED)))),
    # forms
    ("POST", VAULT, as_type(FORM, f"a=1;title={SMUGGLED}")),
    ("POST", VAULT, as_type(FORM, f"title={SMUGGLED}&x=%zz")),
    ("POST", VAULT, as_type(FORM, f"title={SMUGGLED}&x=%ff")),
    ("POST", VAULT, as_type(FORM, f"title=x&@jsonPayload={quote('null')}&@jsonPayload={quote(PAYLOAD)}")),
    ("POST", VAULT, as_type(FORM, f"@jsonPayload={quote(PAYLOAD + 'x')}")),
    # multipart
    ("POST", VAULT, as_parts(Part('name="title"\r\nContent-Transfer-Encoding: quoted-printable', b"SMUGGLE=44"))),
    ("POST", VAULT, as_parts(Part("name*=utf-8''title", SMUGGLED.encode()))),
    ("POST", VAULT, as_parts(Part("name*0=ti; name*1=tle", SMUGGLED.encode()))),
    ("POST", VAULT, as_parts(Part('name="x"; name="title"', SMUGGLED.encode()))),
    ("POST", VAULT, as_parts(Part('name="title"\r\nContent-Disposition: form-data; name="x"', SMUGGLED.encode()))),
    ("POST", VAULT, as_parts(Part('name="title"', SMUGGLED.encode() + b"\xff"))),
    ("POST", VAULT, as_type(MULTIPART, multipart(value("title", SMUGGLED)).replace(b"\r\n", b"\n"))),
    ("POST", VAULT, as_type(MULTIPART, multipart(value("title", SMUGGLED))[:-6])),
    # batches
    ("POST", "/api/batch", as_json(BATCH.replace("requests", "REQUESTS"))),
    ("POST", "/api/batch", as_json(BATCH.replace("url", "u_rl"))),
    ("POST", "/api/batch", as_json(BATCH.replace("body", "Body"))),
    ("POST", "/api/batch", as_json('{"requests":[]}' + BATCH)),
    ("POST", "/api/batch", as_json(f'{{"requests":[],"Requests":{BATCH[13:-1]}}}')),
    ("POST", f"/api/batch?@jsonPayload={quote(BATCH)}", as_type(FORM, "a=1")),
    ("POST", f"/api/batch?@jsonPayload={quote(BATCH)}", as_parts(value("a", "1"))),
    ("POST", "/api/batch", as_type("text/xml", f"<x><Requests><URL>{VAULT}</URL></Requests></x>")),
    ("POST", "/api/batch", as_json(BATCH.replace("/vault/", "/%2e%2e/collections/vault/"))),
    ("POST", "/api/batch", as_json(BATCH.replace("/api", "/x/../api"))),
    ("POST", "/api/batch", as_json(BATCH.replace("/api", "http://localhost/api"))),
    ("POST", "/api/batch", as_json(BATCH.replace(VAULT, "/api/collections/_superusers/records"))),
    (
        "POST",
        "/api/batch",
        as_json(json.dumps({"requests": [{**ITEM, "url": TENANTS, "headers": {"X-Tenant": "north"}}]})),
    ),
    # bodies of requests that have none
    ("GET", TENANTS, as_json(PAYLOAD)),
    ("DELETE", f"{VAULT}/abcabcabcabcabc", as_json(PAYLOAD)),
    ("GET", TENANTS, as_type(FORM, f"title={SMUGGLED}")),
]


@pytest.mark.parametrize(("method", "target", "sent"), REFUSED)
async def test_what_could_be_read_in_two_ways_is_refused(
    gateway: GatewayServer,
    superuser: httpx.AsyncClient,
    method: str,
    target: str,
    sent: tuple[bytes, tuple[str, ...]],
) -> None:
    answer = await ask(gateway, method, target, sent[0], *sent[1])
    assert (answer.status, sorted(json.loads(answer.body))) == (400, ["data", "message", "status"])
    assert await smuggled(superuser) == 0


HARMLESS: list[tuple[str, tuple[bytes, tuple[str, ...]]]] = [
    (f"{VAULT}?title={SMUGGLED}", as_type(FORM, "x=1")),
    (f"{VAULT}?title={SMUGGLED}", as_type(FORM, "title=x")),
    (f"{VAULT}?title={SMUGGLED}&title=x", as_parts(value("x", "1"))),
    (f"{VAULT}?title={SMUGGLED}", as_parts(file("attachment", b"1", "abc.txt"))),
    (f"{VAULT}?@jsonPayload={quote(PAYLOAD)}", as_type(FORM, "x=1")),
    (f"{VAULT}?@jsonPayload={quote(PAYLOAD)}", as_parts(file("attachment", b"1", "abc.txt"))),
    (f"{VAULT}?title={SMUGGLED}", as_json("{}")),
    (VAULT, as_json(f'{{"Title":"{SMUGGLED}","ti_tle":"{SMUGGLED}","@jsonPayload":{json.dumps(PAYLOAD)}}}')),
    (VAULT, as_parts(Part('name="@jsonPayload"; filename="blob"\r\nContent-Type: application/json', PAYLOAD.encode()))),
    (VAULT, as_parts(file("title", SMUGGLED.encode()), file("attachment-", SMUGGLED.encode()))),
    (VAULT, as_type(MULTIPART, multipart() + multipart(value("title", SMUGGLED)))),
    (
        "/api/batch",
        as_json(json.dumps({"requests": [{**ITEM, "body": {}, "url": f"{VAULT}?title={SMUGGLED}&fields=id"}]})),
    ),
    (
        "/api/batch",
        as_json(json.dumps({"requests": [{**ITEM, "body": {}, "url": f"{VAULT}?@jsonPayload={quote(PAYLOAD)}"}]})),
    ),
    ("/api/batch", as_json(json.dumps({"requests": [{**ITEM, "body": {"@jsonPayload": PAYLOAD}}]}))),
    (
        f"/api/batch?@jsonPayload={quote(BATCH)}",
        as_parts(value("@jsonPayload", json.dumps({"requests": [{**ITEM, "body": {}}]}))),
    ),
]


@pytest.mark.parametrize(("target", "sent"), HARMLESS)
async def test_what_is_not_in_the_body_as_it_was_judged_is_not_in_the_record(
    gateway: GatewayServer, superuser: httpx.AsyncClient, target: str, sent: tuple[bytes, tuple[str, ...]]
) -> None:
    answer = await ask(gateway, "POST", target, sent[0], *sent[1])
    assert answer.status == 200
    assert await smuggled(superuser) == 0


async def test_most_of_these_succeed_against_pocketbase_itself(
    guarded: PocketBaseServer, superuser: httpx.AsyncClient
) -> None:
    succeeded = 0
    for method, target, sent in [*REFUSED, *(("POST", *attack) for attack in HARMLESS)]:
        await ask(guarded, method, target, sent[0], *sent[1])
        found = [(path, (await superuser.get(path, params=ABOUT_IT)).json()["items"]) for path in (VAULT, TENANTS)]
        succeeded += any(records for _, records in found)
        for path, records in found:
            for record in records:
                await superuser.delete(f"{path}/{record['id']}")
    assert succeeded >= 25


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ('{"IDENTITY":"root@example.com","PASSWORD":"correct-horse-battery"}', f"Content-Type: {JSON}"),
        ('{"identity":"x","pas-sword":"y"}', f"Content-Type: {JSON}"),
        ("<x><Identity>a</Identity><Password>b</Password></x>", "Content-Type: text/xml"),
        ("@jsonPayload=" + quote('{"identity":"a","password":"b"}'), f"Content-Type: {FORM}"),
    ],
)
async def test_a_sign_in_has_one_spelling(gateway: GatewayServer, body: str, headers: str) -> None:
    answer = await ask(gateway, "POST", "/api/collections/users/auth-with-password", body.encode(), headers)
    assert answer.status == 400
    assert json.loads(answer.body)["message"] != "Failed to authenticate."


@pytest.mark.parametrize("content_type", [JSON, FORM, MULTIPART])
async def test_a_sign_in_in_its_own_spelling_works(
    through: httpx.AsyncClient, superuser: httpx.AsyncClient, content_type: str
) -> None:
    email, password = f"{secrets.token_hex(6)}@example.com", "1234567890"
    account = {"email": email, "password": password, "passwordConfirm": password}
    await superuser.post("/api/collections/users/records", json=account)
    fields = {"identity": email, "password": password}
    body = {
        JSON: json.dumps(fields).encode(),
        FORM: urlencode(fields).encode(),
        MULTIPART: multipart(*(value(*field) for field in fields.items())),
    }[content_type]
    answer = await through.post(
        "/api/collections/users/auth-with-password", content=body, headers={"Content-Type": content_type}
    )
    assert answer.json()["record"]["email"] == email


@pytest.mark.parametrize("name", ["VAULT", "%76ault", "Vault"])
async def test_a_collection_is_written_to_by_its_own_name(
    through: httpx.AsyncClient, superuser: httpx.AsyncClient, name: str
) -> None:
    made = await through.post(f"/api/collections/{name}/records", json={"title": "x"})
    assert made.json()["collectionName"] == "vault"
    batch = {"requests": [{"method": "POST", "url": f"/api/collections/{name}/records", "body": {"title": "x"}}]}
    answer = await through.post("/api/batch", json=batch)
    assert answer.json()[0]["body"]["collectionName"] == "vault"


@pytest.mark.parametrize(
    ("part", "code"),
    [
        (file("picture", pictures.gif(), "a.png", "image/png"), "validation_invalid_mime_type"),
        (file("picture", pictures.HTML, "a.png", "image/png"), "validation_invalid_mime_type"),
        (file("picture", pictures.png(), "a.html", "text/html"), "validation_invalid_mime_type"),
        (file("picture", pictures.png(30_000, 30_000), "a.png"), "validation_image_too_large"),
        (file("picture", pictures.png(tail=pictures.HTML), "a.png"), "validation_invalid_image"),
        (file("picture", pictures.SVG.replace(b"circle", b"script"), "a.svg"), "validation_active_content"),
        (file("picture", bytes(100_001), "a.png"), "validation_file_size_limit"),
        (file("attachment", pictures.png(30_000, 30_000), "a.png"), "validation_image_too_large"),
    ],
)
@pytest.mark.parametrize("way", ["direct", "update", "batch"])
async def test_a_file_that_its_field_does_not_admit_never_reaches_pocketbase(
    through: httpx.AsyncClient, superuser: httpx.AsyncClient, part: Part, code: str, way: str
) -> None:
    made = (await superuser.post(VAULT, json={"title": "with a file"})).json()["id"]
    field = "attachment" if 'name="attachment"' in part.head else "picture"
    headers = {"Content-Type": MULTIPART}
    if way == "batch":
        inner = Part(part.head.replace('name="', 'name="requests.0.', 1), part.data)
        item = {"method": "PATCH", "url": f"{VAULT}/{made}", "body": {"title": SMUGGLED}}
        form = multipart(inner, value("@jsonPayload", json.dumps({"requests": [item]})))
        answer = await through.post("/api/batch", content=form, headers=headers)
        data = answer.json()["data"]["requests"]["0"]["response"]["data"]
    else:
        method, target = ("POST", VAULT) if way == "direct" else ("PATCH", f"{VAULT}/{made}")
        form = multipart(value("title", SMUGGLED), part)
        answer = await through.request(method, target, content=form, headers=headers)
        data = answer.json()["data"]
    assert (answer.status_code, data[field]["code"]) == (400, code)
    assert await smuggled(superuser) == 0


async def test_a_file_that_is_admitted_arrives_as_it_was_sent(
    through: httpx.AsyncClient, superuser: httpx.AsyncClient
) -> None:
    content = pictures.png(300, 200)
    form = multipart(value("title", "x"), file("picture", content, 'my \\"pic\\".png', "image/png"))
    made = await through.post(VAULT, content=form, headers={"Content-Type": MULTIPART})
    record = made.json()
    assert record["title"] == "x"
    assert record["picture"][0].startswith("my_pic_")
    stored = await superuser.get(f"/api/files/vault/{record['id']}/{record['picture'][0]}")
    assert stored.content == content


async def in_pieces(body: bytes) -> AsyncGenerator[bytes]:
    for at in range(0, len(body), MEBIBYTE):
        yield body[at : at + MEBIBYTE]


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_a_body_that_is_too_large_is_refused_before_it_is_passed_on(
    through: httpx.AsyncClient, superuser: httpx.AsyncClient, is_chunked: bool
) -> None:
    body = f'{{"title":"{SMUGGLED}","x":"{"x" * 33 * MEBIBYTE}"}}'.encode()
    content = in_pieces(body) if is_chunked else body
    answer = await through.post(VAULT, content=content, headers={"Content-Type": JSON})
    assert answer.status_code == 413
    assert await smuggled(superuser) == 0


async def test_a_bomb_is_not_unpacked(through: httpx.AsyncClient, superuser: httpx.AsyncClient) -> None:
    bomb = gzip.compress(f'{{"title":"{SMUGGLED}","x":"{"x" * 100 * MEBIBYTE}"}}'.encode())
    for headers in ({"Content-Encoding": "gzip"}, {}):
        answer = await through.post(VAULT, content=bomb, headers={"Content-Type": JSON, **headers})
        assert answer.status_code == 400
    assert await smuggled(superuser) == 0
