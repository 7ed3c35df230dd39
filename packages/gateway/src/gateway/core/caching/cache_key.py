"""The key that an answer is kept under: two reads have the same one only if they may have the same answer.

A key is a list of parts, each led by its length, so that no part can run into the next. Values of the caller's record
are written as JSON, which tells a text from a number and null from nothing.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.core.caching.cache_class import AuthProjection, CacheClass, Private, Public

_BETWEEN_WORDS = re.compile(r"[\W_]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Member:
    """A signed-in caller. `values` are those of his record that a projection asks for, as PocketBase's API has them."""

    collection_id: str
    record_id: str
    session_id: str
    values: Mapping[str, Any]


def joined(parts: Iterable[str]) -> bytes:
    """Unambiguous: no two lists of parts give the same bytes."""
    encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
    return b"".join(b"%d:%b" % (len(part), part) for part in encoded)


def caller_parts(cache_class: CacheClass, caller: Member | None) -> list[str]:
    """Who the answer is for. Raises KeyError for a member of whom a value is not known, ValueError for Never."""
    match cache_class:
        case Public():
            return ["public"]
        case AuthProjection(fields):
            return ["projection", *(projected(fields, caller) if caller else ["guest"])]
        case Private():
            return ["private", *([caller.collection_id, caller.record_id, caller.session_id] if caller else ["guest"])]
        case _:
            raise ValueError("An answer that is never kept has no key.")


def projected(fields: Iterable[str], caller: Member) -> list[str]:
    named = [(field, caller.record_id if field == "id" else caller.values[field]) for field in sorted(fields)]
    return [caller.collection_id, *(text for field, value in named for text in (field, json.dumps(value)))]


def header_parts(names: Iterable[str], sent: Sequence[tuple[str, str]]) -> list[str] | None:
    """The values that PocketBase's rules read from the headers that are sent to it.

    None where two different headers would be read under one name: which of them wins is left to chance there.
    """
    parts: list[str] = []
    for name in sorted(names):
        matching = [(header.lower(), value) for header, value in sent if rule_name(header) == name]
        if len({header for header, _ in matching}) > 1:
            return None
        values = [value for _, value in matching[:1]]
        parts += [name, str(len(values)), *values]
    return parts


def rule_name(header: str) -> str:
    """A header's name as rules spell it: `X-Tenant-Id` is `x_tenant_id`, and so is `-x.tenant__id`."""
    return "_".join(filter(None, _BETWEEN_WORDS.split(header))).lower()


def digest(key: bytes) -> bytes:
    """The key at a size that a store is happy with."""
    return hashlib.sha256(key).digest()
