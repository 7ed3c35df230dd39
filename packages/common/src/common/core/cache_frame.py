"""One entry of the shared tier as bytes: a head, then the value, compressed where that saves something."""

import struct
import zlib
from typing import NamedTuple

import zstandard

from common.core.errors import ServiceError

MAGIC = b"PWc"
VERSION = 1
COMPRESSED, ABSENT = 1, 2

_HEAD = struct.Struct("!3sBBIIII")
"""Magic, version, flags; milliseconds of freshness and of life in all; bytes of the value and its CRC-32."""

MAX_MS = 0xFFFF_FFFF


class Unreadable(ServiceError):
    """Bytes that are no entry of ours, or were cut or changed. They count as a miss."""


class Frame(NamedTuple):
    """A value as it was stored (None for 'there is no such thing'). Life in all is freshness and what comes after."""

    data: bytes | None
    fresh_ms: int
    life_ms: int


class FrameCodec:
    """Writes and reads frames. Not to be shared between threads: neither is what compresses."""

    def __init__(self, *, compress_above_bytes: int, limit_bytes: int) -> None:
        self._compress_above_bytes = compress_above_bytes
        self._limit_bytes = limit_bytes
        self._compressor = zstandard.ZstdCompressor()
        self._decompressor = zstandard.ZstdDecompressor()

    def pack(self, frame: Frame) -> bytes | None:
        """None for a value of more bytes than would be read again."""
        data = b"" if frame.data is None else frame.data
        if len(data) > self._limit_bytes:
            return None
        flags, body = ABSENT if frame.data is None else 0, data
        if len(data) > self._compress_above_bytes:
            smaller = self._compressor.compress(data)
            if len(smaller) < len(data):
                flags, body = flags | COMPRESSED, smaller
        times = (min(ms, MAX_MS) for ms in (frame.fresh_ms, frame.life_ms))
        return _HEAD.pack(MAGIC, VERSION, flags, *times, len(data), zlib.crc32(data)) + body

    def unpack(self, packed: bytes) -> Frame:
        """Raises Unreadable; never makes more bytes than the limit of what was compressed."""
        if len(packed) < _HEAD.size:
            raise Unreadable("The entry is cut short.")
        magic, version, flags, fresh_ms, life_ms, length, checksum = _HEAD.unpack_from(packed)
        if magic != MAGIC or version != VERSION:
            raise Unreadable("The entry is of another kind or version.")
        if length > self._limit_bytes:
            raise Unreadable(f"The entry says that it holds {length} bytes; {self._limit_bytes} are read.")
        body = packed[_HEAD.size :]
        data = self._inflate(body, length) if flags & COMPRESSED else body
        if len(data) != length or zlib.crc32(data) != checksum:
            raise Unreadable("The entry was changed since it was written.")
        return Frame(None if flags & ABSENT else data, fresh_ms, life_ms)

    def _inflate(self, body: bytes, length: int) -> bytes:
        # What decompresses allocates what the body's own head says, whatever limit it is given.
        try:
            if zstandard.frame_content_size(body) != length:
                raise Unreadable("The entry's sizes disagree.")
            return self._decompressor.decompress(body, max_output_size=length)
        except zstandard.ZstdError as error:
            raise Unreadable("The entry cannot be decompressed.") from error
