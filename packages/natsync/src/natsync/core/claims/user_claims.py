"""What a user's token says: subjects, limits, and from where and when it may be used.

Sources: nats-io/jwt v2 (`user_claims.go`, `types.go`). A limit that is left out means 0 to the server, hence
disabled: every limit is written, but for users of a scoped key, who must carry none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from natsync.core.claims.token_codec import VERSION, Body

UNLIMITED = -1
NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class UserLimits:
    """What one connection may use; -1 is unlimited, 0 disabled. Servers carry `data` and do not enforce it."""

    subscriptions: int = UNLIMITED
    data: int = UNLIMITED
    payload: int = UNLIMITED


@dataclass(frozen=True, slots=True)
class ResponsePermission:
    """Leave to answer on the reply subject of a message received: how often, and for how long; below 0 without limit.

    A server reads 0 as its default: once, within 2 minutes.
    """

    max_messages: int = 1
    seconds: float = 0


@dataclass(frozen=True, slots=True)
class Permissions:
    """Subjects a user may publish and subscribe to. What is denied stays denied, whatever else is allowed.

    An empty `publish` or `subscribe` allows everything, except that with a `response` nothing but answers may be
    published.
    """

    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    publish_deny: tuple[str, ...] = ()
    subscribe_deny: tuple[str, ...] = ()
    response: ResponsePermission | None = None


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Hours of the day in which connections are allowed: `HH:MM:SS`, the end exclusive."""

    start: str
    end: str


@dataclass(frozen=True, slots=True)
class UserClaims:
    """What one user may do; in a scoped key, what each of its users may.

    `source_networks` are CIDRs; `times_location` is an IANA time zone; an empty restriction restricts nothing.
    """

    permissions: Permissions = Permissions()
    limits: UserLimits = UserLimits()
    source_networks: tuple[str, ...] = ()
    times: tuple[TimeRange, ...] = ()
    times_location: str = ""
    connection_types: tuple[str, ...] = ()
    bearer_token: bool = False


def user_body(claims: UserClaims, *, account: str, tags: Sequence[str] = ()) -> Body:
    """For a user whose token is signed by a plain signing key of `account`."""
    return {**user_rights(claims), **scoped_user_body(account=account, tags=tags)}


def scoped_user_body(*, account: str, tags: Sequence[str] = ()) -> Body:
    """For a user of a scoped signing key: one permission or limit of its own, even -1, and servers turn it away."""
    tagged = {"tags": list(tags)} if tags else {}
    return {"issuer_account": account, **tagged, "type": "user", "version": VERSION}


def user_rights(claims: UserClaims) -> Body:
    """As they stand in a user's body or in a scoped key's template."""
    limits = claims.limits
    times = [{"start": each.start, "end": each.end} for each in claims.times]
    optional: Body = {
        "src": list(claims.source_networks),
        "times": times,
        "times_location": claims.times_location,
        "bearer_token": claims.bearer_token,
        "allowed_connection_types": list(claims.connection_types),
    }
    return {
        **permissions_body(claims.permissions),
        "subs": limits.subscriptions,
        "data": limits.data,
        "payload": limits.payload,
        **{name: value for name, value in optional.items() if value},
    }


def permissions_body(permissions: Permissions) -> Body:
    body: Body = {
        "pub": sides(permissions.publish, permissions.publish_deny),
        "sub": sides(permissions.subscribe, permissions.subscribe_deny),
    }
    if (response := permissions.response) is not None:
        body["resp"] = {"max": response.max_messages, "ttl": int(response.seconds * NANOSECONDS)}
    return body


def sides(allow: tuple[str, ...], deny: tuple[str, ...]) -> Body:
    lists = {"allow": list(allow), "deny": list(deny)}
    return {side: subjects for side, subjects in lists.items() if subjects}
