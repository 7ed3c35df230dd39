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
from gateway.core.sessions.grants import Grants, highest_in, tenant_in, texts_in
from gateway.core.sessions.principal import Principal
from gateway.core.sessions.token_family import MAX_GENERATION

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
    tenant_field: str = ""
    clearance_field: str = ""

    def grants(self, record: Mapping[str, Any], collection: str) -> Grants:
        """What the record says of itself, in a collection where only superusers write such fields."""
        if collection not in self.roles_collections:
            return Grants()
        return Grants(
            tuple(texts_in(record.get(self.roles_field))),
            tenant_in(record.get(self.tenant_field)) if self.tenant_field else "",
            highest_in(record.get(self.clearance_field)) if self.clearance_field else 0,
        )


@dataclass(frozen=True, slots=True)
class SessionIds:
    session_id: str
    token_id: str
    client_id: str
    generation: int = 1


def read_pocketbase_token(text: str) -> PocketBaseToken:
    """Raises UnreadableAnswer for anything but a whole token of an auth record."""
    claims = unverified_claims(text)
    try:
        if claims["type"] != "auth":
            raise UnreadableAnswer("PocketBase's token is of another type.")
        return PocketBaseToken(
            text, str(claims["id"]), str(claims["collectionId"]), int(claims["exp"]), claims.get("refreshable") is True
        )
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise UnreadableAnswer("PocketBase's token cannot be read.") from error


def unverified_claims(token: str) -> dict[str, Any]:
    """For tokens that somebody else vouches for. Raises UnreadableAnswer for what is no JWT."""
    try:
        _, payload, _ = token.split(".")
        claims: object = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, binascii.Error, RecursionError) as error:
        raise UnreadableAnswer("The token cannot be read.") from error
    if not isinstance(claims, dict):
        raise UnreadableAnswer("The token's claims are no object.")
    return cast(dict[str, Any], claims)


def claims_of(
    token: PocketBaseToken,
    record: Mapping[str, Any],
    collection: str,
    ids: SessionIds,
    *,
    terms: Terms,
    now: int,
    vouched: Grants | None = None,
) -> dict[str, Any]:
    """`record` is the record as the superuser sees it, so that no query of the client shapes a claim. What an issuer
    has `vouched` for takes the place of what the record says."""
    grants = vouched or terms.grants(record, collection)
    said = {"tenant": grants.tenant, "clearance": grants.clearance, "idp": grants.provider}
    return {
        **{name: value for name, value in said.items() if value},
        "iss": terms.issuer,
        "aud": list(terms.audiences),
        "exp": token.expires_at,
        "iat": now,
        "nbf": now,
        "jti": ids.token_id,
        "sub": token.record_id,
        "sid": ids.session_id,
        "gen": ids.generation,
        "azp": ids.client_id,
        "typ": "Bearer",
        "preferred_username": username_of(record) or token.record_id,
        "realm_access": {"roles": list(grants.roles)},
        "id": token.record_id,
        "type": "auth",
        "collectionId": token.collection_id,
        "collectionName": collection,
        "refreshable": token.is_refreshable,
    }


def successor_claims(token: str, *, generation: int, token_id: str, now: int) -> dict[str, Any]:
    """What a verified token of ours said, said anew by the one that takes its place; it ends when that one did."""
    return {**unverified_claims(token), "gen": generation, "jti": token_id, "iat": now, "nbf": now}


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


def verified(token: str, key: VerificationKey, trusted: TrustedIssuer, now: float) -> Identity:
    """The bearer of a token of this gateway. Raises Unauthenticated for any other."""
    identity = verify(token, key, trusted, now)
    if identity.session_id is None:
        raise Unauthenticated("The token names no session.")
    return identity


def principal_of(identity: Identity) -> Principal:
    """The bearer by the token's own claims. Raises Unauthenticated for a token that is not of a rolling session."""
    claims = identity.claims
    generation, issued_at = claims.get("gen"), claims.get("iat")
    if type(generation) is not int or not 0 < generation <= MAX_GENERATION or type(issued_at) is not int:
        raise Unauthenticated("The token names no generation of its session.")
    return Principal(
        record_id=identity.subject,
        collection_id=str(claims.get("collectionId", "")),
        collection_name=str(claims.get("collectionName", "")),
        username=identity.username,
        roles=identity.roles,
        client_id=identity.client_id,
        session_id=identity.session_id or "",
        generation=generation,
        issued_at=issued_at,
        expires_at=identity.expires_at,
        tenant=tenant_in(claims.get("tenant")),
        clearance=highest_in(claims.get("clearance")),
        provider=str(claims.get("idp", "")),
    )
