"""A batch and the one written in its place do the same in the real PocketBase."""

import asyncio
import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.batches.batch import batch_items, batch_operation, upstream_batch
from gateway.core.bodies.json_body import is_object
from gateway.core.bodies.record_body import streamed
from gateway.core.body_refusals import InvalidFields, MalformedBody
from gateway.core.collections.catalogue import Catalogue, parse
from gateway.core.uploads.upload_checks import file_fields
from tests.bodies import JSON, MULTIPART, file, joined, multipart, taken_in, value
from tests.servers.pocketbase import PocketBaseServer

BATCH = "/api/batch"
ITEMS = "/api/collections/items/records"


FIELDS: list[dict[str, Any]] = [
    {"name": "title", "type": "text"},
    {"name": "n", "type": "number"},
    {"name": "fields", "type": "text"},
    {"name": "f", "type": "file", "maxSelect": 5},
]
FILES = file_fields({"fields": FIELDS})


@pytest.fixture(scope="module")
def items(guarded: PocketBaseServer, superuser_token: str) -> Generator[httpx.Client]:
    control = {"Authorization": superuser_token}
    rules = dict.fromkeys(("listRule", "viewRule", "createRule", "updateRule", "deleteRule"), "")
    with httpx.Client(base_url=guarded.url, timeout=30) as client:
        client.post(
            "/api/collections", json={"name": "items", "type": "base", "fields": FIELDS, **rules}, headers=control
        ).raise_for_status()
        yield client
        client.delete("/api/collections/items", headers=control).raise_for_status()


@pytest.fixture(scope="module")
def catalogue(items: httpx.Client, superuser_token: str) -> Catalogue:
    listed = items.get("/api/collections?perPage=200", headers={"Authorization": superuser_token}).json()["items"]
    return Catalogue(map(parse, listed))


async def written_anew(directory: Path, catalogue: Catalogue, content_type: str, body: bytes) -> tuple[str, bytes]:
    async with taken_in(directory, content_type, body) as received:
        operations = [
            batch_operation(item, collection, FILES)
            for item in batch_items(received, max_items=50)
            if (collection := catalogue.find(item.route.collection or ""))
        ]
        document = upstream_batch(operations, "b0undary")
        return document.content_type, await joined(streamed(document))


def canonical(directory: Path, catalogue: Catalogue, content_type: str, body: bytes) -> tuple[str, bytes]:
    return asyncio.run(written_anew(directory, catalogue, content_type, body))


def sent(client: httpx.Client, directory: Path, catalogue: Catalogue, content_type: str, body: bytes) -> httpx.Response:
    kind, content = canonical(directory, catalogue, content_type, body)
    return client.post(BATCH, content=content, headers={"Content-Type": kind})


def meant(answer: httpx.Response) -> Any:
    told = answer.json()
    if answer.status_code != 200:
        return answer.status_code, told
    return [(item["status"], {**(item["body"] or {}), "id": ""}) for item in told]


def requests(*found: dict[str, Any]) -> bytes:
    return json.dumps({"requests": found}).encode()


def create(fields: Any, query: str = "") -> dict[str, Any]:
    return {"method": "POST", "url": ITEMS + query, "body": fields}


values = (
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
)
bodies = st.dictionaries(st.sampled_from(["title", "n", "n+", "fields", "unknown", "@jsonPayload"]), values, max_size=4)
encodable = bodies.filter(lambda body: "\\ud" not in json.dumps(body))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.builds(create, encodable, st.sampled_from(["", "?fields=id,n", "?expand=x"])), min_size=1, max_size=4)
)
def test_creates(items: httpx.Client, catalogue: Catalogue, tmp_path: Path, found: list[dict[str, Any]]) -> None:
    collection_has_a_field_of_that_name = [item for item in found if "fields=" in item["url"]]
    for item in collection_has_a_field_of_that_name:
        item["url"] = ITEMS
    body = requests(*found)
    direct = items.post(BATCH, content=body, headers={"Content-Type": JSON})
    assert meant(sent(items, tmp_path, catalogue, JSON, body)) == meant(direct)


def test_every_action(items: httpx.Client, catalogue: Catalogue, tmp_path: Path) -> None:
    ids = [items.post(ITEMS, json={"n": 1}).json()["id"] for _ in range(3)]
    body = requests(
        {"method": "PATCH", "url": f"{ITEMS}/{ids[0]}", "body": {"n+": 5}},
        {"method": "DELETE", "url": f"{ITEMS}/{ids[1]}"},
        {"method": "PUT", "url": ITEMS, "body": {"id": ids[2], "title": "replaced"}},
        {"method": "PUT", "url": ITEMS, "body": {"id": "a" * 15, "title": "new"}},
        {"method": "PUT", "url": ITEMS, "body": {"title": "without an id"}, "headers": {"X-Tenant": "south"}},
    )
    answer = sent(items, tmp_path, catalogue, JSON, body)
    assert [item["status"] for item in answer.json()] == [200, 204, 200, 200, 200]
    assert items.get(f"{ITEMS}/{ids[0]}").json()["n"] == 6
    assert items.get(f"{ITEMS}/{ids[1]}").status_code == 404
    assert items.get(f"{ITEMS}/{ids[2]}").json()["title"] == "replaced"
    assert items.get(f"{ITEMS}/{'a' * 15}").json()["title"] == "new"


def test_files_reach_their_items_as_the_sdk_sends_them(
    items: httpx.Client, catalogue: Catalogue, tmp_path: Path
) -> None:
    form = multipart(
        file("requests.1.f", b"one", "one.txt"),
        file("requests[1].f", b"two", "two.txt"),
        file("requests.0.f+", b"three", "three.txt"),
        file("requests.7.f", b"nobody's", "none.txt"),
        file("requests.0.@jsonPayload", b'{"title":"smuggled"}', "none.txt"),
        file("requests.0.title", b"no text", "none.txt"),
        value("@jsonPayload", requests(create({"title": "a", "f": []}), create({"f": ["gone.txt"]})).decode()),
    )
    answer = sent(items, tmp_path, catalogue, MULTIPART, form)
    first, second = (item["body"] for item in answer.json())
    stored = [
        items.get(f"/api/files/items/{record['id']}/{name}").content
        for record in (first, second)
        for name in record["f"]
    ]
    assert stored == [b"three", b"one", b"two"]
    assert first["title"] == ""  # as in PocketBase, where a file takes the place of the field of its name


def test_a_query_never_becomes_a_field(items: httpx.Client, catalogue: Catalogue, tmp_path: Path) -> None:
    body = requests(create({}, '?title=smuggled&n=7&fields=title&@jsonPayload={"title":"x"}'))
    for kind, form in ((JSON, body), (MULTIPART, multipart(value("@jsonPayload", body.decode())))):
        answer = sent(items, tmp_path, catalogue, kind, form)
        record = answer.json()[0]["body"]
        assert (record["title"], record["n"], record["fields"]) == ("", 0, "")


@pytest.mark.parametrize(
    "body",
    [
        b'{"REQUESTS":[{"METHOD":"POST","URL":"/api/collections/items/records"}]}',
        b'{"requests":[{"method":"POST","url":"/api/collections/items/records","URL":"/api/collections/notes/records"}]}',
        b'{"requests":[{"method":"POST","url":"/api/collections/items/records","bo_dy":{"n":1}}]}',
        b'{"requests":[],"re-quests":[{"method":"POST","url":"/api/collections/items/records"}]}',
        b'{"requests":[null]}',
        b'{"requests":[]} {"requests":[{"method":"POST","url":"/api/collections/items/records"}]}',
    ],
)
def test_other_spellings_are_refused(items: httpx.Client, catalogue: Catalogue, tmp_path: Path, body: bytes) -> None:
    with pytest.raises((MalformedBody, InvalidFields)):
        canonical(tmp_path, catalogue, JSON, body)


REFUSED = [
    requests(),
    requests(*[create({})] * 51),
    requests({**create({}), "method": "post"}),
    requests({**create({}), "method": "GET"}),
    requests({**create({}), "method": " POST"}),
    requests(create({}), {**create({}), "url": ITEMS + "/"}),
    requests({**create({}), "url": "http://x" + ITEMS}),
    requests({**create({}), "url": "/api/collections/items/../items/records"}),
    requests({**create({}), "url": ITEMS + "#x"}),
    requests({**create({}), "url": "/api/settings"}),
    requests({**create({}), "url": "/api/collections/users/auth-with-password"}),
    requests({"method": "PATCH", "url": ITEMS + "/%2e%2e", "body": {}}),
    requests({"method": "PATCH", "url": ITEMS + "/a%2fb", "body": {}}),
    requests({**create({}), "body": [1]}),
    requests({**create({}), "headers": {"a": 1}}),
    requests({**create({}), "url": 5}),
]


@pytest.mark.parametrize("body", REFUSED)
def test_what_is_refused_here_pocketbase_refuses_as_well_and_in_the_same_shape(
    items: httpx.Client, catalogue: Catalogue, tmp_path: Path, body: bytes
) -> None:
    direct = items.post(BATCH, content=body, headers={"Content-Type": JSON})
    assert direct.status_code == 400
    with pytest.raises((MalformedBody, InvalidFields)) as refused:
        canonical(tmp_path, catalogue, JSON, body)
    if isinstance(refused.value, InvalidFields):
        assert direct.json()["message"] == str(refused.value)
        assert shape(refused.value.data) == shape(direct.json()["data"])


def shape(data: Any) -> Any:
    """Names and codes, without the words."""
    if not is_object(data):
        return None
    return {name: inner if name == "code" else shape(inner) for name, inner in data.items()}
