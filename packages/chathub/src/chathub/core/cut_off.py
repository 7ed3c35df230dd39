"""Whose tokens count no more though they verify: of sessions that ended, and of users whom other services banned."""

import math
from dataclasses import dataclass, field

from common.core.errors import Unauthenticated

MOST = 300_000
"""Of each, more than the stream of notices holds; beyond that what was told first is forgotten."""


@dataclass(slots=True)
class SignIn:
    """The session of the token that a socket goes by; another one after a refresh."""

    session_id: str | None = None


@dataclass(slots=True)
class CutOff:
    """Times are in Unix seconds."""

    _sessions: dict[str, float] = field(default_factory=dict[str, float])
    _users: dict[str, float] = field(default_factory=dict[str, float])

    def end_session(self, session_id: str, until: float) -> None:
        """`until` is when the last of its tokens expires."""
        put(self._sessions, session_id, until)

    def ban(self, user_id: str, until: float) -> None:
        """0 is until the pardon."""
        put(self._users, user_id, until or math.inf)

    def pardon(self, user_id: str) -> None:
        self._users.pop(user_id, None)

    def refuse(self, user_id: str, session_id: str | None, now: float) -> None:
        """Raises Unauthenticated."""
        if session_id and self._sessions.get(session_id, 0) > now:
            raise Unauthenticated("The session has ended.")
        if self._users.get(user_id, 0) > now:
            raise Unauthenticated("User is banned.")


def put(entries: dict[str, float], name: str, until: float) -> None:
    entries.pop(name, None)
    entries[name] = until
    if len(entries) > MOST:
        del entries[next(iter(entries))]
