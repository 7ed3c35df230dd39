"""Messages deleted by admins. Each deletion is an entry of the log: it reaches the rows, the caches and the screens."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

from chathub.core.bus_messages import Amendment, RoomMessage, Stored
from chathub.core.channels import ChannelBook
from chathub.core.client_frames import Amend
from chathub.core.recent import Recent
from chathub.core.session import amendment
from chathub.search import ADMIN
from common.core.errors import NotFound, UpstreamUnavailable
from common.core.identity import Identity, require_role
from common.task_group import TaskGroup

AT_ONCE = 32
HEARD_SECONDS = 2.0
POLL_SECONDS = 0.01


class Log(Protocol):
    async def append(self, message: Amendment) -> int:
        """Raises UpstreamUnavailable."""
        ...


class Messages(Protocol):
    async def said(self, cache_id: int) -> Stored | None:
        """A message wherever it is kept. Raises UpstreamUnavailable."""
        ...


class Rows(Protocol):
    async def room_messages(self, ids: Sequence[int]) -> Sequence[Stored]:
        """By the ids of their rows, as far as there are such. Raises UpstreamUnavailable."""
        ...


class Deleting:
    """Appends deletions and says where the last of them stands in the log."""

    def __init__(self, log: Log, book: ChannelBook) -> None:
        self._log = log
        self._book = book

    async def delete(self, targets: Sequence[Stored], actor_id: str, *, mark: str) -> int:
        """Raises UpstreamUnavailable: some may be deleted then, and all are after the same call again."""
        gate = asyncio.Semaphore(AT_ONCE)
        wall = datetime.now(UTC)

        async def append(target: Stored) -> int | None:
            id = f"{mark}{target.position.epoch}.{target.position.sequence}"
            entry = amendment(target, Amend(target.position.sequence, None, id), actor_id, wall)
            async with gate:
                try:
                    return await self._log.append(self._book.stamped(entry))
                except UpstreamUnavailable:
                    return None

        async with TaskGroup() as tasks:
            appended = [tasks.create_task(append(target)) for target in targets]
        places = [place for task in appended if (place := task.result()) is not None]
        if len(places) < len(targets):
            raise UpstreamUnavailable("The log did not confirm all deletions.")
        return max(places)


class Moderation:
    def __init__(self, deleting: Deleting, rows: Rows, messages: Messages, recent: Recent) -> None:
        self._deleting = deleting
        self._rows = rows
        self._messages = messages
        self._recent = recent

    async def delete(self, caller: Identity, ids: Sequence[int]) -> None:
        """What is stored goes by the id of its row, what is not yet by its negated `cacheID`.

        Returns once the deletions are in the log and known to this node. Raises Forbidden; NotFound when there is none
        of the messages.
        """
        require_role(caller, ADMIN)
        targets = list(await self._rows.room_messages([id for id in ids if id > 0]))
        targets += [found for id in ids if id < 0 and (found := await self._not_stored(-id))]
        if not targets:
            raise NotFound("There are no such messages.")
        unique = list({target.position: target for target in targets}.values())
        await self._heard(await self._deleting.delete(unique, caller.subject, mark="~delete."))

    async def _not_stored(self, cache_id: int) -> Stored | None:
        """Or stored meanwhile. Whispers are nobody's to find."""
        found = await self._messages.said(cache_id)
        return found if found and isinstance(found.message, RoomMessage) else None

    async def _heard(self, sequence: int) -> None:
        try:
            async with asyncio.timeout(HEARD_SECONDS):
                while self._recent.last.sequence < sequence:  # noqa: ASYNC110 - the hub tells nobody
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            return  # it is in the log; this node is behind, and says so in its health
