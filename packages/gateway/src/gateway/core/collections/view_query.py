"""The SQL of a view, read no further than is needed to know what its rows depend on."""

import re
from collections.abc import Iterable
from itertools import pairwise

from gateway.core.collections.catalogue import Collection
from gateway.core.collections.schema import Schema

_TOKEN = re.compile(
    r"""--[^\n]*|/\*.*?(?:\*/|\Z)|'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|\w+|\S""", re.DOTALL
)
_NAME = re.compile(r"\w+")
# whatever may tell the time or chance, or is kept outside PocketBase's collections
_CLOCK_CALLS = ("date", "time", "datetime", "julianday", "unixepoch", "strftime", "timediff")
_OTHER_CALLS = ("random", "randomblob", "changes", "total_changes", "last_insert_rowid", "readfile")
_UNSTEADY_CALLS = frozenset((*_CLOCK_CALLS, *_OTHER_CALLS))
_UNSTEADY_NAMES = re.compile(
    r"current_date|current_time|current_timestamp|_params|_migrations|sqlite_\w+|pragma_\w+|dbstat|dbpage",
    re.IGNORECASE,
)


def is_unsteady(query: str) -> bool:
    """May two readings of the same records differ?"""
    tokens = [plain(token) for token in _TOKEN.findall(query) if not token.startswith(("--", "/*"))]
    calls = {name for name, following in pairwise(tokens) if following == "("}
    return not calls.isdisjoint(_UNSTEADY_CALLS) or any(map(_UNSTEADY_NAMES.fullmatch, tokens))


def plain(token: str) -> str:
    """SQLite lets a name be quoted in four ways, and its case does not matter."""
    return (token[1:-1] if token[0] in "'\"`[" and len(token) > 1 else token).lower()


def tables_of(view: Collection, schema: Schema) -> set[Collection]:
    """Every collection that the query names anywhere, views of views followed to their ground.

    That a word may be a column, a text or part of a comment only adds to them. Should none be found, all of them.
    """
    found: set[Collection] = set()
    waiting = [view]
    while waiting:
        named = collections_named(waiting.pop().view_query, schema.collections) - found
        found |= named
        waiting += [collection for collection in named if collection.is_view]
    is_grounded = any(not collection.is_view for collection in found)
    return found if is_grounded else set(schema.collections)


def collections_named(text: str, collections: Iterable[Collection]) -> set[Collection]:
    words = {word.lower() for word in _NAME.findall(text)}
    return {collection for collection in collections if collection.name.lower() in words}
