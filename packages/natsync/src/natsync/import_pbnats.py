"""Takes over what pb-nats keeps in this PocketBase: operator, accounts, users, with all their keys."""

from collections.abc import Callable

from common.adapters.pocketbase import PocketBase
from common.core.errors import NotFound
from natsync.adapters.keyring import Keyring
from natsync.adapters.pocketbase_ledger import PocketBaseLedger
from natsync.adopt import Adopt
from natsync.core.collections.rows import text
from natsync.core.moving.adoption import NotAdoptable
from natsync.core.moving.pbnats_rows import PbNats, TakenOver, opener, taken_over
from natsync.ensure import ensure_collections


class ImportPbNats:
    def __init__(self, pocketbase: PocketBase, keyring: Keyring, say: Callable[[str], None]) -> None:
        self._pocketbase = pocketbase
        self._ledger = PocketBaseLedger(pocketbase)
        self._adopt = Adopt(pocketbase, keyring, say)
        self._say = say

    async def run(self, encryption_key: str) -> None:
        """Begun again, it goes on. Raises ServiceError, NotAdoptable, CollectionUnfit or BadKey."""
        opened = opener(encryption_key)
        found = await self._found()
        for change in await ensure_collections(self._pocketbase):
            self._say(change)
        known = (await self._ledger.entries()).by_place.keys()
        done = taken_over(found, opened, known)
        await self._adopt.run(done)
        await self._clear(done)

    async def _found(self) -> PbNats:
        existing = {collection["name"] for collection in await self._pocketbase.collections()}
        if not {"nats_system_operator", "nats_accounts", "nats_users"} <= existing:
            raise NotAdoptable("PocketBase has no collections of pb-nats's.")
        operators = [row for row in await self._ledger.rows("nats_system_operator") if text(row, "public_key")]
        if not operators:
            raise NotAdoptable("pb-nats has no operator here.")
        accounts, users = await self._ledger.rows("nats_accounts"), await self._ledger.rows("nats_users")
        return PbNats(operators[0], tuple(accounts), tuple(users))

    async def _clear(self, done: TakenOver) -> None:
        for collection, id, field in done.scrubbed:
            await self._ledger.change(collection, id, {field: None})
        for collection, id in done.doomed:
            try:
                await self._pocketbase.delete(collection, id)
            except NotFound:
                continue
