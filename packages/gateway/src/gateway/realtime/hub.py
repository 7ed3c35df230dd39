"""The realtime clients of one process: who they are, what they want, and what they are told.

image  | groups.concerned | view.shown | members.tell        (decided here)
stream | shared_streams   |            | members.tell        (decided by PocketBase)
notice, expiry, gap -> lose                                  (nobody is told what he may not hear)
"""

import asyncio
import heapq
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from common.core.errors import Forbidden, InvalidRequest, NotFound, UpstreamUnavailable
from common.core.notices import Notice, SessionRevoked, UserBanned
from common.core.record_feed import RecordImage
from common.serving.direct_writes import Outlet
from gateway.core.caching.read_plan import Plans
from gateway.core.collections.catalogue import Collection
from gateway.core.front_door.exchange import Upstream
from gateway.core.realtime.audience import ID, View
from gateway.core.realtime.caller import Caller
from gateway.core.realtime.client_id import ClientId
from gateway.core.realtime.groups import Group, Groups
from gateway.core.realtime.projection import event_data
from gateway.core.realtime.recent_images import Cursor, RecentImages
from gateway.core.realtime.subscription import EVERY, Subscription, subscriptions_of
from gateway.core.realtime.wishes import Wanted, Wishes
from gateway.core.refusals import SessionEnded
from gateway.core.sessions.session import Owner
from gateway.realtime.catch_up import CatchUp, Counting, Snapshot
from gateway.realtime.clients import CLIENTS, CUT, Client, Framing, Hearers, Members, tell
from gateway.realtime.shared_streams import SharedStream, SharedStreams, Tokens

UNKNOWN = "Missing or invalid client id."
OTHER_ADDRESS = "The client's address is not the one that it connected from."
OTHER_CALLER = "The current and the previous request authorization don't match."
FULL = "Too many realtime clients are connected; please retry."
MOST_ENDED = 10_000
NOT_CURRENT = "Realtime is about to begin anew; please retry."
CATCH_UP_SECONDS = 30.0
MOST_CATCH_UP_BYTES = 8 * 1024 * 1024

NOWHERE = Cursor("", 0)


class Ruled(Protocol):
    @property
    def plans(self) -> Plans | None:
        """None while it is not known which rules hold."""
        ...


class Accounts(Protocol):
    async def signed_in(self, collection: str, id: str) -> Mapping[str, Any]:
        """The whole record as the superuser sees it. Raises UpstreamUnavailable."""
        ...


class Allowing(Protocol):
    def check(self, texts: Iterable[object]) -> None:
        """Raises Forbidden, RulesNotLoaded for topics that rules keep from being subscribed to."""
        ...


class Ending(Protocol):
    def later(self, client: Client) -> None:
        """Close the client's connection before long."""
        ...


@dataclass(frozen=True, slots=True)
class HubTerms:
    worker: str
    max_clients: int
    most_waiting_bytes: int


@dataclass(slots=True)
class Known:
    """An account's record; None until it was read."""

    record: Mapping[str, Any] | None = None
    clients: set[Client] = field(default_factory=set[Client])


class Hub:
    def __init__(
        self,
        ruled: Ruled,
        accounts: Accounts,
        ending: Ending,
        terms: HubTerms,
        *,
        upstream: Upstream,
        tokens: Tokens,
        topics: Allowing,
        counting: Counting,
    ) -> None:
        self.terms = terms
        self._topics = topics
        self.streams = SharedStreams(upstream, tokens, self)
        self._ruled = ruled
        self._accounts = accounts
        self._ending = ending
        self._clients: dict[str, Client] = {}
        self._groups: Groups[Members] = Groups(Members)
        self._sessions: dict[str, set[Client]] = {}
        self._known: dict[Owner, Known] = {}
        self._wishes = Wishes()
        self._expiries: list[tuple[int, str]] = []
        self._recent = RecentImages()
        self._catch_up = CatchUp(self._recent, upstream, tokens, counting)
        self._ended: dict[str, None] = {}  # sessions, so that none is bound that ended on its way here

    def new_id(self) -> str:
        """Raises UpstreamUnavailable when there is no room."""
        if len(self._clients) >= self.terms.max_clients:
            raise UpstreamUnavailable(FULL)
        return str(ClientId(self.terms.worker, secrets.token_urlsafe(24)))

    def open(self, id: str, outlet: Outlet, framing: Framing, address: str) -> Client:
        client = self._clients[id] = Client(id, outlet, framing, address)
        CLIENTS.set(len(self._clients))
        return client

    def close(self, client: Client) -> None:
        """The connection is gone, or is not to be told anything any more."""
        if not client.is_open:
            return
        client.is_open = False
        self._forget(client)
        if client.caller:
            self._unbind(client, client.caller)
        del self._clients[client.id]
        CLIENTS.set(len(self._clients))

    @property
    def clients(self) -> list[Client]:
        return list(self._clients.values())

    # What clients want

    async def set_subscriptions(self, id: str, address: str, caller: Caller | None, texts: list[str]) -> None:
        """Raises NotFound, InvalidRequest, Forbidden, SessionEnded, UpstreamUnavailable."""
        subscriptions = subscriptions_of(texts)
        async with self._admitted(id, address, caller).turn:  # SDKs give one call up and make the next at once
            client = self._admitted(id, address, caller)
            self._topics.check(subscriptions)  # by our rules, after whose change all clients are let go
            plans = self._ruled.plans
            if plans is None:
                raise UpstreamUnavailable(NOT_CURRENT)
            wanted = self._wishes.wanted(subscriptions.values(), plans, asker_of(plans, caller))
            self._bind(client, caller)
            await self._read_account(caller, wanted.views)
            held = {group.topic for group in client.groups}
            fresh = [(one, view) for one, view in wanted.views if one.text not in held]
            snapshots = await self._catch_up.snapshots(caller, address, fresh)
            stream = await self.streams.join(client, caller, wanted.asked) if wanted.asked else None
            if not client.is_open or self._ruled.plans is not plans:
                if stream is not None:
                    self._leave_unsettled(client, stream, wanted.asked)
                raise UpstreamUnavailable(NOT_CURRENT) if client.is_open else NotFound(UNKNOWN)
            self._settle(client, wanted, stream, snapshots)

    def _leave_unsettled(self, client: Client, stream: SharedStream, topics: list[str]) -> None:
        """But for those that it was told of before."""
        held = set(client.shared[1]) if client.shared and client.shared[0] is stream else set[str]()
        self.streams.leave(client, stream, [topic for topic in topics if topic not in held])

    def _admitted(self, id: str, address: str, caller: Caller | None) -> Client:
        client = self._clients.get(id)
        if client is None:
            raise NotFound(UNKNOWN)
        if client.address != address:
            raise InvalidRequest(OTHER_ADDRESS)
        if client.caller and (caller is None or caller.owner != client.caller.owner):
            raise Forbidden(OTHER_CALLER)
        return client

    async def _read_account(self, caller: Caller | None, views: list[tuple[Subscription, View]]) -> None:
        if caller is None or not any(view.reads - {ID} for _, view in views):
            return
        known = self._known[caller.owner]
        if known.record is None:
            record = await self._accounts.signed_in(caller.collection_id, caller.record_id)
            known.record = known.record or record  # a change that was told meanwhile is newer

    def _settle(
        self, client: Client, wanted: Wanted, stream: SharedStream | None, snapshots: Mapping[str, Snapshot]
    ) -> None:
        before, client.shared = client.shared, (stream, wanted.asked) if stream else ()
        if before:
            kept = set(wanted.asked) if before[0] is stream else set[str]()
            self.streams.leave(client, before[0], [topic for topic in before[1] if topic not in kept])
        held = {group.topic for group in client.groups}
        client.own = wanted.own
        values = self._values(client.caller)
        self._move(client, [self._groups.group(one.text, view, values) for one, view in wanted.views])
        fresh = [group for group in client.groups if group.topic not in held and group.view.is_caught_up]
        if fresh and not self._cut_if_slow(client):
            client.catches_up_until = asyncio.get_running_loop().time() + CATCH_UP_SECONDS
            for group in fresh:
                if not client.is_open or self._cut_if_slow(client):
                    return
                self._catch_up.tell(client, group, snapshots.get(group.topic))

    def _values(self, caller: Caller | None) -> Mapping[str, Any]:
        if caller is None:
            return {}
        return {**(self._known[caller.owner].record or {}), ID: caller.record_id}

    def _move(self, client: Client, groups: Sequence[Group[Members]]) -> None:
        """In before out: a group that loses its last member is forgotten, and what was told to it."""
        kept = set(groups)
        for group in groups:
            group.members.add(client)
        for group in client.groups:
            if group not in kept and group.members.remove(client):
                self._groups.drop(group)
        client.groups = tuple(groups)

    def _forget(self, client: Client) -> None:
        self._move(client, ())
        if client.shared:
            self.streams.leave(client, *client.shared)
            client.shared = ()

    def _bind(self, client: Client, caller: Caller | None) -> None:
        if caller is None or caller == client.caller:
            return
        if caller.session_id in self._ended:
            raise SessionEnded
        if client.caller:
            self._unbind(client, client.caller)
        client.caller = caller
        self._sessions.setdefault(caller.session_id, set()).add(client)
        self._known.setdefault(caller.owner, Known()).clients.add(client)
        self._note_expiry(caller, client)

    def _note_expiry(self, caller: Caller, client: Client) -> None:
        """What is noted of clients who have left is thrown out before it is more than what is noted of the others."""
        if len(self._expiries) > 2 * self.terms.max_clients:
            self._expiries = [(one.caller.expires_at, one.id) for one in self.clients if one.caller]
            heapq.heapify(self._expiries)
        heapq.heappush(self._expiries, (caller.expires_at, client.id))

    def _unbind(self, client: Client, caller: Caller) -> None:
        of_session = self._sessions[caller.session_id]
        of_session.discard(client)
        if not of_session:
            del self._sessions[caller.session_id]
        known = self._known[caller.owner]
        known.clients.discard(client)
        if not known.clients:
            del self._known[caller.owner]

    # What clients are told

    async def take(self, image: RecordImage) -> None:
        """An image of the record feed, in its turn; one that was left out has been fetched."""
        self._follow_account(image)
        if image.record is not None:
            for hearers, topic, data in self._decided(image, image.record):
                await self.tell(hearers, topic, data)

    def _decided(self, image: RecordImage, record: Mapping[str, Any]) -> list[tuple[Hearers, str, bytes]]:
        """All at once: what changes while some are told must not change what others are told."""
        self._recent.add(image, len(event_data(image.action, record)))
        cursor = str(self._recent.newest)
        found: list[tuple[Hearers, str, bytes]] = []
        written: dict[tuple[Any, ...], bytes] = {}  # what shows the same fields of one record is the same
        for group in self._groups.concerned(image.collection_id, (EVERY, image.id), record):
            if (told := group.data(image.action, record)) is None:
                continue
            bears_cursor = group.view.since is not None
            kind = (told[0], bears_cursor, *told[1])
            if (data := written.get(kind)) is None:
                data = written[kind] = event_data(*told, cursor if bears_cursor else "")
            found.append((group.members.now(), group.topic, data))
        return found

    async def tell(self, hearers: Hearers, topic: str, data: bytes) -> None:
        for client in await tell(hearers, topic, data, most_waiting_bytes=self.terms.most_waiting_bytes):
            self.say(client, topic, data)

    def say(self, client: Client, topic: str, data: bytes) -> None:
        """Something to one of them alone, unless he does not read what he was told before."""
        if client.is_open and not self._cut_if_slow(client) and client.outlet.is_open:
            client.outlet.transport.write(client.framing.event(topic, data))

    def keep_alive(self, client: Client) -> None:
        if client.is_open and not self._cut_if_slow(client) and client.outlet.is_open:
            client.outlet.transport.write(client.framing.comment)

    def _cut_if_slow(self, client: Client) -> bool:
        """For a while after it was told what there was before, more may wait."""
        is_catching_up = asyncio.get_running_loop().time() < client.catches_up_until
        most = self.terms.most_waiting_bytes + (MOST_CATCH_UP_BYTES if is_catching_up else 0)
        if client.outlet.transport.get_write_buffer_size() <= most:
            return False
        CUT.labels("slow").inc()
        self.close(client)
        client.outlet.cut()
        return True

    async def tell_client(self, id: str, address: str, topic: str, data: bytes) -> None:
        """An event about the client himself, once. Raises NotFound where it has not asked for it from that address."""
        client = self._clients.get(id)
        if client is None or topic not in client.own or client.address != address:
            raise NotFound(UNKNOWN)
        client.own -= {topic}
        alone = Members()
        alone.add(client)
        await self.tell(alone.now(), topic, data)

    def is_account(self, image: RecordImage) -> bool:
        return Owner(image.collection_id, image.id) in self._known

    def without_images(self, collection_ids: frozenset[str]) -> None:
        """Whoever had something decided here that cannot be any more comes again."""
        if self._wishes.without_images(collection_ids):
            self.begin_anew("secret", self._recent.newest)

    def _follow_account(self, image: RecordImage) -> None:
        known = self._known.get(Owner(image.collection_id, image.id))
        if known is None:
            return
        if image.action == "delete" or image.record is None:
            self.lose(list(known.clients), "account")
            return
        known.record = image.record
        for client in list(known.clients):
            self._regroup(client)

    def _regroup(self, client: Client) -> None:
        """What the rules read of the caller may have become something else."""
        values = self._values(client.caller)
        self._move(client, [self._groups.group(group.topic, group.view, values) for group in client.groups])

    # What ends it

    def heard(self, notice: Notice) -> None:
        match notice:
            case SessionRevoked():
                self._note_ended(notice.session_id)
                self.lose(list(self._sessions.get(notice.session_id, ())), "session")
            case UserBanned():
                banned = [known.clients for owner, known in self._known.items() if is_banned(owner, notice)]
                self.lose([client for clients in banned for client in clients], "banned")
            case _:
                pass

    def _note_ended(self, session_id: str) -> None:
        if len(self._ended) >= MOST_ENDED:
            del self._ended[next(iter(self._ended))]
        self._ended[session_id] = None

    def missed(self) -> None:
        """Sessions may have ended unheard."""
        self.lose([client for clients in self._sessions.values() for client in clients], "unheard")

    def expire(self, now: float) -> None:
        """`now` in Unix seconds."""
        while self._expiries and self._expiries[0][0] <= now:
            _, id = heapq.heappop(self._expiries)
            client = self._clients.get(id)
            if client and client.caller and client.caller.expires_at <= now:
                self.lose([client], "expired")

    def begin_anew(self, reason: str, at: Cursor = NOWHERE) -> None:
        """Something was missed, or other rules hold; `at` is from where on the feed is heard."""
        self._recent.begin(at)
        self.lose(self.clients, reason)

    def lose(self, clients: Iterable[Client], reason: str) -> None:
        """From now on they are told nothing; their connections end before long, and not all at once."""
        for client in clients:
            if client.is_open:
                CUT.labels(reason).inc()
                self.close(client)
                self._ending.later(client)


def asker_of(plans: Plans, caller: Caller | None) -> Collection | None:
    """Raises UpstreamUnavailable for a caller of a collection that is not known yet."""
    if caller is None:
        return None
    asker = plans.schema.find(caller.collection_id)
    if asker is None:
        raise UpstreamUnavailable(NOT_CURRENT)
    return asker


def is_banned(owner: Owner, notice: UserBanned) -> bool:
    return owner.record_id == notice.subject and notice.collection_id in ("", owner.collection_id)
