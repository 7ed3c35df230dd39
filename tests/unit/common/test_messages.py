import json
from contextlib import suppress
from datetime import datetime
from enum import Enum
from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.core import errors
from common.core.errors import InvalidRequest, NotFound, RateLimited, ServiceError, UpstreamUnavailable
from common.core.failures import FAILURE_HEADER, KNOWN, failure_headers, failure_of, read_failure
from common.core.messages import Done, InvalidMessage, Message, MessageTooLarge, UnknownVersion, decode, encode


class Colour(Enum):
    RED = "red"


class Place(msgspec.Struct, frozen=True):
    street: str


class Order(Message, frozen=True):
    id: str
    count: int
    places: tuple[Place, ...] = ()
    colour: Colour = Colour.RED
    mood: Literal["good", "bad"] = "good"
    at: datetime | None = None


class LaterOrder(Message, frozen=True, kw_only=True):
    v: int = 2
    id: str


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.text().filter(lambda text: text.isprintable()), st.integers(-(2**63), 2**63 - 1))
def test_what_is_written_is_read_back(text: str, count: int) -> None:
    order = Order(id=text, count=count, places=(Place(street=text),))
    assert decode(Order, encode(order)) == order


def test_the_version_is_on_the_wire() -> None:
    assert json.loads(encode(Order(id="a", count=1)))["v"] == 1
    assert json.loads(encode(LaterOrder(id="a")))["v"] == 2


def test_fields_that_a_reader_does_not_know_are_ignored() -> None:
    assert decode(Order, b'{"v":1,"id":"a","count":1,"new":{"deep":[1]}}') == Order(id="a", count=1)


@pytest.mark.parametrize(("kind", "said"), [(Order, 2), (Order, 0), (Order, -1), (LaterOrder, 1), (LaterOrder, 3)])
def test_another_version_is_refused_whatever_else_is_in_it(kind: type[Message], said: int) -> None:
    for rest in ("", ',"id":"a","count":1', ',"id":7'):
        with pytest.raises(UnknownVersion, match="`v`") as raised:
            decode(kind, f'{{"v":{said}{rest}}}'.encode())
        assert raised.value.field == "v"


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ('{"id":"a","count":1}', "v"),
        ('{"v":"1","id":"a","count":1}', "v"),
        ('{"v":null,"id":"a","count":1}', "v"),
        ('{"v":1,"count":1}', "id"),
        ('{"v":1,"id":"a"}', "count"),
        ('{"v":1,"id":"a","count":"hunter2"}', "count"),
        ('{"v":1,"id":"a","count":1,"places":[{"street":1}]}', "places[0].street"),
        ('{"v":1,"id":"a","count":1,"places":[{}]}', "places[0].street"),
        ('{"v":1,"id":"a","count":1,"colour":"hunter2"}', "colour"),
        ('{"v":1,"id":"a","count":1,"mood":"hunter2"}', "mood"),
        ('{"v":1,"id":"a","count":1,"at":"hunter2"}', "at"),
        ("[]", ""),
        ('"hunter2"', ""),
        ("", ""),
        ("hunter2", ""),
        ('{"v":1,"id":"a","count":1', ""),
    ],
)
def test_the_field_at_fault_is_named_and_its_value_is_not(data: str, field: str) -> None:
    with pytest.raises(InvalidMessage) as raised:
        decode(Order, data.encode())
    assert raised.value.field == field
    assert (f"`{field}`" if field else "Order") in str(raised.value)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"v":1,"new":' + b"[" * 100_000, b'{"v":' * 50_000])
def test_depth_is_no_way_to_stop_a_reader(data: bytes) -> None:
    with pytest.raises(InvalidMessage):
        decode(Order, data)


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_nothing_but_an_invalid_message_comes_of_any_bytes(data: bytes) -> None:
    with suppress(InvalidMessage):
        assert isinstance(decode(Order, data), Order)


def test_an_invalid_message_is_an_invalid_request() -> None:
    assert issubclass(InvalidMessage, InvalidRequest)
    assert all(issubclass(kind, InvalidMessage) for kind in (MessageTooLarge, UnknownVersion))


def test_what_is_too_large_is_neither_read_nor_sent() -> None:
    data = encode(Order(id="a" * 100, count=1))
    with pytest.raises(MessageTooLarge, match="99"):
        decode(Order, data, limit_bytes=99)
    with pytest.raises(MessageTooLarge, match="99"):
        encode(Order(id="a" * 100, count=1), limit_bytes=99)
    with pytest.raises(MessageTooLarge):
        encode(b"x" * 2**20)


def test_text_without_a_utf8_form_is_refused() -> None:
    with pytest.raises(InvalidMessage, match="surrogate"):
        encode(Order(id="\ud800", count=1))


def test_bytes_pass_as_they_are() -> None:
    assert decode(bytes, encode(b"\x00raw")) == b"\x00raw"


# Failures


@pytest.mark.parametrize("kind", KNOWN.values(), ids=KNOWN)
def test_every_known_failure_comes_back_as_its_own_class(kind: type[ServiceError]) -> None:
    error = RateLimited("why", retry_seconds=9) if kind is RateLimited else kind("why")
    back = crossed(error)
    assert type(back) is kind
    assert str(back) == "why"


def test_all_failures_of_common_are_known() -> None:
    own = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ServiceError)}
    assert set(KNOWN.values()) == own


def crossed(error: Exception) -> ServiceError:
    failure = failure_of(error)
    return read_failure(failure_headers(failure)[FAILURE_HEADER], encode(failure))


def test_when_to_come_back_is_told() -> None:
    back = crossed(RateLimited("slow down", retry_seconds=9))
    assert isinstance(back, RateLimited)
    assert back.retry_seconds == 9


def test_a_failure_of_another_package_comes_back_as_its_nearest_known_ancestor() -> None:
    class NoAccount(NotFound):
        code = "no_account"

    assert type(crossed(NoAccount("which"))) is NotFound


def test_a_failure_that_nobody_here_knows_is_a_dependency_that_failed() -> None:
    assert type(read_failure("teapot", b'{"v":1,"code":"teapot","message":"short"}')) is UpstreamUnavailable
    assert type(read_failure("teapot", b"not of ours")) is UpstreamUnavailable
    assert type(read_failure("not_found", b"not of ours")) is NotFound


def test_the_text_of_a_bug_does_not_cross() -> None:
    assert "hunter2" not in str(encode(failure_of(ValueError("hunter2"))))
    assert type(crossed(ValueError("hunter2"))) is ServiceError


def test_a_long_text_is_cut_and_a_header_stays_one_line() -> None:
    failure = failure_of(NotFound("no\r\nsuch ü" + "x" * 5000))
    assert len(failure.message) == 500
    assert all(value.isascii() and value.isprintable() for value in failure_headers(failure).values())


def test_done_says_nothing_but_its_version() -> None:
    assert encode(Done()) == b'{"v":1}'
