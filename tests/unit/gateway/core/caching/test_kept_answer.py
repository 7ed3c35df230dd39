"""What is kept of an answer, what is said of it, and which limit a read falls under."""

import pytest

from common.core.rate_limit_rule import InvalidRule
from gateway.core.bounded_names import OTHER, BoundedNames
from gateway.core.caching.kept_answer import answer_of, etag_of, is_keepable, is_known_to_client, not_modified
from gateway.core.front_door.limits import DEFAULTS, action_of, rule_for, rules_of
from gateway.core.front_door.pocketbase_route import find

JSON = (b"Content-Type", b"application/json")


@pytest.mark.parametrize(
    ("status", "header"),
    [
        (404, JSON),
        (206, JSON),
        (200, (b"Set-Cookie", b"a=b")),
        (200, (b"Content-Encoding", b"gzip")),
        (200, (b"Content-Range", b"bytes 0-1/2")),
        (200, (b"Cache-Control", b"No-Store")),
        (200, (b"Cache-Control", b"private, max-age=3")),
    ],
)
def test_what_is_for_one_client_or_no_whole_answer_is_not_kept(status: int, header: tuple[bytes, bytes]) -> None:
    assert not is_keepable(status, [JSON, header])


def test_what_pocketbase_says_of_records_and_files_is_kept() -> None:
    assert is_keepable(200, [JSON, (b"Cache-Control", b"max-age=2592000"), (b"Content-Encoding", b"identity")])


def test_an_answer_about_records_is_a_clients_own_and_has_to_be_asked_for_again() -> None:
    kept = answer_of(200, [JSON, (b"Vary", b"Origin"), (b"Connection", b"close")], b"{}", "view")
    headers = dict(kept.headers)
    assert headers[b"cache-control"] == b"private, no-cache"
    assert headers[b"vary"] == b"Origin, Authorization"
    assert headers[b"etag"] == kept.etag == etag_of(b"{}") != etag_of(b"{ }")
    assert headers[b"content-length"] == b"2"
    assert b"connection" not in headers
    assert set(dict(not_modified(kept.headers))) == {b"etag", b"cache-control", b"vary", b"access-control-allow-origin"}


def test_a_file_keeps_pocketbases_terms_and_a_refusal_gets_none() -> None:
    assert (
        dict(answer_of(200, [(b"Cache-Control", b"max-age=1")], b"x", "file").headers)[b"cache-control"] == b"max-age=1"
    )
    assert answer_of(404, [JSON], b"{}", "view").etag == b""


@pytest.mark.parametrize("asked", [b'"a"', b'W/"a"', b'"b", "a"', b"*", b'"b",W/"a"'])
def test_a_tag_counts_weakly_and_among_others(asked: bytes) -> None:
    assert is_known_to_client(b'"a"', asked)


@pytest.mark.parametrize("asked", [b"", b"a", b'"b"', b'"A"'])
def test_another_tag_is_none(asked: bytes) -> None:
    assert not is_known_to_client(b'"a"', asked)
    assert not is_known_to_client(b"", b"*")


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        ("GET", b"/api/collections/a/records", "list"),
        ("GET", b"/api/collections/a/records/b", "view"),
        ("POST", b"/api/collections/a/records", "create"),
        ("PATCH", b"/api/collections/a/records/b", "update"),
        ("DELETE", b"/api/collections/a/records/b", "delete"),
        ("HEAD", b"/api/files/a/b/c", "files"),
        ("POST", b"/api/collections/a/auth-refresh", "auth"),
        ("POST", b"/api/collections/a/request-otp", "auth"),
        ("GET", b"/api/realtime", "realtime"),
        ("GET", b"/api/health", "default"),
    ],
)
def test_every_route_has_a_limit_of_its_kind(method: str, path: bytes, action: str) -> None:
    route = find(method, path)
    assert route is not None
    assert action_of(method, route) == action


def test_the_most_special_limit_counts() -> None:
    names = {*DEFAULTS, "users:auth-with-otp", "users:auth", "auth-with-otp", "posts:list"}
    assert rule_for(names, "list", "posts") == "posts:list"
    assert rule_for(names, "list", "users") == "list"
    assert rule_for(names, "auth", "users", "auth-with-otp") == "users:auth-with-otp"
    assert rule_for(names, "auth", "users", "request-otp") == "users:auth"
    assert rule_for(names, "auth", "staff", "auth-with-otp") == "auth-with-otp"
    assert rule_for(names, "auth", "staff", "request-otp") == "auth"


def test_what_is_set_counts_in_place_of_one_default_alone() -> None:
    rules = rules_of({"list": {"limit": 7, "every": 1000}})
    assert (rules.named("list").limit, rules.named("view").limit) == (7, DEFAULTS["view"])
    with pytest.raises(InvalidRule):
        rules_of({"list": {"limit": -1, "every": 1000}})


def test_names_as_labels_are_bounded() -> None:
    names = BoundedNames(2)
    assert [names.bounded(name) for name in ("a", "b", "c", "a", "d")] == ["a", "b", OTHER, "a", OTHER]
