"""What others tell of ended sessions and banned users, and what a run of it comes to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
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
    """`subject` is the `sub` of the user's tokens; without a collection it counts in every one.

    `until` is in Unix seconds; 0 is until the pardon.
    """

    subject: str
    collection_id: str = ""
    until: int = 0
    reason: str = ""


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
class Outcome:
    """What remains of a run of notices: the last word on every user, the sessions that ended, and when."""

    ended: Mapping[str, Told] = field(default_factory=dict[str, Told])
    users: tuple[Told, ...] = ()


def outcome(told: Iterable[Told]) -> Outcome:
    """A run that is heard late is carried out as a whole: nobody is banned for a moment who was pardoned since."""
    ended: dict[str, Told] = {}
    users: dict[tuple[str, str], Told] = {}
    for one in told:
        match one.notice:
            case SessionRevoked(session_id=session_id):
                ended[session_id] = one
            case UserBanned(subject=subject, collection_id=collection):
                users[subject, collection] = one
            case UserPardoned(subject=subject, collection_id=collection):
                for place in [place for place in users if place[0] == subject and not collection]:
                    del users[place]
                users[subject, collection] = one
    return Outcome(ended, tuple(users.values()))
