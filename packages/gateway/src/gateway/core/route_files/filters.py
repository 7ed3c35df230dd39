"""Values into PocketBase's filters, so that none of them can be read as anything but a value.

PocketBase 0.40 reads a backslash before a quote or another backslash as that character, and any other as itself.
"""

import math
import re
from datetime import UTC, datetime

from common.core.errors import InvalidRequest

_NAMED = re.compile(r"\{:(\w+)\}")


def bound(text: str, **values: object) -> str:
    """`bound("title = {:title} && views > {:least}", title=title, least=3)`, as the SDKs' `pb.filter`.

    Raises KeyError for a name without a value, InvalidRequest for a value that cannot be written.
    """
    return _NAMED.sub(lambda found: literal(values[found[1]]), text)


def literal(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return number(value)
        case datetime():
            moment = value.astimezone(UTC)
            return f"'{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03}Z'"
        case str():
            return quoted(value)
        case _:
            raise InvalidRequest(f"{type(value).__name__} is no value of a filter.")


def number(value: float) -> str:
    if not math.isfinite(value):
        raise InvalidRequest("A filter has no such number.")
    return str(value) if isinstance(value, int) else format(value, "f")


def quoted(text: str) -> str:
    if "\0" in text:
        raise InvalidRequest("A filter cannot spell NUL.")
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
