"""Which successful calls change an account in a way that PocketBase ends its tokens for, or may.

PocketBase rotates a record's `tokenKey`, and so ends every token of it, when its password or e-mail address changes or
the key itself is set, and there are no tokens of a record that is gone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from gateway.core.collections.catalogue import Collection
from gateway.core.front_door.pocketbase_route import Route
from gateway.core.refusals import UnreadableAnswer
from gateway.core.sessions.session import EndReason, Owner
from gateway.core.sessions.session_token import unverified_claims

Fields: TypeAlias = Mapping[str, object]

TAKES_OVER = "auth-with-oauth2"
"""PocketBase gives a record whose address nobody verified a new password when its owner comes by way of a provider:
whoever signed up with the address before is out."""

CHANGED_THOUGH_REFUSED = frozenset({401})
"""A one-time password that is only the first of two factors verifies its owner's address all the same."""

_CHANGING = frozenset(
    {TAKES_OVER, "auth-with-otp", "confirm-password-reset", "confirm-verification", "confirm-email-change"}
)
_CONFIRMATIONS = frozenset({("confirm-password-reset",), ("confirm-email-change",)})
_ALWAYS_ENDS = "password"
_MAY_END = frozenset({"email", "tokenKey"})


@dataclass(frozen=True, slots=True)
class Ended:
    """PocketBase has ended every token of the record."""

    owner: Owner
    reason: EndReason


@dataclass(frozen=True, slots=True)
class Doubtful:
    """PocketBase is to be asked which of the record's tokens it still takes."""

    owner: Owner


def account_changes(method: str, route: Route, collection: Collection, fields: Fields) -> list[Ended | Doubtful]:
    """To be asked of a call that PocketBase answered with success; `fields` are those that it was sent.

    A token in a confirmation is believed only so far as to ask PocketBase about the record that it names.
    """
    if collection.type != "auth":
        return []
    match route.after:
        case ("records", record_id) if method == "DELETE":
            return [Ended(Owner(collection.id, record_id), "record deleted")]
        case ("records", record_id) if method == "PATCH":
            return of_update(Owner(collection.id, record_id), fields)
        case after if after in _CONFIRMATIONS:
            return of_confirmation(collection.id, fields)
        case _:
            return []


def changes_record(route: Route) -> bool:
    """May this call of an auth collection, other than one to its records, change one of them?"""
    return bool(route.after) and route.after[0] in _CHANGING


def of_update(owner: Owner, fields: Fields) -> list[Ended | Doubtful]:
    names = {plain_name(name) for name in fields}
    if _ALWAYS_ENDS in names:
        return [Ended(owner, "credentials changed")]
    return [Doubtful(owner)] if names & _MAY_END else []


def of_confirmation(collection_id: str, fields: Fields) -> list[Ended | Doubtful]:
    token = fields.get("token")
    owner = named_by(token, collection_id) if isinstance(token, str) else None
    return [Doubtful(owner)] if owner else []


def named_by(token: str, collection_id: str) -> Owner | None:
    try:
        claims = unverified_claims(token)
    except UnreadableAnswer:
        return None
    record_id = claims.get("id")
    is_here = claims.get("collectionId") == collection_id
    return Owner(collection_id, record_id) if is_here and isinstance(record_id, str) and record_id else None


def plain_name(name: str) -> str:
    """Without PocketBase's modifiers: `+tags`, `tags-`, `tokenKey:autogenerate`."""
    return name.partition(":")[0].strip("+-")
