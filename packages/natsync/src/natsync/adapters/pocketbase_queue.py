"""The tickets of failed work, in `natsync_queue`. Read once; from then on this process is the only one to write."""

from common.adapters.pocketbase import PocketBase
from common.core.errors import NotFound
from natsync.core.publish_queue import Ticket, to_row, to_ticket

COLLECTION = "natsync_queue"


class PocketBaseQueue:
    """All methods raise ServiceError."""

    def __init__(self, pocketbase: PocketBase) -> None:
        self._pocketbase = pocketbase

    async def read(self) -> list[Ticket]:
        return [to_ticket(row) for row in await self._pocketbase.records(COLLECTION)]

    async def keep(self, ticket: Ticket) -> Ticket:
        if not ticket.id:
            return to_ticket(await self._pocketbase.create(COLLECTION, to_row(ticket)))
        try:
            await self._pocketbase.update(COLLECTION, ticket.id, to_row(ticket))
        except NotFound:  # somebody has cleared the queue by hand
            return to_ticket(await self._pocketbase.create(COLLECTION, to_row(ticket)))
        return ticket

    async def drop(self, ticket: Ticket) -> None:
        await self._pocketbase.delete(COLLECTION, ticket.id)
