import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.core.errors import InvalidRequest
from common.core.nats_protocol import (
    Delivered,
    Headers,
    Violation,
    publication,
    read_delivered,
    read_headers,
    read_violation,
    subscription,
    unsubscription,
)


def test_a_publication_is_one_line_and_its_payload() -> None:
    assert publication("a.b", "", {}, b"hi") == b"PUB a.b 2\r\nhi\r\n"
    assert publication("a.b", "r", {}, b"") == b"PUB a.b r 0\r\n\r\n"
    assert publication("a", "", {"X": "y"}, b"hi") == b"HPUB a 18 20\r\nNATS/1.0\r\nX: y\r\n\r\nhi\r\n"


def test_interest_comes_and_goes_by_number() -> None:
    assert subscription("a.*", "q", 7) == b"SUB a.* q 7\r\n"
    assert subscription("a", "", 7) == b"SUB a  7\r\n"
    assert unsubscription(7) == b"UNSUB 7\r\n"


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=4), st.binary(max_size=40))
def test_no_header_changes_the_shape_of_what_is_sent(headers: dict[str, str], payload: bytes) -> None:
    try:
        command = publication("a", "", headers, payload)
    except InvalidRequest:
        return
    line, rest = command.split(b"\r\n", 1)
    if headers:
        block, size = (int(number) for number in line.split()[2:])
        assert rest[block:] == payload + b"\r\n"
        assert size == block + len(payload)
        said = {name.lower(): value.strip() for name, value in headers.items()}
        assert read_headers(rest[:block]).values.keys() == said.keys()


@given(
    st.dictionaries(st.from_regex(r"[a-z-]{1,9}", fullmatch=True), st.from_regex(r"[a-zé:/ =]{0,30}", fullmatch=True))
)
def test_headers_are_read_back(headers: dict[str, str]) -> None:
    line, rest = publication("a", "", headers, b"").split(b"\r\n", 1)
    block = rest[: int(line.split()[2])] if headers else None
    assert read_headers(block) == Headers("", {name: value.strip() for name, value in headers.items()})


@pytest.mark.parametrize(
    ("block", "status", "values"),
    [
        (None, "", {}),
        (b"NATS/1.0 503\r\n\r\n", "503", {}),
        (b"NATS/1.0 404 No Messages\r\n\r\n", "404", {"description": "No Messages"}),
        (b"NATS/1.0\r\nName:\tone\r\nbroken\r\n\r\n", "", {"name": "one"}),
        (b"\xff\xfe", "\ufffd\ufffd", {}),
    ],
)
def test_what_the_server_says_by_itself_is_read(block: bytes | None, status: str, values: dict[str, str]) -> None:
    assert read_headers(block) == Headers(status, values)


@given(st.binary(max_size=80))
def test_no_header_block_stops_a_reader(block: bytes) -> None:
    read_headers(block)
    read_delivered(block.decode("latin-1"))
    read_violation(block.decode("latin-1"))


@pytest.mark.parametrize(
    ("text", "violation"),
    [
        ("'permissions violation for publish to \"a.b\"'", Violation("publish", "a.b")),
        ("'Permissions Violation for Publish with Reply of \"r.1\"'", Violation("publish", "r.1")),
        ("'permissions violation for subscription to \"a.>\"'", Violation("subscription", "a.>")),
        (
            '\'permissions violation for subscription to "a" using queue "Q"\'',
            Violation("subscription", "a", "q"),
        ),
        ("'maximum subscriptions exceeded'", Violation("subscription", None)),
        ("'authorization violation'", None),
        ("", None),
    ],
)
def test_what_the_server_refuses_is_read_from_its_error_line(text: str, violation: Violation | None) -> None:
    assert read_violation(text) == violation


@pytest.mark.parametrize(
    ("reply", "delivered"),
    [
        ("$JS.ACK.S.c.2.30.4.1700000000000000000.5", Delivered("S", "c", 2, 30, 4, 5)),
        ("$JS.ACK.hub.ACCHASH.S.c.2.30.4.1700000000000000000.5.rnd", Delivered("S", "c", 2, 30, 4, 5)),
        ("$JS.ACK.S.c.two.30.4.17.5", None),
        ("$JS.ACK.S.c", None),
        ("_INBOX.a.b.c.d.e.f.g.h", None),
        ("", None),
    ],
)
def test_what_a_consumer_says_of_a_message_is_read(reply: str, delivered: Delivered | None) -> None:
    assert read_delivered(reply) == delivered
