"""PocketBase's answers, and what is not PocketBase's."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.core.errors import InvalidRequest, NotFound, RateLimited, ServiceError, UpstreamUnavailable
from common.core.pocketbase_answers import describe, failed_in_batch, items_of, json_body, refusal

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["items", "id", "data", "message", "status", "requests", "response", "0"]) | st.text(),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def test_a_refusal_names_the_fields_and_no_values() -> None:
    body = {"status": 400, "message": "Failed.", "data": {"title": {"code": "required", "message": "Cannot be blank."}}}
    error = refusal(400, json.dumps(body).encode())
    assert isinstance(error, InvalidRequest)
    assert str(error) == "Failed. title: Cannot be blank."


@pytest.mark.parametrize(("status", "kind"), [(404, NotFound), (429, RateLimited), (502, UpstreamUnavailable)])
def test_a_refusal_without_a_body_is_told_by_its_status(status: int, kind: type[ServiceError]) -> None:
    assert isinstance(refusal(status, b"<html>"), kind)


def test_the_request_of_a_batch_that_failed_is_found() -> None:
    inner: dict[str, Any] = {"status": 404, "message": "The requested resource wasn't found.", "data": {}}
    body: dict[str, Any] = {
        "data": {"requests": {"3": {"code": "batch_request_failed", "response": inner}}},
        "status": 400,
    }
    failed = failed_in_batch(json.dumps(body).encode())
    assert failed is not None
    assert failed[0] == 3
    assert isinstance(failed[1], NotFound)


def test_a_batch_that_was_not_begun_has_no_failed_request() -> None:
    assert failed_in_batch(b'{"data":{},"message":"Batch requests are not allowed.","status":403}') is None


@given(ANYTHING)
def test_nonsense_is_never_more_than_a_typed_error(answer: Any) -> None:
    content = json.dumps(answer).encode()
    describe(content)
    failed_in_batch(content)
    assert isinstance(refusal(400, content), InvalidRequest)
    with suppress(UpstreamUnavailable):
        assert all(isinstance(item["id"], str) for item in items_of(answer))


@given(st.binary())
def test_what_is_not_json_is_an_upstream_that_does_not_answer(content: bytes) -> None:
    try:
        answer = json_body(content)
    except UpstreamUnavailable:
        return
    assert answer == json.loads(content or b"null")


@pytest.mark.parametrize("content", [b'{"items": ' + b"[" * 5000 + b"]" * 5000 + b"}", b'{"items": ["\xff"]}'])
def test_a_user_s_json_that_is_nested_too_deeply_is_no_error_of_another_type(content: bytes) -> None:
    with pytest.raises(UpstreamUnavailable):
        json_body(content)
    assert describe(content) == ""
