"""The heads of images, as small as decoders accept them, with the sizes that are asked for."""

import struct
import zlib


def png(width: int = 2, height: int = 2, tail: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width + 1) * height)) if width * height < 10_000 else b""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"") + tail


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def gif(width: int = 2, height: int = 2, tail: bytes = b"") -> bytes:
    screen = struct.pack("<HHBBB", width, height, 0x80, 0, 0)
    return b"GIF89a" + screen + bytes(6) + b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00;" + tail


def jpeg(*sizes: tuple[int, int], padding: int = 0, fill: bytes = b"") -> bytes:
    """One frame header for each size; `padding` bytes of application data come first."""
    frames = b"".join(
        segment(0xC0, struct.pack(">BHHB", 8, height, width, 1) + b"\x01\x11\x00")
        for width, height in sizes or [(2, 2)]
    )
    application = b"".join(segment(0xE1, bytes(60_000)) for _ in range(padding // 60_000))
    return b"\xff\xd8" + application + fill + frames + segment(0xDA, b"\x01\x01\x00\x00\x3f\x00") + b"\x00\xff\xd9"


def segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def webp(*chunks: bytes) -> bytes:
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_chunk(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def lossy(width: int, height: int) -> bytes:
    return webp_chunk(b"VP8 ", b"\x30\x01\x00\x9d\x01\x2a" + struct.pack("<HH", width, height))


def lossless(width: int, height: int) -> bytes:
    bits = (width - 1) | (height - 1) << 14
    return webp_chunk(b"VP8L", b"\x2f" + struct.pack("<I", bits) + bytes(5))


def extended(width: int, height: int) -> bytes:
    return webp_chunk(b"VP8X", bytes(4) + little(width - 1) + little(height - 1))


def frame(width: int, height: int) -> bytes:
    return webp_chunk(b"ANMF", bytes(6) + little(width - 1) + little(height - 1) + bytes(4))


def little(number: int) -> bytes:
    return struct.pack("<I", number)[:3]


SVG = b'<?xml version="1.0"?>\n<!-- a circle --><svg xmlns="http://www.w3.org/2000/svg"><circle r="5"/></svg>'
PDF = b"%PDF-1.7\n%\xe2\xe3\n1 0 obj\n"
HTML = b"<!DOCTYPE html><html><script>alert(1)</script></html>"
ZIP = b"PK\x03\x04" + bytes(26)
