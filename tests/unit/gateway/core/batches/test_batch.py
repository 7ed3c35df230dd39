from typing import Any

import orjson
import pytest

from common.core.errors import Forbidden, InvalidRequest, NotFound, ServiceError
from gateway.core.batches.batch import (
    BatchItem,
    BatchOperation,
    batch_accepts,
    batch_items,
    batch_operation,
    upstream_batch,
)
from gateway.core.batches.batch_refusals import item_failed
from gateway.core.bodies.form_values import PAYLOAD
from gateway.core.bodies.record_body import ReceivedBody, RecordBody, streamed
from gateway.core.body_refusals import FieldError, InvalidFields, MalformedBody
from gateway.core.collections.catalogue import Collection, Field
from gateway.core.uploads.upload_checks import FileField
from tests.bodies import joined, uploaded

RECORDS = "/api/collections/Posts/records"
POSTS = Collection("pbc_1", "posts", "base", is_system=False, fields=(Field("title", "text"), Field("photo", "file")))
PHOTO = {"photo": FileField("photo", 1000, 1, frozenset())}


def items(*requests: Any, kept_headers: frozenset[str] = frozenset()) -> list[BatchItem]:
    return batch_items(ReceivedBody(value={"requests": list(requests)}), max_items=5, kept_headers=kept_headers)


def operation(request: dict[str, Any]) -> BatchOperation:
    return batch_operation(items(request)[0], POSTS, PHOTO)


def document(*operations: BatchOperation) -> Any:
    return orjson.loads(bytes(upstream_batch(operations, "b").pieces[0]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("request_", "written"),
    [
        (
            {"method": "POST", "url": RECORDS, "body": {"title": "a"}},
            {"method": "POST", "url": "/api/collections/posts/records", "body": {"title": "a"}},
        ),
        (
            {
                "method": "PATCH",
                "url": f"{RECORDS}/%61bc?fields=id&title=x&fields=title",
                "body": None,
                "headers": None,
            },
            {"method": "PATCH", "url": "/api/collections/posts/records/abc?fields=id", "body": {}},
        ),
        (
            {"method": "PUT", "url": f"{RECORDS}?expand=a", "body": {"id": "abc"}, "headers": {"X-Tenant": "south"}},
            {"method": "PUT", "url": "/api/collections/posts/records?expand=a", "body": {"id": "abc"}},
        ),
        (
            {"method": "DELETE", "url": f"{RECORDS}/abc", "body": {}, "more": 1},
            {"method": "DELETE", "url": "/api/collections/posts/records/abc"},
        ),
    ],
)
def test_every_item_is_written_from_its_pieces(request_: dict[str, Any], written: dict[str, Any]) -> None:
    assert document(operation(request_)) == {"requests": [written]}


def test_ids_are_those_of_the_path_or_of_an_upserts_body() -> None:
    requests: list[dict[str, Any]] = [
        {"method": "POST", "url": RECORDS, "body": {"id": "x"}},
        {"method": "PUT", "url": RECORDS, "body": {"id": "x"}},
        {"method": "PUT", "url": RECORDS, "body": {"id": ""}},
        {"method": "PUT", "url": RECORDS},
        {"method": "DELETE", "url": f"{RECORDS}/y"},
    ]
    found = [operation(request) for request in requests]
    assert [one.record_id for one in found] == [None, "x", None, None, "y"]


def test_an_upsert_is_settled_as_what_it_comes_to() -> None:
    upsert = operation({"method": "PUT", "url": RECORDS, "body": {"id": "x"}})
    path = "/api/collections/posts/records"
    for exists, method, url in ((True, "PATCH", f"{path}/x"), (False, "POST", path)):
        written = document(upsert.settled(exists=exists))["requests"][0]
        assert (written["method"], written["url"], written["body"]) == (method, url, {"id": "x"})
    create = operation({"method": "POST", "url": RECORDS})
    assert create.settled(exists=True) is create


def test_only_headers_that_are_asked_for_are_kept() -> None:
    headers = {"X-Forwarded-For": "1.2.3.4", "Accept-Language": "de", "Authorization": "x", "X-Tenant": "south"}
    request = {"method": "POST", "url": RECORDS, "headers": headers}
    found = items(request, kept_headers=frozenset({"accept-language"}))
    assert found[0].headers == {"accept-language": "de"}
    written = document(batch_operation(found[0], POSTS, PHOTO))
    assert written["requests"][0]["headers"] == {"accept-language": "de"}
    assert items(request)[0].headers == {}


OTHER_FORMS: list[Any] = [
    {"REQUESTS": []},
    {"re_quests": [1], "requests": []},
    {"requests": {}},
    {"requests": [None]},
    {"requests": [[]]},
    {"requests": [{"method": "POST", "url": RECORDS, "URL": "/api/collections/notes/records"}]},
    {"requests": [{"METHOD": "POST", "url": RECORDS}]},
    {"requests": [{"method": "POST"}]},
    {"requests": [{"url": RECORDS}]},
    {"requests": [{"method": 1, "url": RECORDS}]},
    {"requests": [{"method": "POST", "url": RECORDS, "body": []}]},
    {"requests": [{"method": "POST", "url": RECORDS, "headers": []}]},
    {"requests": [{"method": "POST", "url": RECORDS, "headers": {"a": None}}]},
    [],
]


@pytest.mark.parametrize("body", OTHER_FORMS)
def test_a_batch_of_another_form_is_refused(body: Any) -> None:
    with pytest.raises(MalformedBody):
        batch_items(ReceivedBody(value=body), max_items=5)


@pytest.mark.parametrize(
    "url",
    [
        "/api/collections/posts",
        "/api/collections/posts/records/",
        "/api/collections/posts/records/a/b",
        "/api/collections/posts/records/a",
        "/api/collections/posts/auth-with-password",
        "/api/collections//records",
        "/api/collections/posts/../users/records",
        "/api/collections/posts/./records",
        "/api/collections/po%2fsts/records",
        "/api/batch",
        "/api/settings",
        "/_/",
        "//api/collections/posts/records",
        "http://localhost/api/collections/posts/records",
        "api/collections/posts/records",
        "/API/collections/posts/records",
        RECORDS + "#a",
        RECORDS + " ",
        RECORDS + "\n",
        RECORDS + "é",
        RECORDS + "?a=%00",
        "",
        "/health",
    ],
)
def test_an_item_that_is_no_write_to_records_fails_the_batch(url: str) -> None:
    with pytest.raises(InvalidFields) as refused:
        items({"method": "POST", "url": RECORDS}, {"method": "POST", "url": url})
    assert list(refused.value.data["requests"]) == ["1"]
    assert refused.value.data["requests"]["1"]["code"] == "batch_request_failed"


@pytest.mark.parametrize(
    "request_",
    [
        {"method": "GET", "url": RECORDS},
        {"method": "DELETE", "url": f"{RECORDS}/a", "body": {"x": 1}},
        {"method": "DELETE", "url": RECORDS},
        {"method": "PUT", "url": f"{RECORDS}/a"},
    ],
)
def test_a_method_that_does_not_fit_its_path_fails_the_batch(request_: dict[str, Any]) -> None:
    with pytest.raises(InvalidFields):
        items(request_)


@pytest.mark.parametrize("id", ["a b", "a%3Fb", "a%23", "é", "%C3%A9"])
def test_an_id_that_pocketbase_would_read_otherwise_is_not_found(id: str) -> None:
    with pytest.raises((NotFound, InvalidFields)):
        operation({"method": "PATCH", "url": f"{RECORDS}/{id}"})


@pytest.mark.parametrize("id", ["a/../b", "a?fields=x", "..", "a#b", "é"])
def test_the_id_of_an_upsert_never_becomes_another_path(id: str) -> None:
    with pytest.raises(NotFound):
        operation({"method": "PUT", "url": RECORDS, "body": {"id": id}})


@pytest.mark.parametrize("id", [5, True, ["a"], {"a": 1}])
def test_the_id_of_an_upsert_is_a_text(id: Any) -> None:
    with pytest.raises(InvalidRequest):
        operation({"method": "PUT", "url": RECORDS, "body": {"id": id}})


def test_limits_are_worded_as_pocketbase_words_them() -> None:
    one = {"method": "POST", "url": RECORDS}
    for requests, data in (
        ([], {"requests": {"code": "validation_required", "message": "Cannot be blank."}}),
        (
            [one] * 6,
            {
                "requests": {
                    "code": "validation_length_too_long",
                    "message": "The length must be no more than 5.",
                    "params": {"max": 5, "min": 0},
                }
            },
        ),
        (
            [{**one, "method": "post"}],
            {"requests": {"0": {"method": {"code": "validation_in_invalid", "message": "Must be a valid value."}}}},
        ),
    ):
        with pytest.raises(InvalidFields) as refused:
            items(*requests)
        assert refused.value.data == data
    with pytest.raises(InvalidFields) as refused:
        items({**one, "url": RECORDS + "?" + "a" * 2000})
    assert refused.value.data["requests"]["0"]["url"]["code"] == "validation_length_too_long"


async def test_files_go_to_their_items_and_only_under_file_fields() -> None:
    pairs = [
        (PAYLOAD, orjson.dumps({"requests": [{"method": "POST", "url": RECORDS, "body": {"photo": 1}}] * 2}).decode())
    ]
    keys = [
        "requests.0.photo",
        "requests[1].+photo",
        "requests.00.photo",
        "requests.9.photo",
        "requests.1.title",
        "photo",
    ]
    received = ReceivedBody(pairs=pairs, files=tuple(uploaded(key.encode(), key=key) for key in keys))
    found = [batch_operation(item, POSTS, PHOTO) for item in batch_items(received, max_items=5)]
    assert [[file.key for file in one.body.files] for one in found] == [["photo"], ["+photo"]]
    assert [one.body.fields for one in found] == [{}, {"photo": 1}]
    content = await joined(streamed(upstream_batch(found, "b")))
    assert b'name="requests.0.photo"' in content
    assert b'name="requests.1.+photo"' in content
    assert content.count(b"filename=") == 2


@pytest.mark.parametrize(
    "pairs", [[], [(PAYLOAD, "{}"), (PAYLOAD, "{}")], [(PAYLOAD, "{}"), ("requests", "x")], [("requests", "[]")]]
)
def test_a_form_has_exactly_one_payload(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(MalformedBody):
        batch_items(ReceivedBody(pairs=pairs), max_items=5)


def test_a_refusal_of_one_item_is_worded_as_pocketbase_words_it() -> None:
    inner = InvalidFields.of("Failed to create record.", {"title": FieldError("validation_x", "No.", {"max": 1})})
    told = {"title": {"code": "validation_x", "message": "No.", "params": {"max": 1}}}
    cases: list[tuple[ServiceError, dict[str, Any]]] = [
        (inner, {"data": told, "message": "Failed to create record.", "status": 400}),
        (Forbidden("Not you."), {"data": {}, "message": "Not you.", "status": 403}),
    ]
    for error, response in cases:
        refusal = item_failed(3, error)
        assert str(refusal) == "Batch transaction failed."
        assert refusal.data == {
            "requests": {
                "3": {"code": "batch_request_failed", "message": "Batch request failed.", "response": response}
            }
        }


def test_no_body_at_all_is_an_empty_batch() -> None:
    with pytest.raises(InvalidFields):
        batch_items(ReceivedBody(), max_items=5)
    assert RecordBody({}) == items({"method": "POST", "url": RECORDS})[0].body


def test_files_that_can_belong_to_no_item_are_not_taken_in() -> None:
    limit = batch_accepts(7)
    assert [limit(key) for key in ("requests.0.f", "requests[12].+f", "requests.x.f", "requests.0.", "f")] == [
        7,
        7,
        None,
        None,
        None,
    ]
