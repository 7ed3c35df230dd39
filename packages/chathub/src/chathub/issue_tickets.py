"""Tickets: good for one connect, soon, by whoever asked for them. What stands in a URL stays in logs and histories."""

import hashlib
import secrets
import time
from typing import Protocol

import msgspec

from common.core.errors import Unauthenticated
from common.core.identity import Identity

TICKET_SECONDS = 30


class Ticket(msgspec.Struct, frozen=True):
    """Of the token it stands for, what a socket needs."""

    issuer: str
    subject: str
    username: str
    client_id: str
    roles: tuple[str, ...]
    session_id: str | None
    expires_at: int


class Safe(Protocol):
    async def put(self, name: str, value: bytes, seconds: int) -> None:
        """Raises UpstreamUnavailable."""
        ...

    async def take(self, name: str) -> bytes | None:
        """It is gone from there at once. Raises UpstreamUnavailable."""
        ...


class Tickets:
    def __init__(self, safe: Safe) -> None:
        self._safe = safe

    async def issue(self, holder: Identity) -> str:
        """Raises UpstreamUnavailable."""
        ticket = secrets.token_urlsafe(24)
        await self._safe.put(name_of(ticket), msgspec.json.encode(of(holder)), TICKET_SECONDS)
        return ticket

    async def redeem(self, ticket: str) -> Identity:
        """Raises Unauthenticated for one that was used, is too old or never was; UpstreamUnavailable."""
        found = await self._safe.take(name_of(ticket))
        if found is None:
            raise Unauthenticated("The ticket is not good.")
        identity = holder_of(msgspec.json.decode(found, type=Ticket))
        if identity.expires_at <= time.time():
            raise Unauthenticated("The token has expired.")
        return identity


def name_of(ticket: str) -> str:
    """Who can read the safe can connect with nothing that is in it."""
    return hashlib.sha256(ticket.encode(errors="replace")).hexdigest()


def of(holder: Identity) -> Ticket:
    return Ticket(
        holder.issuer,
        holder.subject,
        holder.username,
        holder.client_id,
        tuple(sorted(holder.roles)),
        holder.session_id,
        holder.expires_at,
    )


def holder_of(ticket: Ticket) -> Identity:
    return Identity(
        issuer=ticket.issuer,
        subject=ticket.subject,
        username=ticket.username,
        client_id=ticket.client_id,
        roles=frozenset(ticket.roles),
        session_id=ticket.session_id,
        expires_at=ticket.expires_at,
        claims={},
    )
