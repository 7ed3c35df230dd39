"""How large an image is once it is unpacked, found without unpacking it, in as few looks into the file as it takes.

Where a file states its size more than once the largest counts: decoders differ in which they believe. What a decoder
passes over is passed over here as well, however much there is of it: PocketBase unpacks an image wherever its size
stands. A look is a generator that yields offsets, and is sent LOOK_BYTES of what is there.
"""

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from gateway.core.uploads import file_type

LOOK_BYTES = 4096
MAX_LOOKS = 4000
"""The largest segment of a JPEG is 64 KiB, so that these are some 256 MB."""

_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE = frozenset(range(0xD0, 0xD8)) | {0x00, 0x01}
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_FRAME_BYTES = 8  # a frame header up to its size, without the 0xFF before it
_FILL = b"\xff"


@dataclass(frozen=True, slots=True)
class Size:
    width: int
    height: int

    @property
    def pixels(self) -> int:
        return self.width * self.height


class Hidden(Exception):
    """The size stands behind more than any honest image has before it."""


Look: TypeAlias = Generator[int, bytes, Size | None]
"""Returns None if the file tells no size. Raises Hidden."""


def look_into(type: str) -> Look | None:
    """None for what is no image."""
    match type:
        case file_type.PNG:
            return png_size()
        case file_type.GIF:
            return gif_size()
        case file_type.WEBP:
            return webp_size()
        case file_type.JPEG:
            return jpeg_size()
        case _:
            return None


def png_size() -> Look:
    """PNG 3rd edition, 11.2.1: IHDR comes first."""
    head = yield 0
    return Size(big(head[16:20]), big(head[20:24])) if len(head) >= 24 and head[12:16] == b"IHDR" else None


def gif_size() -> Look:
    """The logical screen; decoders refuse frames that reach beyond it."""
    head = yield 0
    return Size(little(head[6:8]), little(head[8:10])) if len(head) >= 10 else None


def webp_size() -> Look:
    """RFC 9649: the canvas of VP8X, and of every picture in it."""
    found: list[Size] = []
    offset = 12
    for _ in range(MAX_LOOKS):
        data = yield offset
        if len(data) < 18:
            return largest(found)
        found += picture_size(data[:4], data[8:32])
        length = little(data[4:8])
        offset += 8 + length + length % 2
    raise Hidden


def picture_size(kind: bytes, data: bytes) -> Iterable[Size]:
    if kind == b"VP8X":
        yield Size(little(data[4:7]) + 1, little(data[7:10]) + 1)
    elif kind == b"VP8L" and data[0] == 0x2F:
        bits = little(data[1:5])
        yield Size((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    elif kind == b"VP8 " and data[3:6] == b"\x9d\x01\x2a":
        yield Size(little(data[6:8]) & 0x3FFF, little(data[8:10]) & 0x3FFF)
    elif kind == b"ANMF" and len(data) >= 12:
        yield Size(little(data[6:9]) + 1, little(data[9:12]) + 1)


def jpeg_size() -> Look:
    """ITU-T T.81, annex B: every frame header before the first scan. Between segments anything may stand for Go's
    decoder, which makes the thumbnails."""
    found: list[Size] = []
    offset = 2
    for _ in range(MAX_LOOKS):
        data = yield offset
        begin = data.find(_FILL)
        segment = data[begin:].lstrip(_FILL) if begin >= 0 else b""
        at = len(data) - len(segment)
        if len(segment) < _FRAME_BYTES:
            if len(data) < LOOK_BYTES:
                return largest(found)
            offset += at if begin < 0 else at - 1
            continue
        marker, length = segment[0], big(segment[1:3])
        if marker in (_START_OF_SCAN, _END_OF_IMAGE) or (marker not in _STANDALONE and length < 2):
            return largest(found)
        if marker in _START_OF_FRAME and length >= _FRAME_BYTES - 1:
            found.append(Size(big(segment[6:8]), big(segment[4:6])))
        offset += at + 1 if marker in _STANDALONE else at + 1 + length
    raise Hidden


def largest(sizes: Iterable[Size]) -> Size | None:
    return max(sizes, key=lambda size: size.pixels, default=None)


def big(data: bytes) -> int:
    return int.from_bytes(data, "big")


def little(data: bytes) -> int:
    return int.from_bytes(data, "little")
