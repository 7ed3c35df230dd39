"""Who is asking."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from common.core.errors import Forbidden


@dataclass(frozen=True, slots=True)
class Identity:
    """What a verified token says about its bearer; times are Unix seconds."""

    issuer: str
    subject: str
    username: str
    client_id: str
    roles: frozenset[str]
    session_id: str | None
    expires_at: int
    claims: Mapping[str, Any]


def require_role(identity: Identity, role: str) -> None:
    """Raises Forbidden unless the bearer holds the role."""
    if role not in identity.roles:
        raise Forbidden(f"This needs the role {role!r}.")
