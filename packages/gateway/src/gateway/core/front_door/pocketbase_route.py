"""Which of PocketBase's routes a request means, and whether a caller may use it here at all.

What is not on the list is not forwarded. A route keeps its parsed pieces, and the upstream path is built from these
alone, so nothing a client spells reaches PocketBase unread.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias
from urllib.parse import quote

from common.core.errors import Forbidden, NotFound
from gateway.core.front_door.request_path import segments_of

Kind: TypeAlias = Literal[
    "health", "realtime", "oauth2-redirect", "file-token", "file", "records", "batch", "sign-in", "auth"
]

MAX_REMEMBERED = 1024
NOT_HERE = "This part of PocketBase is not reachable here."
NOT_FOUND = "The requested resource wasn't found."
NO_FILE = "File not found."

_FIXED: Mapping[tuple[str, ...], tuple[Kind, frozenset[str]]] = {
    ("health",): ("health", frozenset({"GET", "HEAD"})),
    ("realtime",): ("realtime", frozenset({"GET", "POST"})),
    ("oauth2-redirect",): ("oauth2-redirect", frozenset({"GET", "POST"})),
    ("batch",): ("batch", frozenset({"POST"})),
    ("files", "token"): ("file-token", frozenset({"POST"})),
}
_AUTH_ACTIONS: Mapping[str, tuple[Kind, str]] = {
    "auth-methods": ("auth", "GET"),
    "auth-refresh": ("sign-in", "POST"),
    "auth-with-password": ("sign-in", "POST"),
    "auth-with-oauth2": ("sign-in", "POST"),
    "auth-with-otp": ("sign-in", "POST"),
    "request-otp": ("auth", "POST"),
    "request-password-reset": ("auth", "POST"),
    "confirm-password-reset": ("auth", "POST"),
    "request-verification": ("auth", "POST"),
    "confirm-verification": ("auth", "POST"),
    "request-email-change": ("auth", "POST"),
    "confirm-email-change": ("auth", "POST"),
}
_LIST_METHODS = frozenset({"GET", "POST"})
_RECORD_METHODS = frozenset({"GET", "PATCH", "DELETE"})
_FILE_METHODS = frozenset({"GET", "HEAD"})
_ADMIN_GROUPS = frozenset({"settings", "collections", "logs", "crons", "backups", "sql"})


@dataclass(frozen=True, slots=True)
class Route:
    """A caller-level route. `collection` is as the client spells it, until it is resolved."""

    kind: Kind
    before: tuple[str, ...]
    collection: str | None
    after: tuple[str, ...]

    def upstream_path(self, canonical_collection: str | None) -> str:
        """The path to ask PocketBase for, every segment escaped anew."""
        named = () if canonical_collection is None else (canonical_collection,)
        return "/" + "/".join([escaped(segment) for segment in ("api", *self.before, *named, *self.after)])


def escaped(segment: str) -> str:
    return segment if segment.isascii() and segment.isalnum() else quote(segment, safe="")


@lru_cache(maxsize=MAX_REMEMBERED)
def find(method: str, raw_path: bytes) -> Route | None:
    """The route that a request means; None when the path is not PocketBase's at all.

    Raises MalformedPath, Forbidden for PocketBase's superuser routes and dashboard, NotFound for anything else.
    """
    segments = segments_of(raw_path)
    head = segments[0].casefold()
    if head == "_":
        raise Forbidden(NOT_HERE)
    if head != "api":
        return None
    if segments[0] == "api" and (route := fixed(method, segments[1:]) or of_collection(method, segments[1:])):
        return route
    if is_administrative(segments[1:]):
        raise Forbidden(NOT_HERE)
    raise NotFound(nothing_for(method))


def nothing_for(method: str) -> str:
    """In PocketBase's words: it looks among its public files for whatever is read and not found elsewhere."""
    return NO_FILE if method == "GET" else NOT_FOUND


def fixed(method: str, rest: list[str]) -> Route | None:
    kind, methods = _FIXED.get(tuple(rest), (None, frozenset[str]()))
    return Route(kind, tuple(rest), None, ()) if kind and method in methods else None


def of_collection(method: str, rest: list[str]) -> Route | None:
    """Routes whose second segment names a collection."""
    if "" in rest:
        return None
    match rest:
        case ["collections", name, "records"] if method in _LIST_METHODS:
            return Route("records", ("collections",), name, ("records",))
        case ["collections", name, "records", id] if method in _RECORD_METHODS:
            return Route("records", ("collections",), name, ("records", id))
        case ["collections", name, action] if action in _AUTH_ACTIONS:
            kind, wanted = _AUTH_ACTIONS[action]
            return Route(kind, ("collections",), name, (action,)) if method == wanted else None
        case ["files", name, id, file] if method in _FILE_METHODS:
            return Route("file", ("files",), name, (id, file))
        case _:
            return None


def is_administrative(rest: list[str]) -> bool:
    """Is this PocketBase's superuser group, however it is spelt? Decides between 403 and 404, nothing else."""
    plain = [segment.casefold().partition(";")[0].strip() for segment in rest]
    match [segment for segment in plain if segment]:
        case ["collections", _, action, *_] if action in _AUTH_ACTIONS or action == "records":
            return False
        case [group, *_]:
            return group in _ADMIN_GROUPS
        case _:
            return False
