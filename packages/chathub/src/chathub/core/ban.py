"""Who is not wanted, and what the other services are told of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from common.core.notices import UserBanned, UserPardoned

KEEPER = "chathub"
"""Whose rows say who is banned by a notice from here: no node goes by the notice alone."""


@dataclass(frozen=True, slots=True)
class Ban:
    """`actor_id` is who banned; without an end it lasts until the pardon. With `purge` all that the user said goes."""

    actor_id: str
    banished_id: str
    reason: str | None
    hours: int | None
    purge: bool = False


@dataclass(frozen=True, slots=True)
class BanRecord:
    id: int
    owner_id: str
    banished_id: str
    banished_username: str
    reason: str | None
    start_time: datetime
    end_time: datetime | None
    pardoned: bool
    pardoned_by: str | None

    @property
    def hours(self) -> int | None:
        return None if self.end_time is None else round((self.end_time - self.start_time) / timedelta(hours=1))


@dataclass(frozen=True, slots=True)
class StandingBan:
    """Of a user the one that lasts longest."""

    end_time: datetime | None
    reason: str | None


def duration_text(hours: int | None) -> str:
    return "Permanent" if hours is None else f"{hours} hours"


def notice_of(user_id: str, ban: StandingBan | None) -> UserBanned | UserPardoned:
    if ban is None:
        return UserPardoned(subject=user_id)
    until = 0 if ban.end_time is None else int(ban.end_time.timestamp()) + 1  # whole seconds, and never too short
    return UserBanned(subject=user_id, until=until, reason=ban.reason or "", keeper=KEEPER)
