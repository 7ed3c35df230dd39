"""Writes to the rows that people see: triggers are cleared first, what came of them is shown once they stay cleared.

Whoever PATCHes a row writes back all of it as he read it, within some milliseconds: a trigger that was cleared may
stand there again. As long as that can be, the row says `pending`.
"""

import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from common.core.pocketbase_answers import Record
from natsync.adapters.pocketbase_rows import PocketBaseRows, Rows
from natsync.core.collections.rows import Row, text
from natsync.core.deciding.decision import Decision, rows_of
from natsync.core.deciding.hints import is_edited
from natsync.core.showing.answers import DONE, REFUSED, answer, resumed
from natsync.core.showing.mirrors import CARRYING_OUT, Fields, Status, View, Write, differences
from natsync.core.state.desired import Table
from natsync.core.state.ledger import Entries
from natsync.core.state.verbs import KINDS, clearing, is_asking, to_action

QUIET_SECONDS = 0.1
"""Longer than PocketBase takes for a PATCH from reading the row to writing it, while it has little to do."""
QUIET_WRITES = 5
"""While it has much to do: as long as so many writes of our own take, which wait for their turn as others' do."""
WRITES_REMEMBERED = 32
"""The slowest of them counts."""

Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Cleared:
    """Whose triggers were taken off, and until when they may come back."""

    until: float
    account: str


class ShowRows:
    def __init__(self, rows: PocketBaseRows) -> None:
        self._rows = rows
        self._took_seconds: deque[float] = deque(maxlen=WRITES_REMEMBERED)
        self._cleared: dict[Place, Cleared] = {}
        """By kind and record of the entry."""
        self._stamps: dict[Place, str] = {}
        """By collection and id: what was seen of the row up to then is known to have been carried out."""

    def unknown(self, images: Iterable[tuple[str, Row]]) -> list[tuple[str, Row]]:
        """Images that are later than the last clearing of their row."""
        return [
            (collection, image)
            for collection, image in images
            if text(image, "updated") > self._stamps.get((collection, image["id"]), "")
        ]

    def settling(self) -> frozenset[Place]:
        return frozenset(place for place, cleared in self._cleared.items() if not is_quiet(cleared))

    def settled(self) -> set[str]:
        """Accounts of which something is to be shown now."""
        return {cleared.account for cleared in self._cleared.values() if is_quiet(cleared)}

    def settles_in_seconds(self) -> float:
        waits = [cleared.until - time.monotonic() for cleared in self._cleared.values()]
        return max(0.0, min(waits, default=float("inf")))

    def forget_settled(self, accounts: set[str]) -> None:
        """What was to be shown of these accounts has been."""
        for place in [place for place, one in self._cleared.items() if one.account in accounts and is_quiet(one)]:
            del self._cleared[place]

    async def clear(self, rows: Rows, table: Table, decision: Decision) -> dict[Place, Record]:
        """Take triggers that were carried out off their rows; returns the rows as they are now. Raises ServiceError."""
        found = clearings(table, decision)
        begun = time.monotonic()
        written = await self._write(rows, found)
        if found:
            self._took_seconds.append(time.monotonic() - begun)
        until = time.monotonic() + max(QUIET_SECONDS, QUIET_WRITES * max(self._took_seconds, default=0))
        for write in found:
            kind = KINDS[write.collection]
            if row := written.get((write.collection, write.id)):
                account = row["id"] if kind == "account" else text(row, "account_id")
                self._cleared[kind, write.id] = Cleared(until, account)
                self._stamps[write.collection, write.id] = text(row, "updated")
        return written

    async def write(self, rows: Rows, writes: Sequence[Write]) -> int:
        """Returns how many rows were written. Raises ServiceError."""
        return len(await self._write(rows, writes))

    async def answer(self, rows: Rows, read: Table, view: View) -> int:
        """Close what actions asked for. `read` are the rows as the pass has read them."""
        by_place, now = rows_of(read), datetime.now(UTC)
        writes: list[Write] = []
        for row in rows["nats_actions"].values():
            fields = answer(to_action(row), view, by_place)
            if changed := differences(row, fields):
                closed: Fields = {"done_at": stamped(now)} if fields["status"] in (DONE, REFUSED) else {}
                writes.append(Write("nats_actions", row["id"], {**changed, **closed}))
        written = await self._write(rows, writes, stamped=False)
        for (_, id), row in written.items():
            if row["status"] in (DONE, REFUSED):
                del rows["nats_actions"][id]
        return len(written)

    async def tidy(self, retention_seconds: float) -> None:
        """Delete actions that were closed long ago."""
        before = datetime.now(UTC) - timedelta(seconds=retention_seconds)
        await self._rows.delete_actions(await self._rows.closed_actions(stamped(before)))

    async def _write(self, rows: Rows, writes: Sequence[Write], *, stamped: bool = True) -> dict[Place, Record]:
        if not writes:
            return {}
        ours = {(write.collection, write.id): write.fields.keys() for write in writes}
        written: dict[Place, Record] = {}
        for row in await self._rows.show(writes, stamped=stamped):
            place = row["collectionName"], row["id"]
            written[place] = row
            if not is_edited(rows[place[0]].get(place[1]), row, ours[place]):
                rows[place[0]][place[1]] = row
        return written


def is_quiet(cleared: Cleared) -> bool:
    return time.monotonic() >= cleared.until


def clearings(table: Table, decision: Decision) -> list[Write]:
    """What takes triggers off, and shows as active what an action has resumed."""
    active = resumed(decision.actions, decision.entries)
    found = [
        Write(collection, id, clearing_of(collection, row, decision.entries, is_resumed=(collection, id) in active))
        for (collection, id), row in rows_of(table).items()
    ]
    return [write for write in found if write.fields]


def clearing_of(collection: str, row: Row, entries: Entries, *, is_resumed: bool) -> Fields:
    entry = entries.by_place[KINDS[collection], row["id"]]
    fields: Fields = dict(clearing(collection, row, entry))
    if is_resumed and row.get("active") is not True:
        fields["active"] = True
    if fields and not is_asking(collection, row, entry):
        fields["sync_revision"] = entry.revision
    return {**fields, **Status("pending", CARRYING_OUT).fields} if fields else {}


def stamped(moment: datetime) -> str:
    """As PocketBase writes dates."""
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"
