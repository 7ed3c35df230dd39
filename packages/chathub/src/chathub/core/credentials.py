"""Where a socket's credentials may stand, and what of that is repeated to the client."""

from collections.abc import Sequence
from dataclasses import dataclass, field

PROTOCOL = "chathub.v1"
BEARER = "bearer."


@dataclass(frozen=True, slots=True)
class Credentials:
    """One of them, or neither."""

    token: str | None = field(default=None, repr=False)
    ticket: str | None = field(default=None, repr=False)


def credentials(
    *, ticket: str | None, subprotocols: Sequence[str], authorization: str | None, query_token: str | None
) -> Credentials:
    """What is least likely to stay in a log counts first."""
    if ticket:
        return Credentials(ticket=ticket)
    offered = next((name.removeprefix(BEARER) for name in subprotocols if name.startswith(BEARER)), None)
    return Credentials(token=offered or bearer(authorization) or query_token or None)


def bearer(authorization: str | None) -> str | None:
    """RFC 6750 §2.1."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def chosen(subprotocols: Sequence[str]) -> str | None:
    """Browsers give up unless one of theirs is chosen; it is never the one that holds a token."""
    return PROTOCOL if PROTOCOL in subprotocols else None
