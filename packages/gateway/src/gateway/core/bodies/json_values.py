"""Values as JSON would carry them: copied, measured, and free of whatever still holds on to the originals."""

import json
import re
from typing import Any

import orjson

_MAYBE_BEYOND_64_BITS = re.compile(rb"\d{19}")


class NotJson(ValueError):
    """The value cannot be written as JSON."""


def encoded(value: object) -> bytes:
    """Raises NotJson."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return encoded_slowly(value)


def encoded_slowly(value: object) -> bytes:
    """For what a client may send and orjson does not write: integers beyond 64 bits, lone surrogates."""
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise NotJson(type(error).__name__) from error


def decoded(text: bytes) -> Any:
    """Integers keep every digit, which orjson's would not. Raises NotJson."""
    try:
        return json.loads(text) if _MAYBE_BEYOND_64_BITS.search(text) else orjson.loads(text)
    except (ValueError, RecursionError) as error:
        return decoded_slowly(text, error)


def decoded_slowly(text: bytes, error: Exception) -> Any:
    """For a lone surrogate, which PocketBase takes and orjson does not read."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise NotJson(type(error).__name__) from error


def copied(value: object) -> Any:
    """Raises NotJson."""
    return decoded(encoded(value))
