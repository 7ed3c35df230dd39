"""The moderation log, read by admins and proved to be whole."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from chathub.core.moderation import UNSEALED, Entry, first_broken
from chathub.search import ADMIN
from common.core.identity import Identity, require_role

STRETCH = 1000


@dataclass(frozen=True, slots=True)
class Asked:
    """None where it does not matter."""

    actor_id: str | None
    subject: str | None
    action: str | None
    limit: int
    offset: int


@dataclass(frozen=True, slots=True)
class Shown:
    entry: Entry
    actor_username: str


class Entries(Protocol):
    """Raises UpstreamUnavailable, all of it."""

    async def page(self, asked: Asked) -> Sequence[Shown]: ...

    async def following(self, id: int, limit: int) -> Sequence[Entry]: ...


@dataclass(frozen=True, slots=True)
class Proof:
    """`broken` is the first entry that is not as it was written; `seal` that of the last entry."""

    entries: int
    broken: int | None
    seal: bytes


class LookBack:
    def __init__(self, entries: Entries) -> None:
        self._entries = entries

    async def page(self, caller: Identity, asked: Asked) -> tuple[Sequence[Shown], bool]:
        """Newest first, and whether there are more. Raises Forbidden."""
        require_role(caller, ADMIN)
        found = await self._entries.page(asked)
        return found[: asked.limit], len(found) > asked.limit

    async def prove(self) -> Proof:
        seal, last = UNSEALED, 0
        while found := await self._entries.following(last, STRETCH):
            if (broken := first_broken(found, seal, last + 1)) is not None:
                return Proof(last, broken, seal)
            seal, last = found[-1].seal, found[-1].id
        return Proof(last, None, seal)
