"""One search among the stored messages. A message is found once it is persisted, usually well within a second."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from common.core.identity import Identity, require_role

ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Query:
    channels: list[str]
    keyword: str | None
    user_id: str | None
    limit: int
    offset: int


@dataclass(frozen=True, slots=True)
class Found:
    id: int
    owner_id: str
    username: str
    channel: str
    message: str
    authored_at: datetime


class Messages(Protocol):
    async def search(self, query: Query) -> Sequence[Found]: ...


async def search(caller: Identity, query: Query, messages: Messages) -> tuple[Sequence[Found], bool]:
    """Newest first, and whether there are more. Raises Forbidden.

    Everybody may read one channel back; across channels, by author or by keyword is for admins.
    """
    if len(query.channels) != 1 or query.keyword is not None or query.user_id is not None:
        require_role(caller, ADMIN)
    found = await messages.search(query)
    return found[: query.limit], len(found) > query.limit
