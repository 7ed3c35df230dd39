from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.core.errors import (
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    RateLimited,
    Unauthenticated,
    UpstreamUnavailable,
)
from gateway.core.body_refusals import InvalidFields
from gateway.core.refusals import TooLarge
from gateway.core.route_files.answered import SecondFactorNeeded, error_of
from gateway.core.route_files.authentication import credentials_of
from gateway.core.route_files.database_call import Change, DatabaseCall, batch_results
from gateway.core.route_files.filters import bound, literal


def test_a_call_is_what_a_client_would_have_asked() -> None:
    listed = DatabaseCall("list", "posts", query={"filter": "a = 'b&c'"})
    assert (listed.method, listed.path, listed.body) == ("GET", "/api/collections/posts/records", None)
    assert listed.query_string == "filter=a+%3D+%27b%26c%27"
    made = DatabaseCall("create", "posts", None, {"a": 1})
    assert (made.method, made.path, made.body) == ("POST", "/api/collections/posts/records", {"a": 1})
    changed = DatabaseCall("update", "posts", "p1", {"a": 1})
    assert (changed.method, changed.path) == ("PATCH", "/api/collections/posts/records/p1")
    gone = DatabaseCall("delete", "posts", "p1")
    assert (gone.method, gone.body) == ("DELETE", None)
    signing = DatabaseCall("sign-in", "users", "auth-with-password", {"identity": "a"})
    assert (signing.path, signing.body) == ("/api/collections/users/auth-with-password", {"identity": "a"})
    assert DatabaseCall("sign-in", "users", "auth-methods").method == "GET"


def test_a_batch_lists_its_changes_in_order() -> None:
    changes = (Change("create", "a", None, {"x": 1}), Change("update", "b", "b1", {}), Change("delete", "c", "c1"))
    call = DatabaseCall("batch", changes=changes)
    assert (call.method, call.path) == ("POST", "/api/batch")
    assert call.body == {
        "requests": [
            {"method": "POST", "url": "/api/collections/a/records", "body": {"x": 1}},
            {"method": "PATCH", "url": "/api/collections/b/records/b1", "body": {}},
            {"method": "DELETE", "url": "/api/collections/c/records/c1"},
        ]
    }
    assert batch_results([{"body": {"id": "1"}}, {"body": None}, "x"]) == [{"id": "1"}, None, None]


@pytest.mark.parametrize("id", ["", ".", "..", None, 1])
def test_an_id_that_names_no_record_is_never_asked_for(id: Any) -> None:
    with pytest.raises(NotFound):
        _ = DatabaseCall("view", id, "x").path


@given(st.text(min_size=1).filter(lambda text: text not in (".", "..")))
def test_whatever_an_id_says_it_stays_one_segment(id: str) -> None:
    try:
        path = DatabaseCall("view", "posts", id).path
    except UnicodeEncodeError:
        return
    assert path.count("/") == 5
    assert not set(path) & set("?#%\\ ;") - {"%"}


def test_a_refusal_is_the_error_that_it_was() -> None:
    body = b'{"status":400,"message":"No.","data":{"a":{"code":"c","message":"m"}}}'
    invalid = error_of(400, body, {})
    assert isinstance(invalid, InvalidFields)
    assert (str(invalid), invalid.data) == ("No.", {"a": {"code": "c", "message": "m"}})
    for status, kind in ((401, Unauthenticated), (403, Forbidden), (404, NotFound), (409, Conflict), (413, TooLarge)):
        error = error_of(status, b'{"message":"No."}', {})
        assert type(error) is kind
        assert str(error) == "No."
    assert type(error_of(502, b"<html>", {})) is UpstreamUnavailable
    limited = [error_of(429, b"{}", {b"retry-after": value}) for value in (b"7", b"soon", b"9" * 99)]
    assert [error.retry_seconds for error in limited if isinstance(error, RateLimited)] == [7, 1, 1]
    factor = error_of(401, b'{"mfaId":"m1"}', {})
    assert isinstance(factor, SecondFactorNeeded)
    assert factor.mfa_id == "m1"


def test_credentials_come_under_several_names() -> None:
    found = credentials_of({"type": "passwordAuth", "emailOrUsername": "ann", "password": "x"}, "users")
    assert (found.strategy, found.identity, found.text("password"), found.text("otp")) == ("password", "ann", "x", "")
    for wrong in ({}, {"type": "magic"}, {"type": ["password"]}):
        with pytest.raises(Exception, match="type must be one of"):
            credentials_of(wrong, "users")
    for value in (1, ["x"], "x" * 5000):
        with pytest.raises(Exception, match="must be text"):
            credentials_of({"type": "otp", "otp": value}, "users").text("otp")


def test_values_are_bound_as_values() -> None:
    assert bound("a = {:a} && b > {:b}", a="it's \\", b=3) == "a = 'it\\'s \\\\' && b > 3"
    assert bound("{:a}", a="{:b}", b=1) == "'{:b}'"
    moment = datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)
    assert [literal(value) for value in (None, True, False, 1.5, moment)] == [
        "null",
        "true",
        "false",
        "1.500000",
        "'2026-01-02 03:04:05.678Z'",
    ]
    with pytest.raises(KeyError):
        bound("{:a}")
    for wrong in (float("nan"), float("inf"), [1], "a\0"):
        with pytest.raises(InvalidRequest, match="filter"):
            literal(wrong)
