"""Who may share an answer: everybody, all whose record holds the same values, one session, or nobody.

The class is that of the strictest condition that decides the answer, and each reason is kept in words. It holds for
one kind of caller, guest or member of one auth collection; superusers see what rules and hidden fields keep from
others and share nothing, not even with each other.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from gateway.core.caching.read_clauses import Clauses, Read
from gateway.core.caching.rule_uses import Source, Use
from gateway.core.collections.catalogue import SUPERUSERS, Collection
from gateway.core.collections.view_query import is_unsteady


@dataclass(frozen=True, slots=True)
class Public:
    """One answer for all, guests and members of every collection."""

    name: ClassVar = "public"


@dataclass(frozen=True, slots=True)
class AuthProjection:
    """One answer for all callers of one collection whose records hold the same in `fields`, one for all guests."""

    name: ClassVar = "auth-projection"
    fields: frozenset[str]


@dataclass(frozen=True, slots=True)
class Private:
    """One answer for one session, one for all guests."""

    name: ClassVar = "private"


@dataclass(frozen=True, slots=True)
class Never:
    name: ClassVar = "never"
    reason: str


CacheClass: TypeAlias = Public | AuthProjection | Private | Never


@dataclass(frozen=True, slots=True)
class Verdict:
    """`headers` and `parameters` are those that rules read: their values are part of the key. `why` is for people."""

    cache_class: CacheClass
    headers: frozenset[str]
    parameters: frozenset[str]
    why: tuple[str, ...]


_TOLD: Mapping[Source, str] = {
    "who": "whether somebody is signed in, and of which collection",
    "auth scalar": "the caller's {}",
    "auth record": "more of the caller's record than one value ({})",
    "query": "the parameter {}",
    "header": "the header {}",
}
# what the gateway sets itself, or strips, or a library may add on the way
_OWN_HEADERS = frozenset(
    ("authorization", "host", "cookie", "connection", "content_length", "transfer_encoding", "accept_encoding")
)
_OWN_HEADER_PREFIXES = ("x_forwarded", "forwarded", "x_request_id", "trace", "if_", "range")


def never(reason: str) -> Verdict:
    return Verdict(Never(reason), frozenset(), frozenset(), (reason,))


def verdict_of(
    read: Read,
    clauses: Clauses,
    uses: Mapping[str, Iterable[Use]],
    touched: Iterable[Collection],
    asker: Collection | None,
) -> Verdict:
    """`uses` by the name of their clause, `touched` all that the answer depends on."""
    reason = forbidden(read, clauses, touched, asker)
    listed = [(clause, use) for clause, used in uses.items() for use in used]
    reason = reason or next(filter(None, (unsharable(clause, use) for clause, use in listed)), None)
    if reason is not None:
        return never(reason)
    shown_auth = sorted(collection.name for collection in clauses.shown if collection.is_auth)
    cache_class = strictest([use for _, use in listed], shows_auth=bool(shown_auth) and read.kind != "file")
    why = [f"{clause} reads {_TOLD[use.source].format(use.name)}." for clause, use in listed if use.source in _TOLD]
    if shown_auth and read.kind != "file":
        why.append(f"The answer may show {', '.join(shown_auth)}, whose e-mail addresses their owners see.")
    return Verdict(
        cache_class,
        frozenset(use.name for _, use in listed if use.source == "header"),
        frozenset(use.name for _, use in listed if use.source == "query"),
        tuple(dict.fromkeys(why)) or ("Nothing that decides the answer depends on who asks.",),
    )


def forbidden(read: Read, clauses: Clauses, touched: Iterable[Collection], asker: Collection | None) -> str | None:
    """Why this read is never stored, whatever its conditions say."""
    if asker is not None and asker.name == SUPERUSERS:
        return "The caller is a superuser."
    if clauses.is_random:
        return "The order is random."
    if read.kind == "file" and any(field.is_protected for field in read.collection.fields):
        return f"{read.collection.name} has protected files."
    untold = sorted(collection.name for collection in touched if collection.is_system)
    if untold:  # the record feed leaves out PocketBase's own collections
        return f"Nobody is told of changes to {untold[0]}."
    unsteady = sorted(view.name for view in touched if view.is_view and is_unsteady(view.view_query))
    if unsteady:
        return f"The view {unsteady[0]} may read the clock, chance or what is no collection."
    return None


def unsharable(clause: str, use: Use) -> str | None:
    match use.source:
        case "clock":
            return f"{clause} reads the clock ({use.name})."
        case "body":
            return f"{clause} reads the request's body ({use.name})."
        case "header" if is_own_header(use.name):
            return f"{clause} reads a header that is not the client's alone ({use.name})."
        case _:
            return None


def is_own_header(name: str) -> bool:
    return name in _OWN_HEADERS or name.startswith(_OWN_HEADER_PREFIXES)


def strictest(uses: Iterable[Use], *, shows_auth: bool) -> CacheClass:
    listed = list(uses)
    sources = {use.source for use in listed}
    if "auth record" in sources:
        return Private()
    fields = {use.name for use in listed if use.source == "auth scalar"} | ({"id"} if shows_auth else set[str]())
    if fields or "who" in sources:
        return AuthProjection(frozenset(fields))
    return Public()
