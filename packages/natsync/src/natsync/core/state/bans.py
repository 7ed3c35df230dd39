"""Who is banned, and which NATS users that is.

A ban names the subject of somebody's tokens: a record's id, or what another issuer calls its user.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from natsync.core.collections.rows import Row, text

BANNED = "banned"


@dataclass(frozen=True, slots=True)
class Ban:
    """`until` is in Unix seconds, 0 for ever; an empty `collection` stands for every one. `id` is that of its row."""

    subject: str
    collection: str = ""
    until: int = 0
    reason: str = ""
    id: str = ""

    def holds(self, now: float) -> bool:
        return self.until == 0 or now < self.until


def to_ban(row: Row) -> Ban:
    until: object = row.get("until")
    seconds = int(until) if isinstance(until, int | float) and not isinstance(until, bool) else 0
    return Ban(text(row, "subject"), text(row, "collection_id"), seconds, text(row, "reason"), text(row, "id"))


def to_row(ban: Ban) -> dict[str, str | int]:
    return {"subject": ban.subject, "collection_id": ban.collection, "until": ban.until, "reason": ban.reason}


@dataclass(frozen=True, slots=True)
class Bans:
    by_place: Mapping[tuple[str, str], Ban] = field(default_factory=dict[tuple[str, str], Ban])

    def having(self, ban: Ban) -> "Bans":
        return Bans({**self.by_place, (ban.subject, ban.collection): ban})

    def without(self, subject: str, collection: str) -> "Bans":
        """Without a collection all of the subject's bans end."""
        return Bans({place: ban for place, ban in self.by_place.items() if not is_meant(place, subject, collection)})

    def of(self, subject: str, collection: str) -> list[Ban]:
        return [ban for place, ban in self.by_place.items() if is_meant(place, subject, collection)]

    def over(self, row: Row, now: float) -> Ban | None:
        """The ban that holds for a row of `nats_users`, if there is one."""
        for subject in subjects_of(row):
            for ban in self.of(subject, ""):
                if ban.holds(now):
                    return ban
        return None


def is_meant(place: tuple[str, str], subject: str, collection: str) -> bool:
    return place[0] == subject and collection in ("", place[1])


def subjects_of(row: Row) -> tuple[str, ...]:
    """PocketBase gives no id to two records that can sign in, so that a subject needs no collection beside it."""
    names = (row["id"], text(row, "user"), text(row, "oidc_subject"))
    return tuple(name for name in names if name)


def to_bans(rows: Iterable[Row]) -> Bans:
    bans = [to_ban(row) for row in rows]
    return Bans({(ban.subject, ban.collection): ban for ban in bans if ban.subject})


def barred(rows: Iterable[Row], bans: Bans, now: float) -> list[Row]:
    """The rows, with those of banned users switched off; what stands in PocketBase stays as it is."""
    if not bans.by_place:
        return list(rows)
    return [{**row, "active": False, BANNED: True} if bans.over(row, now) else row for row in rows]
