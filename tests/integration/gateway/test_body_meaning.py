"""A body and what is written in its place mean the same to the real PocketBase, whatever the client sends."""

import asyncio
import json
import re
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from gateway.core.bodies.field_names import field_of
from gateway.core.bodies.record_body import record_body, streamed, upstream_body
from gateway.core.body_refusals import MalformedBody
from tests.bodies import FORM, JSON, MULTIPART, Part, file, joined, multipart, taken_in, value
from tests.servers.pocketbase import PocketBaseServer

MEANINGS = "/api/collections/meanings/records"
FIELDS: list[dict[str, Any]] = [
    {"name": "title", "type": "text"},
    {"name": "n", "type": "number"},
    {"name": "b", "type": "bool"},
    {"name": "j", "type": "json"},
    {"name": "s", "type": "select", "values": ["a", "b", "1", "true"], "maxSelect": 4},
    {"name": "e", "type": "email"},
    {"name": "d", "type": "date"},
    {"name": "g", "type": "geoPoint"},
    {"name": "f", "type": "file", "maxSelect": 5},
    {"name": "one", "type": "file"},
]
MANY = 100
ENOUGH = settings(
    max_examples=MANY, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
NAME = re.compile(r'^name="([^"]*)"')
RANDOM_PART = re.compile(r"_[a-z0-9]{10}(?=[.\"])")


@pytest.fixture(scope="module")
def meanings(guarded: PocketBaseServer, superuser_token: str) -> Generator[httpx.Client]:
    """PocketBase itself, with a collection that anybody may write to."""
    control = {"Authorization": superuser_token}
    rules = dict.fromkeys(("listRule", "viewRule", "createRule", "updateRule", "deleteRule"), "")
    with httpx.Client(base_url=guarded.url, timeout=30) as client:
        collection = {"name": "meanings", "type": "base", "fields": FIELDS, **rules}
        client.post("/api/collections", json=collection, headers=control).raise_for_status()
        yield client
        client.delete("/api/collections/meanings", headers=control).raise_for_status()


def meant(answer: httpx.Response) -> tuple[int, Any]:
    """Status and record, or the codes of what was wrong: messages repeat the file names that PocketBase makes up."""
    told = answer.json()
    if answer.status_code != 200:
        return answer.status_code, {name: error.get("code") for name, error in told["data"].items()}
    for name in ("f", "one"):
        told[name] = RANDOM_PART.sub("", json.dumps(told[name]))
    return 200, {name: found for name, found in told.items() if name != "id"}


async def written_anew(directory: Path, content_type: str, body: bytes) -> tuple[str, bytes]:
    async with taken_in(directory, content_type, body) as received:
        document = upstream_body(record_body(received), "b0undary")
        content = await joined(streamed(document))
    assert len(content) == document.length
    return document.content_type, content


def is_settled(keys: Iterable[str]) -> bool:
    """Of two modifiers of one field PocketBase applies the shorter first, and of equally long ones either."""
    meant = [(field_of(key), len(key)) for key in set(keys)]
    return len(set(meant)) == len(meant)


def canonical(directory: Path, content_type: str, body: bytes) -> tuple[str, bytes]:
    return asyncio.run(written_anew(directory, content_type, body))


def check(client: httpx.Client, directory: Path, content_type: str, body: bytes) -> None:
    """The two are written as two records; what is refused here may be taken there, and not the reverse."""
    try:
        ours = canonical(directory, content_type, body)
    except MalformedBody:
        return
    direct = client.post(MEANINGS, content=body, headers={"Content-Type": content_type})
    through = client.post(MEANINGS, content=ours[1], headers={"Content-Type": ours[0]})
    assert meant(through) == meant(direct)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = (
    st.integers(-5, 5)
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([-0.0, 0, 2**53, 2**53 + 1, 1e21, 1e-7])
)
documents = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
MODIFIED = ["title:autogenerate", "title+", "n+", "n-", "s+", "+s", "s-", "f+", "f-"]
keys = st.sampled_from(["title", "n", "b", "j", "s", "e", "d", "g", "f", *MODIFIED]) | st.sampled_from(
    ["id", "created", "collectionName", "expand", "", "@jsonPayload", "Title", "unknown"]
)
raw_values = (
    texts
    | numbers.map(str)
    | st.sampled_from(
        ["", "true", "false", "null", "01", "1.0", "1.", ".5", "-", "-0", "1e5", "a", "b", "9" * 30, "+1"]
    )
    | documents.map(json.dumps)
    | st.sampled_from(['["a"]', '{"a":1.0}', '"x"', "2020-01-01", '{"lon":1,"lat":2}', "\r\n", " 1", "٣", "a@b.co"])
)
plain_keys = keys.filter(lambda key: key not in ("", "@jsonPayload"))
payloads = st.dictionaries(keys, documents, min_size=1, max_size=3).map(json.dumps)
pairs: st.SearchStrategy[list[tuple[str, str]]] = st.lists(st.tuples(plain_keys, raw_values), max_size=4).flatmap(
    lambda plain: st.lists(payloads, max_size=1).map(
        lambda found: [*plain, *(("@jsonPayload", text) for text in found)]
    )
)


@ENOUGH
@given(
    document=st.dictionaries(keys, documents, max_size=5), ascii_only=st.booleans(), indent=st.sampled_from([None, 1])
)
def test_json(
    meanings: httpx.Client, tmp_path: Path, document: dict[str, Any], ascii_only: bool, indent: int | None
) -> None:
    assume(is_settled(document))
    body = json.dumps(document, ensure_ascii=ascii_only, indent=indent).encode()
    check(meanings, tmp_path, JSON, body)


@ENOUGH
@given(pairs=pairs)
@example(pairs=[("j", "a"), ("j", "2"), ("s", "a"), ("s", "1"), ("title", "1.50")])
@example(pairs=[("@jsonPayload", '{"n":5}'), ("@jsonPayload", '{"n":6,"title":"k"}'), ("title", "x")])
@example(pairs=[("@jsonPayload", '{"j":{"a":1}}'), ("@jsonPayload", '{"j":{"b":2}}')])
def test_forms(meanings: httpx.Client, tmp_path: Path, pairs: list[tuple[str, str]]) -> None:
    assume(is_settled(name for name, _ in pairs))
    check(meanings, tmp_path, FORM, urlencode(pairs).encode())


filenames = st.sampled_from(
    [
        "abc.txt",
        "../../abc.txt",
        "C:\\\\dir\\\\abc.png",
        'ab\\"c.gif',
        "ab%22c.pdf",
        "€uro sign.tar.gz",
        "noextension",
        "abc.",
        "",
    ]
)
file_names = st.sampled_from(["f", "+f", "f+", "f-", "one", "one+", "title", "unknown"])
file_parts = st.builds(file, file_names, st.binary(max_size=50), filenames)
parts = (
    st.tuples(pairs, st.lists(file_parts, max_size=3))
    .map(lambda found: [*(value(*pair) for pair in found[0]), *found[1]])
    .flatmap(st.permutations)
)


@ENOUGH
@given(parts=parts)
@example(parts=[file("f", b"1", "abc.txt"), file("f", b"2", "def.txt"), value("title", "1")])
@example(parts=[value("f", "old.txt"), file("f", b"2", "def.txt")])
@example(parts=[file("one", b"1", "abc.txt"), file("one", b"2", "def.txt")])
@example(parts=[file("f", b"", "abc.txt"), value("@jsonPayload", '{"j":{"a":[1.5]}}'), value("n", "2")])
@example(parts=[Part("name=\"f\"; filename*=UTF-8''%e2%82%acabc.txt", b"2")])
def test_multipart_forms(meanings: httpx.Client, tmp_path: Path, parts: list[Part]) -> None:
    assume(is_settled(found[1] for part in parts if (found := NAME.search(part.head))))
    check(meanings, tmp_path, MULTIPART, multipart(*parts))
