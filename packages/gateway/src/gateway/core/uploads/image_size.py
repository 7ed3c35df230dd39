"""How large an image is once it is unpacked, read from its head without unpacking it.

Where a file states its size more than once the largest counts: decoders differ in which they believe, so an answer
with one of them, as libraries give it, could be the wrong one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.core.uploads import file_type

HEAD_BYTES = 1024 * 1024
MAX_SEGMENTS = 1000

_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE = frozenset(range(0xD0, 0xD8)) | {0x01}
_START_OF_SCAN, _END_OF_IMAGE, _FILL = 0xDA, 0xD9, 0xFF


@dataclass(frozen=True, slots=True)
class Size:
    width: int
    height: int

    @property
    def pixels(self) -> int:
        return self.width * self.height


def size_of(type: str, head: bytes) -> Size | None:
    """From the first HEAD_BYTES. None if they do not tell a size."""
    match type:
        case file_type.PNG:
            found = png_sizes(head)
        case file_type.GIF:
            found = gif_sizes(head)
        case file_type.WEBP:
            found = webp_sizes(head)
        case file_type.JPEG:
            found = jpeg_sizes(head)
        case _:
            return None
    return max(found, key=lambda size: size.pixels, default=None)


def png_sizes(head: bytes) -> Iterator[Size]:
    """PNG 3rd edition, 11.2.1: IHDR comes first."""
    if len(head) >= 24 and head[12:16] == b"IHDR":
        yield Size(big(head[16:20]), big(head[20:24]))


def gif_sizes(head: bytes) -> Iterator[Size]:
    """The logical screen; decoders refuse frames that reach beyond it."""
    if len(head) >= 10:
        yield Size(little(head[6:8]), little(head[8:10]))


def webp_sizes(head: bytes) -> Iterator[Size]:
    """RFC 9649: the canvas of VP8X, and of every picture in it."""
    offset = 12
    for _ in range(MAX_SEGMENTS):
        kind, data = head[offset : offset + 4], head[offset + 8 : offset + 32]
        if len(data) < 10:
            return
        if kind == b"VP8X":
            yield Size(little(data[4:7]) + 1, little(data[7:10]) + 1)
        elif kind == b"VP8L" and data[0] == 0x2F:
            bits = little(data[1:5])
            yield Size((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
        elif kind == b"VP8 " and data[3:6] == b"\x9d\x01\x2a":
            yield Size(little(data[6:8]) & 0x3FFF, little(data[8:10]) & 0x3FFF)
        elif kind == b"ANMF" and len(data) >= 12:
            yield Size(little(data[6:9]) + 1, little(data[9:12]) + 1)
        length = little(head[offset + 4 : offset + 8])
        offset += 8 + length + length % 2


def jpeg_sizes(head: bytes) -> Iterator[Size]:
    """ITU-T T.81, annex B: every frame header before the first scan."""
    for marker, segment in jpeg_segments(head):
        if marker in _START_OF_FRAME and len(segment) >= 5:
            yield Size(big(segment[3:5]), big(segment[1:3]))


def jpeg_segments(head: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 2
    for _ in range(MAX_SEGMENTS):
        while head[offset : offset + 2] == b"\xff\xff":
            offset += 1
        if len(head) < offset + 4 or head[offset] != _FILL:
            return
        marker = head[offset + 1]
        if marker in _STANDALONE:
            offset += 2
            continue
        if marker in (_START_OF_SCAN, _END_OF_IMAGE):
            return
        length = big(head[offset + 2 : offset + 4])
        yield marker, head[offset + 4 : offset + 2 + min(length, 16)]
        offset += 2 + length


def big(data: bytes) -> int:
    return int.from_bytes(data, "big")


def little(data: bytes) -> int:
    return int.from_bytes(data, "little")
