"""Who has been here, for admins."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from chathub.search import ADMIN
from common.core.identity import Identity, require_role


@dataclass(frozen=True, slots=True)
class Known:
    id: str
    username: str
    is_banned: bool


class People(Protocol):
    async def named(self, username: str | None, limit: int, offset: int) -> Sequence[Known]:
        """In whatever letter case: names that look alike are found together. Raises UpstreamUnavailable."""
        ...


async def find_people(
    caller: Identity, username: str | None, people: People, *, limit: int, offset: int
) -> tuple[Sequence[Known], bool]:
    """By name, and whether there are more. Raises Forbidden."""
    require_role(caller, ADMIN)
    found = await people.named(username, limit + 1, offset)
    return found[:limit], len(found) > limit
