"""Keeps at hand whose NATS users there are, so that a login is decided without asking PocketBase.

pocketbase.follow (hints) -> what is stale -> read anew -> who lost rights is told to whoever cuts connections

A hint counts before what it hints at is read: whoever logs in meanwhile waits for the reading.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import structlog

from common.adapters.pocketbase import RealtimeEvent, RecordChange, Resubscribed, StreamLost
from common.core.errors import ServiceError
from natsync.adapters.concurrently import each
from natsync.adapters.pocketbase_enrolment import PocketBaseEnrolment
from natsync.core.collections.enrolment import Enrolment, Person, Unknown, role_rights
from natsync.core.collections.rows import Row, text
from natsync.core.deciding.admission import Denied
from natsync.core.state.bans import Ban, Bans, barred
from natsync.core.state.desired import Table
from natsync.core.state.desired import of as desired_of
from natsync.core.state.ledger import Entries, Entry
from natsync.core.state.rights import Defaults
from natsync.core.tokens.user_tokens import Picture, picture

logger = structlog.get_logger(__name__)

COLLECTIONS = ("nats_users", "nats_roles", "nats_accounts", "natsync_bans")
FIRST_READING_SECONDS = 10.0
"""Reading waits for the first login, but no longer than that."""
STALE_SECONDS = 60.0
"""How long what is at hand is trusted while PocketBase is not heard: while it is away, nothing changes there."""
ONE_BY_ONE = 64
RETRY_SECONDS = 0.5

Lost: TypeAlias = Callable[[Sequence[Row]], None]
"""Takes the rows, as they were, of users who may do something else now or nothing any more."""


@dataclass(slots=True)
class Stale:
    """What is to be read anew: everything, or records by collection. `number` counts the hints."""

    everything: bool = True
    records: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    number: int = 1


class Enrol:
    def __init__(self, source: PocketBaseEnrolment, hints: AsyncIterator[RealtimeEvent], *, defaults: Defaults) -> None:
        self.lost: Lost = lambda _: None
        self.enrolment = Enrolment()
        self.service = Entries({})
        """The entries of the account that has the callout, and of the key that encrypts it."""
        self._source = source
        self._hints = hints
        self._defaults = defaults
        self._stale = Stale()
        self._read_until = 0
        self._progress = asyncio.Condition()
        self._wanted = asyncio.Event()
        self._due = asyncio.Event()
        self._unheard_since: float | None = None
        self._roles: dict[str, Row] = {}
        self._accounts: dict[str, Row] = {}
        self._suspended: dict[str, Entry] = {}
        self._keys: dict[str, Entries] = {}
        self._reading_keys = asyncio.Lock()
        self._bans = Bans()
        self._told: dict[tuple[str, str], Ban | None] = {}

    # What is asked

    async def find(self, person: Person, wanted: str = "") -> tuple[Row, Picture]:
        """The person's row with what is known of it; waits for what is being read. Raises Denied."""
        await self.current()
        try:
            row = self.enrolment.chosen(person, wanted)
        except Unknown as error:
            raise Denied("unknown", str(error)) from error
        return row, await self.picture_of(row)

    async def picture_of(self, row: Row, *, with_new_keys: bool = False) -> Picture:
        """Raises Denied."""
        now = time.time()
        account, role = text(row, "account_id"), text(row, "role_id")
        entries = await self._known_keys(account, anew=with_new_keys)
        if own := self._suspended.get(row["id"]):
            entries = entries.having([own])
        table = Table(
            accounts=[self._accounts[account]] if account in self._accounts else [],
            roles=[self._roles[role]] if role in self._roles else [],
            users=barred([row], self._bans, now),
        )
        return picture(desired_of(table, entries, self._defaults), entries, int(now))

    async def account_key(self, row: Row) -> str:
        """The public key of the account that a row names; empty where there is none. Raises Denied."""
        entry = (await self._known_keys(text(row, "account_id"), anew=False)).get("account", text(row, "account_id"))
        return entry.public_key if entry else ""

    def is_banned(self, row: Row) -> bool:
        return self._bans.over(row, time.time()) is not None

    async def current(self) -> None:
        """Returns once all that was hinted at has been read. Raises Denied when nothing is heard for too long."""
        self._wanted.set()
        since = self._unheard_since
        if since is not None and time.monotonic() - since > STALE_SECONDS:
            raise Denied("not_ready", "PocketBase has not been heard from")
        number = self._stale.number
        async with self._progress:
            await self._progress.wait_for(lambda: self._read_until >= number)

    # What is told by others than PocketBase

    def ban(self, ban: Ban) -> None:
        """Counts at once. Whoever calls writes it to PocketBase, and then calls `stored`."""
        self._told[ban.subject, ban.collection] = ban
        self._bans = self._bans.having(ban)
        self.lost(self.enrolment.of_subject(ban.subject))

    def pardon(self, subject: str, collection: str) -> None:
        for ban in (*self._bans.of(subject, collection), Ban(subject, collection)):
            self._told[ban.subject, ban.collection] = None
        self._bans = self._bans.without(subject, collection)

    def stored(self, subject: str, collection: str) -> None:
        for place in [place for place in self._told if place[0] == subject and collection in ("", place[1])]:
            del self._told[place]

    # Loops

    async def listen(self) -> None:
        """Loop: what PocketBase tells is stale from now on."""
        async for event in self._hints:
            match event:
                case Resubscribed():
                    self._unheard_since = None
                    self._stale.everything = True
                    self._mark()
                case StreamLost():
                    self._unheard_since = time.monotonic()
                case RecordChange():
                    self._stale.records.add((event.collection, event.record["id"]))
                    self._mark()

    async def work(self) -> None:
        """Loop: read what is stale."""
        try:
            async with asyncio.timeout(FIRST_READING_SECONDS):
                await self._wanted.wait()
        except TimeoutError:
            logger.debug("nobody has logged in by token so far")
        while True:
            await self._due.wait()
            self._due.clear()
            stale, self._stale = self._stale, Stale(everything=False, number=self._stale.number)
            try:
                await self._read(stale)
            except ServiceError as error:
                logger.warning("NATS users not read", error=str(error))
                await self._put_back(stale)
                continue
            async with self._progress:
                self._read_until = stale.number
                self._progress.notify_all()

    def _mark(self) -> None:
        self._stale.number += 1
        self._due.set()

    async def _put_back(self, stale: Stale) -> None:
        self._stale.everything |= stale.everything
        self._stale.records |= stale.records
        await asyncio.sleep(RETRY_SECONDS)
        self._due.set()

    # Reading

    async def _read(self, stale: Stale) -> None:
        if stale.everything:
            await self._read_all()
            return
        if any(collection == "natsync_bans" for collection, _ in stale.records):
            await self._read_bans()
        await each(self._read_shared, [place for place in stale.records if place[0] in ("nats_roles", "nats_accounts")])
        users = [id for collection, id in stale.records if collection == "nats_users"]
        if len(users) > ONE_BY_ONE:
            await self._read_users()
        else:
            await each(self._read_user, users)

    async def _read_all(self) -> None:
        self.service = await self._source.service()
        self._accounts = {row["id"]: row for row in await self._source.rows("nats_accounts")}
        self._keys.clear()
        await self._read_bans()
        await self._read_users()
        roles = {row["id"]: row for row in await self._source.rows("nats_roles")}
        for id in roles.keys() | self._roles.keys():
            self._take_role(id, roles.get(id))

    async def _read_bans(self) -> None:
        before, bans = self._bans, await self._source.bans()
        for place, ban in self._told.items():
            bans = bans.having(ban) if ban else bans.without(*place)
        self._bans = bans
        for subject, _ in bans.by_place.keys() - before.by_place.keys():
            self.lost(self.enrolment.of_subject(subject))

    async def _read_users(self) -> None:
        rows, suspended = await self._source.rows("nats_users"), await self._source.suspended()
        changed = [before for row in rows if (before := self.enrolment.put(row))]
        gone = self.enrolment.users.keys() - {row["id"] for row in rows}
        changed += [row for id in gone if (row := self.enrolment.remove(id))]
        newly, self._suspended = suspended.keys() - self._suspended.keys(), suspended
        self.lost([*changed, *(self.enrolment.users[id] for id in newly if id in self.enrolment.users)])

    async def _read_user(self, id: str) -> None:
        row, suspension = await self._source.row("nats_users", id), await self._source.suspension(id)
        before = self.enrolment.put(row) if row else self.enrolment.remove(id)
        if suspension is None:
            self._suspended.pop(id, None)
        elif id not in self._suspended:
            self._suspended[id] = suspension
            before = before or row
        self.lost([before] if before else [])

    async def _read_shared(self, place: tuple[str, str]) -> None:
        collection, id = place
        row = await self._source.row(collection, id)
        if collection == "nats_roles":
            self._take_role(id, row)
            return
        self._keys.pop(id, None)
        self._accounts.pop(id, None)
        if row:
            self._accounts[id] = row

    def _take_role(self, id: str, row: Row | None) -> None:
        """Servers change the rights of those who have theirs from the role alone; the others have to log in anew."""
        before = self._roles.pop(id, None)
        if row:
            self._roles[id] = row
        if before and (row is None or role_rights(before) != role_rights(row)):
            self.lost([user for user in self.enrolment.users.values() if text(user, "role_id") == id])

    async def _known_keys(self, account: str, *, anew: bool) -> Entries:
        if account not in self._accounts:
            return Entries({})
        async with self._reading_keys:  # many who log in at once are answered by one reading
            if anew or account not in self._keys:
                try:
                    self._keys[account] = await self._source.keys(account)
                except ServiceError as error:
                    raise Denied("not_ready", f"the account's keys cannot be read: {error}") from error
            return self._keys[account]
