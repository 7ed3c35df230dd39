"""Who is connected to this node: a user is present while at least one of their sockets is."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class User:
    id: str
    username: str


@dataclass(slots=True)
class Presence:
    _sockets: Counter[str] = field(default_factory=Counter[str])
    _users: dict[str, User] = field(default_factory=dict[str, User])

    def join(self, user: User) -> bool:
        """True if the user was absent until now."""
        self._sockets[user.id] += 1
        self._users[user.id] = user
        return self._sockets[user.id] == 1

    def leave(self, user: User) -> bool:
        """True if that was the user's last socket."""
        self._sockets[user.id] -= 1
        if self._sockets[user.id] > 0:
            return False
        del self._sockets[user.id], self._users[user.id]
        return True

    def named(self, id: str) -> str | None:
        user = self._users.get(id)
        return user.username if user else None

    def users(self) -> list[User]:
        return list(self._users.values())
