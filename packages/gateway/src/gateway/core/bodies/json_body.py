"""JSON read in the one way in which PocketBase's parser and ours agree, and written anew from what was read.

PocketBase 0.40 reads the first value and ignores what follows it, refuses duplicate names, and holds every number of
a record as a float of 64 bits.
"""

import json
import math
from typing import Any, TypeGuard, cast

import orjson

from gateway.core.body_refusals import MalformedBody

MAX_DEPTH = 64
MAX_EXACT_INTEGER = 2**53
_INTEGER_DIGITS = len(str(MAX_EXACT_INTEGER)) + 1

UNREADABLE = "The body is not one JSON value."
TOO_DEEP = f"The body is nested more than {MAX_DEPTH} deep."
NO_OBJECT = "The body is not a JSON object."
NO_LIST = "The body has something else where a list belongs."


def parsed(data: bytes) -> Any:
    """The value, numbers as PocketBase will hold them.

    Raises MalformedBody for anything but one JSON value in UTF-8, for a name given twice in an object, a lone
    surrogate, a number beyond a float of 64 bits, and for more than MAX_DEPTH levels.
    """
    try:
        text = data.decode("utf-8")
        value = _DECODER.decode(text)
        if "\\u" in text:
            orjson.dumps(value)  # the one of the two libraries that refuses lone surrogates
    except (ValueError, TypeError, RecursionError) as error:
        raise MalformedBody(UNREADABLE) from error
    check_depth(value)
    return value


def parsed_object(data: bytes) -> dict[str, Any]:
    """Null counts as an empty object, as in PocketBase. Raises MalformedBody."""
    return as_object(parsed(data))


def as_object(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not is_object(value):
        raise MalformedBody(NO_OBJECT)
    return value


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def as_list(value: Any) -> list[Any]:
    """Null counts as an empty list. Raises MalformedBody."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise MalformedBody(NO_LIST)
    return cast(list[Any], value)


def written(value: Any) -> bytes:
    return orjson.dumps(value)


def check_depth(value: Any) -> None:
    """Raises MalformedBody."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [child for container in level for child in children(container)]
        if not level:
            return
    raise MalformedBody(TOO_DEEP)


def children(value: Any) -> list[Any]:
    """The containers that a container holds."""
    if isinstance(value, dict):
        found = cast(dict[str, Any], value).values()
    elif isinstance(value, list):
        found = cast(list[Any], value)
    else:
        return []
    return [child for child in found if isinstance(child, dict | list)]


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is given twice")
    return found


def integer(text: str) -> int | float:
    if len(text) <= _INTEGER_DIGITS and abs(number := int(text)) <= MAX_EXACT_INTEGER and text != "-0":
        return number
    return real(text)


def real(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number is beyond a float of 64 bits")
    return number


def no_number(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=unique, parse_int=integer, parse_float=real, parse_constant=no_number, strict=True
)
