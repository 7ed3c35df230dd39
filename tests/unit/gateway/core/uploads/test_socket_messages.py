"""What is said on the socket that files go over."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.core.errors import InvalidRequest
from gateway.core.uploads import intent
from gateway.core.uploads.socket_messages import (
    MAX_CHUNK_BYTES,
    Abort,
    Auth,
    Chunk,
    Get,
    Message,
    Resume,
    Start,
    chunk_of,
    message_of,
    ref_of,
)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), st.binary(min_size=1, max_size=100))
def test_a_frame_is_read_as_it_was_written(ref: int, offset: int, data: bytes) -> None:
    chunk = Chunk(ref, offset, data)
    assert chunk_of(bytes(chunk)) == chunk


@pytest.mark.parametrize("size", [0, 11, 12, 13 + MAX_CHUNK_BYTES])
def test_no_frame_is_empty_or_overlong(size: int) -> None:
    with pytest.raises(InvalidRequest):
        chunk_of(bytes(size))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"type":"auth"}', Auth()),
        ('{"type":"auth","token":"t"}', Auth("t")),
        ('{"type":"resume","ref":1,"upload":"u"}', Resume(1, "u")),
        ('{"type":"abort","ref":4294967295}', Abort(4294967295)),
        (
            '{"type":"get","ref":2,"collection":"c","record":"r","file":"f","begin":5}',
            Get(ref=2, collection="c", record="r", file="f", begin=5),
        ),
    ],
)
def test_a_message_is_one_of_five(text: str, message: Message) -> None:
    assert message_of(text) == message


@given(st.text())
def test_nothing_else_is_a_message(text: str) -> None:
    with pytest.raises(InvalidRequest):
        message_of(text)
    assert ref_of(text) == 0


def test_an_upload_is_kept_as_it_was_said() -> None:
    text = '{"type":"start","ref":3,"collection":"c","field":"f+","name":"a/b.txt","size":5,"fields":{"a":[1.5,null]}}'
    start = message_of(text)
    assert isinstance(start, Start)
    kept = intent.read(intent.written(start.intent().checked()))
    assert (kept.collection, kept.field, kept.name, kept.size) == ("c", "f+", "b.txt", 5)
    assert kept.others() == {"a": [1.5, None]}
    assert kept.method == "POST"


def begun(text: str) -> intent.Intent:
    start = message_of(text)
    assert isinstance(start, Start)
    return start.intent().checked()


@pytest.mark.parametrize("fields", ["[]", '"x"', "1", '{"a":1,"a":2}', '{"a":"\\ud800"}', '{"a":1e999}'])
def test_fields_are_one_plain_object(fields: str) -> None:
    text = f'{{"type":"start","ref":3,"collection":"c","field":"f","name":"n","size":5,"fields":{fields}}}'
    with pytest.raises(InvalidRequest):
        begun(text)


@pytest.mark.parametrize("piece", ["..", ".", "a/b", "a\\b", "a\nb", "a\0b", "%2e%2e/", "é" * 255])
def test_names_lead_to_their_own_place_or_nowhere(piece: str) -> None:
    wanted = Get(ref=1, collection="c", record=piece, file="f")
    try:
        route = wanted.route()
    except InvalidRequest:
        return
    assert route.after == (piece, "f")
    assert piece in ("%2e%2e/", "é" * 255)[1:]


@pytest.mark.parametrize(
    ("begin", "end", "header"),
    [(None, None, []), (0, None, [b"bytes=0-"]), (5, 9, [b"bytes=5-9"]), (None, 9, [b"bytes=0-9"])],
)
def test_a_range_is_said_as_http_says_it(begin: int | None, end: int | None, header: list[bytes]) -> None:
    wanted = Get(ref=1, collection="c", record="r", file="f", begin=begin, end=end)
    assert [value for _, value in wanted.range()] == header


def test_a_query_is_escaped() -> None:
    wanted = Get(ref=1, collection="c", record="r", file="f", token="a&b=c", thumb="1x1")
    assert wanted.query() == b"token=a%26b%3Dc&thumb=1x1"


@pytest.mark.parametrize(
    ("text", "ref"), [('{"ref":7}', 7), ('{"ref":0}', 0), ('{"ref":true}', 1), ('{"ref":"7"}', 0), ("[7]", 0)]
)
def test_a_message_that_cannot_be_read_may_say_what_it_is_about(text: str, ref: int) -> None:
    assert ref_of(text) == ref


@pytest.mark.parametrize("end", ["", "]" * 20_000 + "}"])
def test_what_is_nested_too_deep_is_refused_as_anything_malformed(end: str) -> None:
    head = '{"type":"start","ref":1,"collection":"c","field":"f","name":"n","size":1,"fields":'
    with pytest.raises(InvalidRequest):
        message_of(head + "[" * 20_000 + end)
