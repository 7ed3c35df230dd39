"""Which field a key of a body writes to.

PocketBase takes more than the plain name: `n+` and `n-` count, `+tags`, `tags+` and `tags-` edit a list or files, and
`text:autogenerate` appends. Its field names are made of word characters, so the first run of these is the field,
whatever a later version puts around it; a key that writes to nothing is taken for its field as well, which is harmless.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

_WORD = re.compile(r"\w+")


def field_of(key: str) -> str:
    found = _WORD.search(key)
    return found.group() if found else key


def modified(keys: Iterable[str]) -> set[str]:
    """Keys that change a field which is given under its own name as well. PocketBase lets these have the last word."""
    listed = set(keys)
    return {key for key in listed if key != field_of(key) and field_of(key) in listed}


def unmodified(record: Mapping[str, Any]) -> dict[str, Any]:
    """With what stands under a field's own name as its last word."""
    dropped = modified(record)
    return {key: value for key, value in record.items() if key not in dropped}
