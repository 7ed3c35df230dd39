"""A session for whom an issuer vouches: his record is found or made, and PocketBase asked whether he may come in."""

import secrets
from collections.abc import Mapping
from typing import Any, Protocol

import orjson
import structlog

from common.core.errors import Forbidden
from common.core.identity import Identity
from gateway.core.collections.catalogue import Collection
from gateway.core.sessions.grants import Grants
from gateway.sessions.sign_in import Origin, SignIns

audit = structlog.get_logger("gateway.audit")

NOT_ALLOWED = "The request doesn't satisfy the collection requirements to authenticate."
"""PocketBase's own words."""

NO_RECORD = "There is no user of this name here yet."
TAKEN = "There is a user with this address already, who does not come by this provider."


class Superuser(Protocol):
    async def impersonated(self, collection: str, id: str, seconds: int) -> bytes:
        """PocketBase's answer. Raises NotFound, UpstreamUnavailable."""
        ...


class Links(Protocol):
    """Which record is which issuer's user. Every method raises UpstreamUnavailable."""

    async def find(self, collection: Collection, provider: str, subject: str) -> str | None: ...

    async def adopt(self, collection: Collection, provider: str, subject: str, email: str) -> str | None:
        """The one record of that verified address, linked from now on; None where there is none.

        Raises Forbidden for one whose own address nobody has verified.
        """
        ...

    async def make(self, collection: Collection, provider: str, subject: str, fields: Mapping[str, Any]) -> str:
        """A new record. Raises Forbidden for one that PocketBase refuses."""
        ...

    async def is_welcome(self, collection: Collection, record_id: str) -> bool:
        """Does the collection's own rule let that record in?"""
        ...


class Entries:
    def __init__(self, superuser: Superuser, links: Links, sign_ins: SignIns, *, makes_users: bool) -> None:
        self._superuser = superuser
        self._links = links
        self._sign_ins = sign_ins
        self._makes_users = makes_users

    async def enter(self, identity: Identity, grants: Grants, collection: Collection, origin: Origin) -> dict[str, Any]:
        """Shape: `{"token", "record"}`. Raises Forbidden, Banned, UpstreamUnavailable."""
        record_id = await self._record_id(identity, collection)
        if not await self._links.is_welcome(collection, record_id):  # a superuser may impersonate whomever
            raise Forbidden(NOT_ALLOWED)
        told = await self._superuser.impersonated(collection.name, record_id, 0)
        swapped = await self._sign_ins.swap(told, collection, origin, None, vouched=grants)
        audit.info("issuer vouched", issuer=identity.issuer, collection_id=collection.id, record_id=record_id)
        return orjson.loads(swapped)

    async def _record_id(self, identity: Identity, collection: Collection) -> str:
        provider, subject = identity.issuer, identity.subject
        if found := await self._links.find(collection, provider, subject):
            return found
        email = verified_email(identity)
        if email and (adopted := await self._links.adopt(collection, provider, subject, email)):
            return adopted
        if not self._makes_users:
            raise Forbidden(NO_RECORD)
        return await self._links.make(collection, provider, subject, new_record(identity, email))


def verified_email(identity: Identity) -> str:
    email: object = identity.claims.get("email")
    return email if identity.claims.get("email_verified") is True and isinstance(email, str) else ""


def new_record(identity: Identity, email: str) -> dict[str, Any]:
    """With a password that nobody knows. Without a verified address it gets one that nobody can have."""
    password = secrets.token_urlsafe(32)
    name: object = identity.claims.get("name") or identity.claims.get("preferred_username") or ""
    return {
        "email": email or f"{secrets.token_hex(12)}@provider.invalid",
        "emailVisibility": False,
        "verified": bool(email),
        "name": name if isinstance(name, str) else "",
        "password": password,
        "passwordConfirm": password,
    }
