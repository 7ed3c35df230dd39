"""A session as it is kept and shown. Its id opens nothing: what authenticates is a signed token that names it."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, Protocol, TypeAlias

from gateway.core.sessions.token_family import Standing

EndReason: TypeAlias = Literal[
    "signed out",
    "signed out everywhere",
    "replayed",
    "too many sessions",
    "credentials changed",
    "record deleted",
    "refused by PocketBase",
    "banned",
    "operator",
    "revoked elsewhere",
]


@dataclass(frozen=True, slots=True)
class Owner:
    """The auth record whose session it is. A record id alone may exist in several collections."""

    collection_id: str
    record_id: str


@dataclass(frozen=True, slots=True)
class NewSession:
    """A sign-in that PocketBase granted; `expires_at` is its token's, in Unix seconds."""

    id: str
    owner: Owner
    pocketbase_token: str = field(repr=False)
    expires_at: int
    device: str
    address: str


@dataclass(frozen=True, slots=True)
class Session:
    """A session as its owner sees it; times are Unix milliseconds."""

    id: str
    owner: Owner
    device: str
    address: str
    created_ms: int
    used_ms: int
    expires_ms: int


@dataclass(frozen=True, slots=True)
class Held:
    """PocketBase's token of one session, empty when it cannot be opened, and where the session was last used from."""

    session_id: str
    owner: Owner
    pocketbase_token: str = field(repr=False)
    address: str


@dataclass(frozen=True, slots=True)
class Presented:
    """What the store says to a token; there is a PocketBase token unless the session has ended, or ends by this.

    `newest` is the family's generation, for the audit log of a replay.
    """

    standing: Standing | Literal["ended"]
    pocketbase_token: str = field(default="", repr=False)
    newest: int = 0


@dataclass(frozen=True, slots=True)
class Use:
    """A session was used: when, in Unix milliseconds, and from where."""

    session_id: str
    used_ms: int
    address: str


class SessionList(Protocol):
    async def of(self, owner: Owner) -> list[Session]:
        """Newest first. Raises UpstreamUnavailable when the store is away."""
        ...


def shown(session: Session) -> dict[str, Any]:
    """As JSON, for its owner and for operators; dates are written as PocketBase writes them."""
    return {
        "id": session.id,
        "device": session.device,
        "address": session.address,
        "created": date(session.created_ms),
        "lastUsed": date(session.used_ms),
        "expires": date(session.expires_ms),
    }


def date(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{milliseconds % 1000:03}Z"
