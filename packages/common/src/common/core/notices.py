"""What services tell each other when sessions end or users are banned, on `session.revoked`, `user.banned` and
`user.pardoned`: whoever believes otherwise must learn of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from common.core import subjects
from common.core.messages import Message


class SessionRevoked(Message, frozen=True):
    """The session has ended. `collection_id` and `record_id` say whose it was, where that is known."""

    session_id: str
    collection_id: str = ""
    record_id: str = ""
    reason: str = ""


class UserBanned(Message, frozen=True):
    """`subject` is the `sub` of the user's tokens, a record id; without a collection it counts in every one.

    `until` is in Unix seconds; 0 is until the pardon. `keeper` is the service that has it in its own records and
    goes by those; others have but this word.
    """

    subject: str
    collection_id: str = ""
    until: int = 0
    reason: str = ""
    keeper: str = ""


class UserPardoned(Message, frozen=True):
    """Ends a ban; without a collection the subject's bans in every one."""

    subject: str
    collection_id: str = ""


Notice: TypeAlias = SessionRevoked | UserBanned | UserPardoned

KINDS: Mapping[str, type[Notice]] = MappingProxyType(
    {
        subjects.SESSION_REVOKED: SessionRevoked,
        subjects.USER_BANNED: UserBanned,
        subjects.USER_PARDONED: UserPardoned,
    }
)


@dataclass(frozen=True, slots=True)
class Told:
    """A notice, and when it was said in Unix seconds."""

    notice: Notice
    at: float


@dataclass(frozen=True, slots=True)
class Batch:
    """Notices in order. `is_latest`: there were no more when these were handed over."""

    told: tuple[Told, ...]
    is_latest: bool


def subject_of(notice: Notice) -> str:
    return next(subject for subject, kind in KINDS.items() if isinstance(notice, kind))
