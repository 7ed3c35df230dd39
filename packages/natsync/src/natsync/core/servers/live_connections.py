"""Who is connected, and who of them an account's token no longer allows to be.

A server closes such connections by itself; that it has done so is looked up, not assumed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast

from natsync.core.claims import BadToken, unverified
from natsync.core.servers.servers_said import Answer

EVERYBODY = "*"
"""In a revocation list: all users of the account."""

Scope: TypeAlias = frozenset[str] | Literal["nobody", "everybody"]
"""Whose connections may have to end: the public keys of users, or all of an account."""


@dataclass(frozen=True, slots=True)
class LiveConnection:
    """`issued_at` is when the login's token was issued, 0 where that cannot be told. The token itself is not kept."""

    server: str
    id: int
    user: str
    issuer: str = ""
    issued_at: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """What an account's token says of its users: who may sign them, and who is cut off since when."""

    issuers: frozenset[str] = frozenset()
    revocations: Mapping[str, int] = field(default_factory=dict[str, int])

    def lets_stay(self, connection: LiveConnection) -> bool:
        if not self.issuers or (connection.issuer and connection.issuer not in self.issuers):
            return False
        cutoff = max(self.revocations.get(name, -1) for name in (connection.user, EVERYBODY))
        return cutoff < connection.issued_at


NOBODY_STAYS = Standing()


def standing(token: str) -> Standing | None:
    """From an account's token, unverified; None where it cannot be read."""
    claims = payload_of(token)
    body = claims.get("nats")
    if not isinstance(body, dict):
        return None
    said = cast("dict[str, Any]", body)
    keys = [signing_key(key) for key in cast("list[Any]", said.get("signing_keys") or [])]
    if not keys:
        return NOBODY_STAYS
    issuers = frozenset([*keys, str(claims.get("sub"))])
    cutoffs = cast("dict[str, Any]", said.get("revocations") or {})
    return Standing(issuers, {str(user): int(cutoff) for user, cutoff in cutoffs.items()})


def signing_key(value: Any) -> str:
    """A scoped one is an object."""
    return str(cast("dict[str, Any]", value).get("key")) if isinstance(value, dict) else str(value)


def payload_of(token: str) -> dict[str, Any]:
    try:
        return unverified(token)
    except BadToken:
        return {}


def scope_of(before: Iterable[str], after: str) -> Scope:
    """Whose connections may have to end when `after` takes the place of the tokens that may have counted before.

    Where one of those cannot be read, that may be anybody's.
    """
    tokens = list(before)
    if not tokens:
        return "nobody"
    now = standing(after) or NOBODY_STAYS
    users: set[str] = set()
    for token in tokens:
        then = standing(token)
        if then is None or then.issuers - now.issuers:
            return "everybody"
        users |= {user for user, cutoff in now.revocations.items() if then.revocations.get(user, -1) < cutoff}
    if EVERYBODY in users:
        return "everybody"
    return frozenset(users) or "nobody"


def read_connections(answer: Answer) -> list[LiveConnection]:
    """From a server's CONNZ. Entries that cannot be read are left out: they name no connection that could be ended."""
    listed = cast("dict[str, Any]", answer.data).get("connections") if isinstance(answer.data, dict) else None
    if not isinstance(listed, list):
        return []
    entries = [cast("dict[str, Any]", one) for one in cast("list[Any]", listed) if isinstance(one, dict)]
    return [read_connection(answer.server.id, entry) for entry in entries if isinstance(entry.get("cid"), int)]


def read_connection(server: str, entry: Mapping[str, Any]) -> LiveConnection:
    claims = payload_of(str(entry.get("jwt") or ""))
    issued_at = claims.get("iat")
    return LiveConnection(
        server,
        entry["cid"],
        str(entry.get("authorized_user") or ""),
        str(entry.get("issuer_key") or claims.get("iss") or ""),
        issued_at if isinstance(issued_at, int) else 0,
    )


def count_connections(answer: Answer) -> int:
    """From a server's account information; one that has not loaded the account has none of its connections."""
    if not isinstance(answer.data, dict):
        return 0
    data = cast("dict[str, Any]", answer.data)
    told = [data.get(name) for name in ("client_connections", "leafnode_connections")]
    return sum(number for number in told if isinstance(number, int))
