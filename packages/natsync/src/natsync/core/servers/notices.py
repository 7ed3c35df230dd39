"""What a run of notices of ended sessions and banned users comes to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from common.core.notices import SessionRevoked, Told, UserBanned, UserPardoned


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
