"""What is framed here is read back by parsers that others wrote."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from common.core.event_frames import http_chunk, sse_comment, sse_event, websocket_close, websocket_text

LINES = st.binary(max_size=40).filter(lambda text: not set(text) & set(b"\r\n\0"))


def read_frame(data: bytes) -> Frame:
    stream = StreamReader()
    stream.feed_data(data)
    reading = Frame.parse(stream.read_exact, mask=False)
    while True:
        try:
            next(reading)
        except StopIteration as done:
            return done.value


@given(st.one_of(st.binary(max_size=200), st.sampled_from([125, 126, 65535, 65536, 100_000]).map(bytes)))
def test_a_text_frame_is_read_by_another_library_as_it_was_meant(payload: bytes) -> None:
    frame = read_frame(websocket_text(payload))
    assert (frame.opcode, frame.data, frame.fin) == (Opcode.TEXT, payload, True)


def test_a_close_frame_carries_its_code() -> None:
    frame = read_frame(websocket_close(1012))
    assert (frame.opcode, frame.data) == (Opcode.CLOSE, b"\x03\xf4")


@given(LINES, LINES)
def test_an_event_is_two_lines_and_a_blank_one(name: bytes, data: bytes) -> None:
    assert sse_event(name, data).split(b"\n") == [b"event:" + name, b"data:" + data, b"", b""]
    assert sse_event(name, data, id=b"7").startswith(b"id:7\nevent:")


@pytest.mark.parametrize("broken", [b"a\nb", b"a\rb", b"a\0"])
def test_nothing_can_begin_a_line_of_its_own(broken: bytes) -> None:
    for name, data in ((broken, b"{}"), (b"posts/*", broken)):
        with pytest.raises(ValueError, match="one line each"):
            sse_event(name, data)


def test_a_comment_means_nothing_and_a_chunk_says_how_long_it_is() -> None:
    assert sse_comment() == b":\n\n"
    assert http_chunk(bytes(26)) == b"1a\r\n" + bytes(26) + b"\r\n"
