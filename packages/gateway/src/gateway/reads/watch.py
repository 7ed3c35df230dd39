"""Follows the record feed: what depends on a changed record dies, and with other rules nothing is taken as known.

bus | record_feed.read | FeedReader.accept | cache.changed, cache.heard | collections.listed -> Plans
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import structlog

from common.adapters.nats_listening import Gap, Received
from common.core import subjects
from common.core.epochs import EVERYTHING
from common.core.errors import Forbidden, UpstreamUnavailable
from common.core.messages import InvalidMessage
from common.core.notices import Notice, SessionRevoked, UserBanned
from common.core.record_feed import Alive, Changed, FeedReader, RecordEvent, fingerprint, read
from gateway.core.caching.read_plan import Plans
from gateway.core.caching.record_tag import record_tag
from gateway.core.collections.schema import Schema
from gateway.core.sessions.session import Owner
from gateway.sessions.recheck import Feed

logger = structlog.get_logger(__name__)

SOURCE = "records"
RETRY_SECONDS = 0.25
REFUSED_SECONDS = 5.0


class Drops(Protocol):
    def changed(self, *tags: str) -> None: ...
    def heard(self, source: str, epoch: str) -> None: ...


class Doubting(Protocol):
    """Is told at once and in order; must neither wait nor raise."""

    def account_changed(self, owner: Owner) -> None:
        """An auth record was changed or deleted."""
        ...

    def changes_missed(self) -> None:
        """Some before now may not have been heard of, or collections are defined otherwise."""
        ...


class Listing(Protocol):
    async def listed(self) -> Sequence[Mapping[str, Any]]:
        """Every collection as PocketBase has it now. Raises UpstreamUnavailable."""
        ...


class RecordWatch:
    """`plans` is None while it is not known which rules hold; `schema` is the last one that was known. `listen` and
    `learn` must run beside the server.

    It is a Hearer, too: a member whose session has ended may have been a guest to PocketBase an instant before.
    """

    def __init__(self, bus: Feed | None, cache: Drops, listing: Listing, enriched: Iterable[str]) -> None:
        self.plans: Plans | None = None
        self.schema = Schema(())
        self._bus = bus
        self._cache = cache
        self._listing = listing
        self._enriched = frozenset(enriched)
        self._reader = FeedReader()
        self._learned: Plans | None = None  # not in force until the feed says that these are the rules
        self._heard = Alive("", "")
        self._doubting: list[Doubting] = []
        self._known = ""
        self._is_wanted = asyncio.Event()
        self._is_wanted.set()

    def also_tell(self, doubting: Doubting) -> None:
        self._doubting.append(doubting)

    @property
    def rules(self) -> str:
        """The fingerprint of the collections that `plans` were made from; empty while it is not known which hold."""
        return self._known if self.plans is not None else ""

    @property
    def is_current(self) -> bool:
        return self.plans is not None

    async def listen(self) -> None:
        """For ever; without a bus nothing is ever heard, and so nothing is known."""
        while self._bus:
            try:
                async with self._bus.listening(subjects.RECORDS, bytes) as told:
                    async for item in told:
                        self._take(item)
            except Forbidden as error:
                logger.error("the record feed is not heard", error=str(error))
            finally:
                self._lose()
            await asyncio.sleep(REFUSED_SECONDS)

    async def learn(self) -> None:
        while self._bus:
            await self._is_wanted.wait()
            self._is_wanted.clear()
            try:
                self._know(await self._listing.listed())
            except UpstreamUnavailable:
                self._is_wanted.set()
            await asyncio.sleep(RETRY_SECONDS)

    def heard(self, notice: Notice) -> None:
        match notice:
            case SessionRevoked(collection_id=collection_id, record_id=record_id) if collection_id and record_id:
                self._cache.changed(record_tag(collection_id, record_id))
            case SessionRevoked() | UserBanned():
                self._cache.changed(EVERYTHING)
            case _:
                pass

    def missed(self) -> None:
        self._cache.changed(EVERYTHING)

    def _take(self, item: Received[bytes] | Gap) -> None:
        if isinstance(item, Gap):
            self._lose()
            return
        try:
            said = self._reader.accept(read(item.subject, item.message))
        except InvalidMessage as error:
            logger.warning("the record feed says what cannot be read", error=str(error))
            self._lose()
            return
        match said:
            case Changed(event):
                self._cache.changed(event.collection_id, record_tag(event.collection_id, event.id))
                self._tell(event)
            case Alive():
                self._tell_if_missed(said)
                self._follow(said)

    def _follow(self, alive: Alive) -> None:
        if self._learned is not None and alive.schema == self._known:
            self.plans = self._learned
            self._cache.heard(SOURCE, alive.run)
        else:
            self._learned = None
            self._doubt_rules()

    def _tell(self, event: RecordEvent) -> None:
        collection = self.schema.find(event.collection_id)
        if event.action != "create" and (collection is None or collection.is_auth):
            for doubting in self._doubting:
                doubting.account_changed(Owner(event.collection_id, event.id))

    def _tell_if_missed(self, alive: Alive) -> None:
        if alive != self._heard:
            self._heard = alive
            for doubting in self._doubting:
                doubting.changes_missed()

    def _lose(self) -> None:
        self._reader.miss()
        self._doubt_rules()

    def _doubt_rules(self) -> None:
        if self.plans is not None:
            self.plans = None
            self._cache.changed(EVERYTHING)
        if self._learned is None:
            self._is_wanted.set()

    def _know(self, rows: Sequence[Mapping[str, Any]]) -> None:
        schema = self.schema = Schema(rows)
        enriched = (schema.find(name) for name in self._enriched)
        self._known = fingerprint(rows)
        self._learned = Plans(schema, frozenset(collection.id for collection in enriched if collection))
