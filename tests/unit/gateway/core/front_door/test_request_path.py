"""A path is read in one way or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.front_door.request_path import MAX_PATH_BYTES, segments_of
from gateway.core.refusals import MalformedPath


@pytest.mark.parametrize(
    "raw_path",
    [
        b"",
        b"*",
        b"api/health",
        b"http://localhost/api/health",
        b"//api",
        b"/api//x",
        b"/api/./x",
        b"/api/../x",
        b"/api/%2e/x",
        b"/api/.%2E/x",
        b"/a%2fb",
        b"/a%5Cb",
        b"/a\\b",
        b"/a%00",
        b"/a%0d%0ab",
        b"/a\tb",
        b"/a%7f",
        b"/a%c2%85",
        b"/a%c0%af",
        b"/a%ff",
        b"/a%",
        b"/a%4",
        b"/a%4g",
        b"/" + b"a" * MAX_PATH_BYTES,
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(raw_path: bytes) -> None:
    with pytest.raises(MalformedPath):
        segments_of(raw_path)


def test_segments_are_decoded_once() -> None:
    assert segments_of(b"/a%20b/%252e%252e/%c3%a9/") == ["a b", "%2e%2e", "é", ""]
    assert segments_of(b"/") == [""]


@given(st.binary(max_size=60))
def test_no_segment_can_climb_or_split(raw: bytes) -> None:
    try:
        segments = segments_of(b"/" + raw)
    except MalformedPath:
        return
    for segment in segments:
        assert segment not in (".", "..")
        assert not set(segment) & set("/\\\0\r\n")
