import struct
import zlib
from contextlib import suppress

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from common.core.cache_frame import Frame, FrameCodec, Unreadable

LIMIT_BYTES = 100_000
codec = FrameCodec(compress_above_bytes=64, limit_bytes=LIMIT_BYTES)


def packed(data: bytes | None) -> bytes:
    frame = codec.pack(Frame(data, 1000, 3000))
    assert frame
    return frame


@given(st.one_of(st.none(), st.binary(max_size=2000)), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_what_is_written_is_read_back(data: bytes | None, fresh_ms: int, life_ms: int) -> None:
    frame = codec.pack(Frame(data, fresh_ms, life_ms))
    assert frame
    assert codec.unpack(frame) == Frame(data, fresh_ms, life_ms)


def test_a_large_value_is_compressed_and_one_that_would_grow_is_not() -> None:
    assert len(packed(b"x" * 10_000)) < 200
    noise = zlib.compress(bytes(range(256)) * 100, 9)
    assert len(packed(noise)) <= len(noise) + 20


def test_absence_is_not_the_same_as_emptiness() -> None:
    assert codec.unpack(packed(None)).data is None
    assert codec.unpack(packed(b"")).data == b""


def test_a_value_that_would_not_be_read_is_not_written() -> None:
    assert codec.pack(Frame(bytes(LIMIT_BYTES + 1), 1, 1)) is None
    assert codec.pack(Frame(bytes(LIMIT_BYTES), 1, 1)) is not None


@given(st.binary(max_size=300))
def test_foreign_bytes_are_unreadable(data: bytes) -> None:
    with pytest.raises(Unreadable):
        codec.unpack(data)


@given(st.binary(min_size=1, max_size=500), st.data())
def test_an_entry_that_was_cut_or_changed_is_unreadable(value: bytes, data: st.DataObject) -> None:
    frame = packed(value)
    with pytest.raises(Unreadable):
        codec.unpack(frame[: data.draw(st.integers(0, len(frame) - 1))])
    index = data.draw(st.sampled_from([0, 3, *range(13, len(frame))]))
    changed = bytearray(frame)
    changed[index] ^= data.draw(st.integers(1, 255))
    with suppress(Unreadable):
        assert codec.unpack(bytes(changed)).data == value  # zstandard leaves some bits unused


def test_an_entry_of_another_version_is_unreadable() -> None:
    with pytest.raises(Unreadable, match="version"):
        codec.unpack(packed(b"x")[:3] + b"\x02" + packed(b"x")[4:])


@pytest.mark.parametrize("claimed", [10, LIMIT_BYTES])
def test_an_entry_that_unpacks_to_more_than_it_says_is_never_unpacked(claimed: int) -> None:
    bomb = zstandard.compress(bytes(20_000_000))
    head = struct.pack("!3sBBIIII", b"PWc", 1, 1, 1, 1, claimed, 0)
    with pytest.raises(Unreadable, match="disagree"):
        codec.unpack(head + bomb)


def test_an_entry_that_says_it_is_too_large_is_not_unpacked() -> None:
    head = struct.pack("!3sBBIIII", b"PWc", 1, 0, 1, 1, LIMIT_BYTES + 1, 0)
    with pytest.raises(Unreadable, match="bytes"):
        codec.unpack(head + bytes(LIMIT_BYTES + 1))
