"""Who is asking."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from common.core.errors import Forbidden, Unauthenticated


class NoCredentials(Unauthenticated):
    """The caller says nothing about who it is, where it would have to."""


class MissingRole(Forbidden):
    """The caller is known and lacks a role."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a verified token says about its bearer; times are Unix seconds.

    `claims` is all of it, read-only at every depth: objects are read-only mappings, lists are tuples. It takes no part
    in comparing and is not shown, since claims may be personal.
    """

    issuer: str
    subject: str
    username: str
    client_id: str
    roles: frozenset[str]
    session_id: str | None
    expires_at: int
    claims: Mapping[str, Any] = field(compare=False, repr=False)


def require_role(identity: Identity, role: str) -> None:
    """Raises MissingRole, a Forbidden, unless the bearer holds the role."""
    if role not in identity.roles:
        raise MissingRole(f"This needs the role {role!r}.")
