"""A query string, read as PocketBase reads it, and the one form of it that is cached under and sent on.

PocketBase is written in Go, whose net/url drops a pair with a raw semicolon or a broken escape, reads a plus as a
space and lets the first of equal names win. What the two sides could still read differently (a NUL, bytes that are not
UTF-8) and what is too much is refused. An answer must not depend on what its key leaves out, so a read that may be
cached is sent on in exactly the form that the key holds; any other query keeps every pair, for hooks may read it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias
from urllib.parse import quote, unquote_to_bytes

from common.core.errors import InvalidRequest

MAX_QUERY_BYTES = 32 * 1024
MAX_PAIRS = 100
DEFAULT_PER_PAGE = 30
MAX_PER_PAGE = 1000

Kind: TypeAlias = Literal["list", "view", "file"]

MEANT: Mapping[Kind, frozenset[str]] = {
    "list": frozenset(("page", "perPage", "sort", "filter", "expand", "fields", "skipTotal")),
    "view": frozenset(("expand", "fields")),
    "file": frozenset(("thumb", "download")),  # a token opens protected files only, which are never cached
}

_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))


class MalformedQuery(InvalidRequest):
    """The query could be read in more than one way, or is larger than any that has a use."""


@dataclass(frozen=True, slots=True)
class Query:
    """Each name once, in the order of their first mention."""

    pairs: tuple[tuple[str, str], ...] = ()

    def get(self, name: str) -> str:
        """Empty for what is missing: PocketBase tells the two apart only in `@request.query.NAME:isset`."""
        return next((value for key, value in self.pairs if key == name), "")

    def encoded(self) -> str:
        """Escaped anew, every byte that could mean something else; two queries have the same text only if equal."""
        return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in self.pairs)


def parse(raw: bytes) -> Query:
    """Raises MalformedQuery."""
    if len(raw) > MAX_QUERY_BYTES:
        raise MalformedQuery("The query is too long.")
    pieces = [piece for piece in raw.split(b"&") if piece]
    if len(pieces) > MAX_PAIRS:
        raise MalformedQuery("The query has too many parameters.")
    found: dict[str, str] = {}
    for piece in pieces:
        if b";" not in piece and not _BROKEN_ESCAPE.search(piece):
            name, _, value = piece.partition(b"=")
            found.setdefault(decoded(name), decoded(value))
    return Query(tuple(found.items()))


def decoded(text: bytes) -> str:
    plain = unquote_to_bytes(text.replace(b"+", b" "))
    if b"\0" in plain:
        raise MalformedQuery("The query has a NUL.")
    try:
        return plain.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedQuery("The query is not UTF-8.") from error


def canonical(query: Query, kind: Kind, read_by_rules: Iterable[str] = ()) -> Query:
    """What decides the answer of a read, by name, equal meanings spelt alike.

    Names that a rule reads are kept to the letter, known or not; other unknown names are dropped, so that they neither
    split the cache nor fill it.
    """
    literal = frozenset(read_by_rules)
    kept = {name: value for name, value in query.pairs if name in literal}
    for name, value in query.pairs:
        if name in MEANT[kind] and name not in literal and (meaning := meaning_of(name, value)):
            kept[name] = meaning
    return Query(tuple(sorted(kept.items())))


def meaning_of(name: str, value: str) -> str:
    """Empty for what PocketBase does by itself as well; never a value that the client did not at least imply."""
    if name in ("page", "perPage") and _INTEGER.fullmatch(value):
        return page_number(int(value)) if name == "page" else page_size(int(value))
    if name == "skipTotal":
        return "" if value in _FALSE else "1" if value in _TRUE else value
    return value


def page_number(number: int) -> str:
    return str(number) if number > 1 else ""


def page_size(number: int) -> str:
    return str(min(number, MAX_PER_PAGE)) if number > 0 and number != DEFAULT_PER_PAGE else ""
