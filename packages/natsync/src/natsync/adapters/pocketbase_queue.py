"""The tickets of failed work, in `natsync_queue`. Read once; from then on this process is the only one to write."""

from common.adapters.pocketbase import BatchRefused, PocketBase, record_path, records_path
from common.core.errors import NotFound
from natsync.adapters.pocketbase_writing import Fence, PocketBaseWriting
from natsync.core.deciding.publish_queue import Ticket, to_row, to_ticket

COLLECTION = "natsync_queue"


class PocketBaseQueue:
    """All methods raise ServiceError."""

    def __init__(self, pocketbase: PocketBase, fence: Fence | None = None) -> None:
        self._pocketbase = pocketbase
        self._writing = PocketBaseWriting(pocketbase, fence)

    async def read(self) -> list[Ticket]:
        return [to_ticket(row) for row in await self._pocketbase.records(COLLECTION)]

    async def keep(self, ticket: Ticket) -> Ticket:
        if not ticket.id:
            return await self._create(ticket)
        change = {"method": "PATCH", "url": record_path(COLLECTION, ticket.id), "body": to_row(ticket)}
        try:
            await self._writing.all_or_none([change])
        except BatchRefused as refused:
            if not isinstance(refused.reason, NotFound):
                raise
            return await self._create(ticket)  # somebody has cleared the queue by hand
        return ticket

    async def drop(self, ticket: Ticket) -> None:
        await self._writing.all_or_none([{"method": "DELETE", "url": record_path(COLLECTION, ticket.id)}])

    async def _create(self, ticket: Ticket) -> Ticket:
        (row,) = await self._writing.all_or_none(
            [{"method": "POST", "url": records_path(COLLECTION), "body": to_row(ticket)}]
        )
        return to_ticket(row)
