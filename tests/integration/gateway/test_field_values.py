"""What rules are shown of a body is what the real PocketBase stores of it, and storing it changes nothing."""

import json
from collections.abc import Generator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from gateway.core.bodies.field_names import field_of
from gateway.core.bodies.json_body import parsed_object, written
from gateway.core.collections.catalogue import Field, parse_field
from gateway.core.collections.field_values import settled
from tests.integration.gateway.test_body_meaning import documents, is_settled, raw_values
from tests.servers.pocketbase import PocketBaseServer

VALUES = "/api/collections/values/records"
CHOICES = ["a", "b", "1", "true"]
ROWS: list[dict[str, Any]] = [
    {"name": "t", "type": "text"},
    {"name": "r", "type": "editor"},
    {"name": "e", "type": "email"},
    {"name": "u", "type": "url"},
    {"name": "n", "type": "number"},
    {"name": "b", "type": "bool"},
    {"name": "j", "type": "json"},
    {"name": "g", "type": "geoPoint"},
    {"name": "d", "type": "date"},
    {"name": "s", "type": "select", "values": CHOICES, "maxSelect": 4},
    {"name": "o", "type": "select", "values": CHOICES, "maxSelect": 1},
]
CERTAIN = {"t", "r", "b", "s", "o", "n", "j", "l", "m"}
RELATIONS = [Field("l", "relation", is_multiple=True), Field("m", "relation")]
FIELDS: list[Field] = [*map(parse_field, ROWS), *RELATIONS]
IDS = ["a" * 15, "b" * 15]
ENOUGH = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="module")
def values(guarded: PocketBaseServer, superuser_token: str) -> Generator[httpx.Client]:
    control = {"Authorization": superuser_token}
    with httpx.Client(base_url=guarded.url, timeout=30) as client:
        others = {"name": "others", "type": "base", "fields": [{"name": "t", "type": "text"}]}
        target = client.post("/api/collections", json=others, headers=control).json()["id"]
        for id in IDS:
            client.post("/api/collections/others/records", json={"id": id}, headers=control).raise_for_status()
        rows = [
            *ROWS,
            {"name": "l", "type": "relation", "collectionId": target, "maxSelect": 3},
            {"name": "m", "type": "relation", "collectionId": target, "maxSelect": 1},
        ]
        collection = {"name": "values", "type": "base", "fields": rows, "createRule": "", "viewRule": ""}
        client.post("/api/collections", json=collection, headers=control).raise_for_status()
        yield client
        for name in ("values", "others"):
            client.delete(f"/api/collections/{name}", headers=control).raise_for_status()


def meant(answer: httpx.Response) -> tuple[int, Any]:
    told = answer.json()
    if answer.status_code != 200:
        return answer.status_code, {name: error.get("code") for name, error in told["data"].items()}
    return 200, {field.name: told[field.name] for field in FIELDS}


keys = st.sampled_from(
    [*(field.name for field in FIELDS), "l+", "m-", "n+", "n-", "s+", "+s", "s-", "o+", "b+", "t+", "unknown"]
)
given_values = (
    documents
    | raw_values
    | st.sampled_from(["a", "b", '["a","b"]', '["a"', "[]", "t", "T", "yes", "1_000", "0x1", "Inf", "inf", "nan", "+1"])
    | st.sampled_from([*IDS, json.dumps(IDS), IDS[0] + " "])
    | st.lists(st.sampled_from([*IDS, "", None]), max_size=3)
    | st.lists(st.sampled_from(["a", "b", 1, True, None, "", "x", ["a"]]), max_size=4)
    | st.sampled_from(
        ['{"a":9007199254740993}', '{"a":0.1000000000000000055}', '{"a":1,"a":2}', "[1", "-0", "1.0", '"true"']
    )
)


@ENOUGH
@given(body=st.dictionaries(keys, given_values, max_size=4))
@example(body={"o": ['["x"]']})
@example(body={"o": ["a", "b"], "s": '["a","b"]', "b": "T", "n": "1e3", "j": "[1.0]", "t": 1e21})
@example(body={"b": 0.5, "n": True, "t": -0.0, "j": "null", "g": '{"lon":1,"lat":2}'})
def test_what_rules_see_is_what_is_stored(values: httpx.Client, body: dict[str, Any]) -> None:
    assume(is_settled(body))
    document = json.dumps(body).encode()
    ours = settled(parsed_object(document), FIELDS)
    headers = {"Content-Type": "application/json"}
    direct = values.post(VALUES, content=document, headers=headers)
    through = values.post(VALUES, content=written(ours), headers=headers)
    assert meant(through) == meant(direct)
    if direct.status_code == 200:
        stored = parsed_object(direct.content)
        assert {name: stored[name] for name in seen(ours)} == seen(ours)


def seen(fields: dict[str, Any]) -> dict[str, Any]:
    """The values that are certain: those of fields without modifiers, and not what only PocketBase can read."""
    modified = {field_of(key) for key in fields if key != field_of(key)}
    plain = {name: value for name, value in fields.items() if name in CERTAIN - modified}
    return {name: value for name, value in plain.items() if name not in ("n", "j") or not isinstance(value, str)}


@ENOUGH
@given(value=given_values)
def test_a_settled_value_is_settled(value: Any) -> None:
    for field in FIELDS:
        once = settled(parsed_object(json.dumps({field.name: value}).encode()), FIELDS)
        assert written(settled(once, FIELDS)) == written(once)
