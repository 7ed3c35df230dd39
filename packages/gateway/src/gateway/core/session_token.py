"""What a gateway session says about its bearer: PocketBase's token and record to claims, and back to a session."""

import binascii
import json
import unicodedata
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from common.core.errors import Unauthenticated
from common.core.identity import Identity
from common.core.key_sets import VerificationKey
from common.core.tokens import TrustedIssuer, verify
from gateway.core.refusals import UnreadableAnswer

OWN_AUDIENCE = "gateway"

_NAME_FIELDS = ("username", "name", "nats_username")
_MAX_NAME_LENGTH = 256
_RESERVED_NAMES = ("server", "system")  # chat speaks under these itself


@dataclass(frozen=True, slots=True)
class PocketBaseToken:
    """PocketBase's own token. Only PocketBase can verify it; it is read here when PocketBase itself has sent it."""

    text: str
    record_id: str
    collection_id: str
    expires_at: int
    is_refreshable: bool


@dataclass(frozen=True, slots=True)
class Terms:
    """What every session of this gateway has in common."""

    issuer: str
    audiences: tuple[str, ...]
    roles_field: str
    roles_collections: frozenset[str]


@dataclass(frozen=True, slots=True)
class SessionIds:
    session_id: str
    token_id: str
    client_id: str


def read_pocketbase_token(text: str) -> PocketBaseToken:
    """Raises UnreadableAnswer for anything but a whole token of an auth record."""
    try:
        _, payload, _ = text.split(".")
        claims = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        if claims["type"] != "auth":
            raise UnreadableAnswer("PocketBase's token is of another type.")
        return PocketBaseToken(
            text, str(claims["id"]), str(claims["collectionId"]), int(claims["exp"]), claims.get("refreshable") is True
        )
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise UnreadableAnswer("PocketBase's token cannot be read.") from error


def claims_of(
    token: PocketBaseToken, record: Mapping[str, Any], collection: str, ids: SessionIds, *, terms: Terms, now: int
) -> dict[str, Any]:
    """`record` is the record as the superuser sees it, so that no query of the client shapes a claim."""
    roles = roles_of(record, terms.roles_field) if collection in terms.roles_collections else []
    return {
        "iss": terms.issuer,
        "aud": list(terms.audiences),
        "exp": token.expires_at,
        "iat": now,
        "nbf": now,
        "jti": ids.token_id,
        "sub": token.record_id,
        "sid": ids.session_id,
        "azp": ids.client_id,
        "typ": "Bearer",
        "preferred_username": username_of(record) or token.record_id,
        "realm_access": {"roles": roles},
        "id": token.record_id,
        "type": "auth",
        "collectionId": token.collection_id,
        "collectionName": collection,
        "refreshable": token.is_refreshable,
    }


def username_of(record: Mapping[str, Any]) -> str | None:
    """Never the e-mail address: whoever reads the token or a chat line would learn it."""
    email = str(record.get("email", "")).casefold()
    texts = (record.get(field) for field in _NAME_FIELDS)
    names = (readable(text) for text in texts if isinstance(text, str))
    return next((name for name in names if name and name.casefold() not in (email, *_RESERVED_NAMES)), None)


def readable(text: str) -> str:
    """Without what would make a name look like another: control and format characters, runs of space."""
    visible = "".join(" " if character.isspace() else character for character in text if is_visible(character))
    return " ".join(visible.split())[:_MAX_NAME_LENGTH].strip()


def is_visible(character: str) -> bool:
    return character.isspace() or unicodedata.category(character)[0] != "C"


def roles_of(record: Mapping[str, Any], field: str) -> list[str]:
    """A list of texts, or one text with commas; anything else grants nothing."""
    value: object = record.get(field)
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list):
        return []
    texts = [item.strip() for item in cast(list[object], items) if isinstance(item, str)]
    return sorted({text for text in texts if text})


def verified(token: str, key: VerificationKey, trusted: TrustedIssuer, now: float) -> Identity:
    """The bearer of a token of this gateway. Raises Unauthenticated for any other."""
    identity = verify(token, key, trusted, now)
    if identity.session_id is None:
        raise Unauthenticated("The token names no session.")
    return identity
