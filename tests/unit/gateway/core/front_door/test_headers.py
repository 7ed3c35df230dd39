"""What crosses the boundary, each way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.core.errors import InvalidRequest
from gateway.core.front_door.headers import bearer_token, check_host, declared_length, has_body, inbound, outbound

ADDRESS_NAMES = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded",
    "x-real-ip",
    "x-client-ip",
    "cf-connecting-ip",
    "true-client-ip",
    "fly-client-ip",
    "fastly-client-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
]
names = st.from_regex(r"[a-z_-]{1,20}", fullmatch=True).map(str.encode)
lists = st.lists(st.tuples(st.one_of(names, st.sampled_from(ADDRESS_NAMES).map(str.encode)), st.binary(max_size=20)))


@given(lists)
def test_exactly_one_address_and_one_identity_leave(headers: list[tuple[bytes, bytes]]) -> None:
    headers = [item for item in headers if item[0] not in (b"content-length", b"transfer-encoding")]
    sent = outbound(headers, client_address="203.0.113.9", token="ours")
    plain = [(name.lower().replace("_", "-"), value) for name, value in sent]
    assert [value for name, value in plain if name.startswith("x-forwarded")] == ["203.0.113.9"]
    assert [value for name, value in plain if name == "authorization"] == ["ours"]
    assert not {name for name, _ in plain} & (set(ADDRESS_NAMES) - {"x-forwarded-for"})


@pytest.mark.parametrize("between", ["_", ".", "--", "~_", "!#$%&'*+^`|"])
def test_no_spelling_that_pocketbase_reads_as_another_s_name_hides_anything(between: str) -> None:
    spelt = [name.replace("-", between) for name in [*ADDRESS_NAMES, "x-client-id", "keep-alive"]]
    headers = [(name.encode(), b"1.2.3.4") for name in (*spelt, *(f"{between}{name}{between}" for name in spelt))]
    headers += [(b".authorization", b"x"), (b"host_", b"x")]
    assert outbound(headers, client_address="::1", token=None) == [("X-Forwarded-For", "::1")]


def test_the_client_s_authorization_never_leaves() -> None:
    sent = outbound([(b"authorization", b"secret"), (b"accept", b"*/*")], client_address="::1", token=None)
    assert sent == [("accept", "*/*"), ("X-Forwarded-For", "::1")]


def test_hop_by_hop_headers_and_those_that_connection_names_stay_on_their_side() -> None:
    headers = [(b"connection", b"close, X-Secret"), (b"x-secret", b"1"), (b"te", b"trailers"), (b"x-kept", b"1")]
    assert outbound(headers, client_address="::1", token=None) == [("x-kept", "1"), ("X-Forwarded-For", "::1")]
    answer = [(b"Connection", b"X-Secret"), (b"X-Secret", b"1"), (b"Transfer-Encoding", b"chunked"), (b"ETag", b"1")]
    assert inbound([*answer, (b"Access-Control-Allow-Origin", b"x"), (b"Server", b"x")]) == [(b"etag", b"1")]


def test_a_body_s_length_is_passed_on_only_with_the_body() -> None:
    assert ("content-length", "3") in outbound([(b"content-length", b"3")], client_address="::1", token=None)
    assert outbound([(b"content-length", b"0")], client_address="::1", token=None) == [("X-Forwarded-For", "::1")]


@pytest.mark.parametrize(
    "headers",
    [
        [(b"content-length", b"-1")],
        [(b"content-length", b"1e3")],
        [(b"content-length", b"1"), (b"content-length", b"2")],
        [(b"content-length", b"9" * 16)],
        [(b"content-length", b"1"), (b"transfer-encoding", b"chunked")],
    ],
)
def test_a_length_said_in_two_ways_or_badly_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(InvalidRequest):
        declared_length(headers)


def test_bodies_are_told_by_their_headers() -> None:
    assert has_body([(b"transfer-encoding", b"chunked")])
    assert has_body([(b"content-length", b"1")])
    assert not has_body([(b"content-length", b"0")])
    assert not has_body([])


@pytest.mark.parametrize("value", [b"abc", b"Bearer abc", b"bEARER  abc ", b" abc"])
def test_the_scheme_of_a_token_is_optional(value: bytes) -> None:
    assert bearer_token([(b"authorization", value)]) == "abc"


def test_the_first_authorization_counts_and_an_empty_one_is_none() -> None:
    assert bearer_token([(b"authorization", b"a"), (b"authorization", b"b")]) == "a"
    assert bearer_token([(b"authorization", b" ")]) is None
    assert bearer_token([]) is None


def test_two_hosts_are_refused() -> None:
    check_host([(b"host", b"a")])
    with pytest.raises(InvalidRequest):
        check_host([(b"host", b"a"), (b"host", b"a")])
