"""Who may use which NATS identity: the rows of `nats_users` by the person they belong to.

A person is known by a verified token alone. Tokens of the gateway name a record of PocketBase; those of another
issuer name whatever that issuer calls its user, and count for a row only if the row names issuer and subject.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeAlias

from common.core.identity import Identity
from natsync.core.collections.rows import Row, text

Person: TypeAlias = tuple[str, str, str]
"""How a row is found: `user` and the id of a platform user, `row` and its own id, `oidc` with issuer and subject; what
stands in the middle is empty but for the last."""

RIGHTS = (
    "nats_username",
    "account_id",
    "role_id",
    "user",
    "oidc_issuer",
    "oidc_subject",
    "active",
    "publish_permissions",
    "subscribe_permissions",
    "publish_deny_permissions",
    "subscribe_deny_permissions",
    "jwt_expires_at",
)
"""Fields of a user's row on which it depends what its owner may do."""

ROLE_RIGHTS = (
    "publish_permissions",
    "subscribe_permissions",
    "publish_deny_permissions",
    "subscribe_deny_permissions",
    "allow_response",
    "allow_response_max",
    "allow_response_ttl",
    "max_subscriptions",
    "max_data",
    "max_payload",
)


class Unknown(Exception):
    """Nobody, or not clearly one, is enrolled for that person; the message says why and names nobody."""


class Enrolment:
    """Rows of `nats_users` by id and by person."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self.users: dict[str, Row] = {}
        self._by_person: dict[Person, set[str]] = {}
        for row in rows:
            self.put(row)

    def put(self, row: Row) -> Row | None:
        """Returns the row as it was, if what its owner may do has changed by this."""
        before = self.remove(row["id"])
        self.users[row["id"]] = row
        for person in persons_of(row):
            self._by_person.setdefault(person, set()).add(row["id"])
        return before if before is not None and rights(before) != rights(row) else None

    def remove(self, id: str) -> Row | None:
        row = self.users.pop(id, None)
        for person in persons_of(row) if row else ():
            self._by_person[person].discard(id)
            if not self._by_person[person]:
                del self._by_person[person]
        return row

    def rows_of(self, person: Person) -> list[Row]:
        return [self.users[id] for id in sorted(self._by_person.get(person, ()))]

    def of_subject(self, subject: str) -> list[Row]:
        """Everybody who may be meant by a ban: the rows that a `sub` stands for, whoever issued it."""
        named = [row for row in (self.users.get(subject),) if row] + self.rows_of(("user", "", subject))
        return named + [
            self.users[id] for person, ids in self._by_person.items() if is_oidc(person, subject) for id in ids
        ]

    def chosen(self, person: Person, wanted: str = "") -> Row:
        """The person's row; of several the one it names, by `nats_username` or id. Raises Unknown."""
        rows = self.rows_of(person)
        if not rows:
            raise Unknown("no row of nats_users is linked to the bearer of this token")
        named = [row for row in rows if wanted in (row["id"], text(row, "nats_username"))] if wanted else rows
        if not named:
            raise Unknown("the bearer of this token is linked to no user of that name")
        if len(named) > 1:
            raise Unknown("several rows of nats_users are linked to the bearer of this token: name one of them")
        return named[0]


def is_oidc(person: Person, subject: str) -> bool:
    return person[0] == "oidc" and person[2] == subject


def persons_of(row: Row) -> list[Person]:
    found: list[Person] = [("row", "", row["id"])]
    if user := text(row, "user"):
        found.append(("user", "", user))
    if (issuer := text(row, "oidc_issuer")) and (subject := text(row, "oidc_subject")):
        found.append(("oidc", issuer, subject))
    return found


class Gateway(NamedTuple):
    """The issuer whose tokens name records of PocketBase, and what PocketBase calls the collection of NATS users."""

    issuer: str
    users: str = "nats_users"


def person_of(identity: Identity, *, gateway: Gateway) -> Person:
    """Raises Unknown."""
    collection = identity.claims.get("collectionName")
    if identity.issuer != gateway.issuer or collection is None:
        return ("oidc", identity.issuer, identity.subject)
    if collection == "users":
        return ("user", "", identity.subject)
    if collection == gateway.users:
        return ("row", "", identity.subject)
    raise Unknown("the bearer of this token belongs to a collection that has no NATS users")


def rights(row: Row) -> tuple[Any, ...]:
    return tuple(repr(row.get(name)) for name in RIGHTS)


def role_rights(row: Row) -> tuple[Any, ...]:
    return tuple(repr(row.get(name)) for name in ROLE_RIGHTS)
