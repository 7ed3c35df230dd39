"""A raw request path to decoded segments, read in the one way that every parser behind us agrees with."""

import re
from urllib.parse import unquote_to_bytes

from gateway.core.refusals import MalformedPath

MAX_PATH_BYTES = 2048
_PLAIN = re.compile(rb"[A-Za-z0-9_-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_HEXADECIMAL = frozenset(b"0123456789abcdefABCDEF")


def segments_of(raw_path: bytes) -> list[str]:
    """The segments after the first slash, each decoded once; a trailing slash leaves an empty last one.

    Raises MalformedPath for whatever two parsers could read differently: dot segments, an encoded slash, backslash
    or NUL, empty segments, control characters, a broken escape, bytes that are not UTF-8, no leading slash.
    """
    if not raw_path.startswith(b"/") or len(raw_path) > MAX_PATH_BYTES:
        raise MalformedPath("The path must begin with a slash and must not be overlong.")
    segments = [decoded(segment) for segment in raw_path[1:].split(b"/")]
    if "" in segments[:-1]:
        raise MalformedPath("The path has an empty segment.")
    return segments


def decoded(segment: bytes) -> str:
    if _PLAIN.fullmatch(segment):
        return segment.decode("ascii")
    try:
        text = unquote_to_bytes(well_escaped(segment)).decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedPath("The path is not UTF-8.") from error
    if text in (".", ".."):
        raise MalformedPath("The path has a dot segment.")
    if "/" in text or "\\" in text or has_control(text):
        raise MalformedPath("The path has a character that a segment must not contain.")
    return text


def well_escaped(segment: bytes) -> bytes:
    """Raises MalformedPath unless two hexadecimal digits follow every per cent sign."""
    for piece in segment.split(b"%")[1:]:
        if len(piece) < 2 or not _HEXADECIMAL.issuperset(piece[:2]):
            raise MalformedPath("The path has a broken escape.")
    return segment


def has_control(text: str) -> bool:
    return _CONTROL.search(text) is not None
