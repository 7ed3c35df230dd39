"""Reads answered from the cache, where that is safe, and loaded once for all who wait where it is not there.

at once: memo | callers.known | cache.peek | limits.try_use | answer
else:    plan | member's values | key | cache | upstream.exchange | answer
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, cast

from cachetools import LRUCache
from starlette.types import Scope

from common.cache import Answer, Cache, Policy, Unstored
from common.core.errors import ServiceError, UpstreamUnavailable
from gateway.core.cache_class import Public
from gateway.core.cache_key import Member, digest
from gateway.core.catalogue import Collection
from gateway.core.client_address import FORWARDED_FOR, TrustedProxies
from gateway.core.exchange import Upstream, UpstreamRequest
from gateway.core.headers import bearer_token, outbound
from gateway.core.kept_answer import (
    OVERLONG,
    Kept,
    KeptAnswer,
    KeptMember,
    RawHeader,
    Told,
    answer_of,
    is_keepable,
    is_known_to_client,
    not_modified,
    told,
    x_cache,
)
from gateway.core.limits import action_of
from gateway.core.operation import ReadAction
from gateway.core.pocketbase_route import Route
from gateway.core.principal import Principal
from gateway.core.query import Kind
from gateway.core.read_plan import Plan, Plans
from gateway.core.rule_set import RuleSet
from gateway.identify import Callers
from gateway.limit import Limits
from gateway.receive import Incoming, watched
from gateway.reply import Reply

MAX_REMEMBERED = 4096
MAX_REMEMBERED_BYTES = 1024
MAX_KEYS = 64
MAX_ADDRESSES = 4096
MAX_TAGS = 60

HIT = (x_cache("HIT"),)
_OF_THE_CONNECTION = frozenset(("accept-encoding", "range"))

Rolled: TypeAlias = Callable[[Principal | None, list[RawHeader]], Awaitable[list[RawHeader]]]


class Knowing(Protocol):
    @property
    def plans(self) -> Plans | None: ...


class Records(Protocol):
    async def signed_in(self, collection: str, id: str) -> dict[str, object]: ...


class Rules(Protocol):
    @property
    def current(self) -> RuleSet:
        """Another object whenever there are other rules."""
        ...


@dataclass(frozen=True, slots=True)
class Terms:
    """How answers are kept. `rolls_every_seconds` is 0 where answers bear no successors of tokens."""

    fresh_seconds: float
    stale_seconds: float
    max_bytes: int
    rolls_every_seconds: int = 0


@dataclass(frozen=True, slots=True)
class Ask:
    """A read that was not answered at once."""

    route: Route
    method: str
    query: bytes
    headers: list[RawHeader]
    address: str
    principal: Principal | None


@dataclass(slots=True)
class Aimed:
    """What one kind of caller asks. `keys` by caller, with the record they were made from."""

    plan: Plan
    tags: tuple[str, ...]
    target: str
    is_same_for_all: bool
    keys: dict[str, tuple[Kept | None, str]] = field(default_factory=dict[str, tuple[Kept | None, str]])


@dataclass(slots=True)
class Place:
    """What a path and query mean, as long as the rules hold; by the collection of who asks."""

    collection: Collection
    kind: Kind
    target: str
    rule: str
    aimed: dict[str, Aimed] = field(default_factory=dict[str, Aimed])


@dataclass(frozen=True, slots=True)
class Hit:
    """An answer that needs no waiting for. `collection` and `kind` are for the counts."""

    status: int
    headers: tuple[RawHeader, ...]
    body: bytes
    collection: str
    kind: Kind


class Reads:
    def __init__(
        self,
        cache: Cache[Kept],
        knowing: Knowing,
        upstream: Upstream,
        records: Records,
        callers: Callers,
        limits: Limits,
        rules: Rules,
        rolled: Rolled,
        *,
        proxies: TrustedProxies,
        terms: Terms,
    ) -> None:
        self._cache = cache
        self._knowing = knowing
        self._upstream = upstream
        self._records = records
        self._callers = callers
        self._limits = limits
        self._rules = rules
        self._rolled = rolled
        self._proxies = proxies
        self._terms = terms
        self._places: dict[tuple[bytes, bytes], Place] = {}
        self._places_of: tuple[Plans, RuleSet] | None = None
        self._addresses: dict[tuple[str, bytes], str] = {}
        self._overlong: LRUCache[str, bool] = LRUCache(MAX_REMEMBERED)

    def hit(self, scope: Scope) -> Hit | None:
        """The answer, if it is at hand and may be given at once. Raises TooMany."""
        known = self._places_of
        if known is None or known[0] is not self._knowing.plans or known[1] is not self._rules.current:
            return None
        place = self._places.get((scope["raw_path"], scope["query_string"]))
        if place is None:
            return None
        token = forwarded = if_none_match = None
        for name, value in scope["headers"]:
            if name == b"authorization":
                if token is not None:
                    return None
                token = value
            elif name == b"x-forwarded-for":
                forwarded = value
            elif name == b"if-none-match":
                if_none_match = value
            elif name in _SLOW:
                return None
        client = scope["client"]
        address = self.address(client[0] if client else "127.0.0.1", forwarded or b"")
        principal: Principal | None = None
        if token:
            principal = self._callers.known(token_of(token), address)
            if principal is None or self._is_due(principal):
                return None
        aimed = place.aimed.get(principal.collection_id if principal else "")
        if aimed is None or (key := self._known_key(aimed, principal)) is None:
            return None
        answer = self._cache.peek(key)
        if answer is None or not self._limits.try_use(place.rule, principal, address):
            return None
        kept = cast(KeptAnswer, answer.value)
        if if_none_match is not None:
            if place.kind == "file":
                return None
            if is_known_to_client(kept.etag, if_none_match):
                return Hit(304, not_modified(kept.headers) + HIT, b"", place.collection.name, place.kind)
        return Hit(200, kept.headers + HIT, kept.body, place.collection.name, place.kind)

    async def identify(self, headers: list[RawHeader], address: str, *, may_be_stale: bool) -> Principal | None:
        return await self._callers.identify(headers, address=address, may_be_stale=may_be_stale)

    def canonical(self, spelling: str | None) -> str:
        """The name of a collection; what is not known counts under no name."""
        plans = self._knowing.plans
        found = plans.schema.find(spelling) if plans and spelling else None
        return found.name if found else ""

    async def answer(
        self, ask: Ask, raw_path: bytes, reply: Reply, otherwise: Callable[[], Awaitable[None]], incoming: Incoming
    ) -> None:
        """Answer by way of the cache or, where that must not be, `otherwise`."""
        place, aimed = self._aimed(ask, raw_path)
        if place is None or aimed is None or not aimed.plan.is_kept or is_special(place.kind, ask.headers):
            await bypassed(reply, otherwise)
            return
        if self._cache.doubt() is not None:
            await self._while_in_doubt(ask, aimed, reply, otherwise)
            return
        member = await self._member(aimed.plan, ask.principal)
        sent = self._sent(ask)
        key = key_of(aimed.plan.key(aimed.target, member, sent))
        if key is None or key in self._overlong:
            await bypassed(reply, otherwise)
            return
        if (answer := self._cache.peek(key)) is None:
            async with watched(incoming):
                answer = await self._load(ask, aimed, key, member, sent)
        self._remember_key(aimed, ask.principal, key)
        if answer.value == OVERLONG:
            self._overlong[key] = True
            await bypassed(reply, otherwise)
            return
        await self._reply(reply, ask, place.kind, answer)

    def address(self, peer: str, forwarded: bytes) -> str:
        """`forwarded` is the last X-Forwarded-For."""
        known = self._addresses.get((peer, forwarded))
        if known is None:
            known = self._proxies.client_address(peer, [(FORWARDED_FOR, forwarded)] if forwarded else [])
            if len(self._addresses) >= MAX_ADDRESSES:
                self._addresses.clear()
            self._addresses[peer, forwarded] = known
        return known

    def place(self, plans: Plans, route: Route, method: str) -> Place | None:
        """None for what is no read, or of no collection that is known."""
        collection = plans.schema.find(route.collection or "")
        if method != "GET" or route.kind not in ("records", "file") or collection is None or collection.is_system:
            return None
        action = action_of(method, route)
        rule = self._limits.rule(action, collection.name)
        if route.kind == "file":
            return Place(collection, "file", "/".join(route.after), rule)
        target = route.after[1] if len(route.after) > 1 else ""
        return Place(collection, "view" if target else "list", target, rule)

    def aim(self, plans: Plans, place: Place, query: bytes, principal: Principal | None) -> Aimed | None:
        """What this caller asks there; None for one of a collection that is not known. Raises MalformedQuery."""
        asker = plans.schema.find(principal.collection_id) if principal else None
        if principal is not None and asker is None:
            return None
        plan = plans.plan(place.collection, place.kind, query, asker=asker)
        tags = tuple(sorted(plan.depends_on))
        if len(tags) > MAX_TAGS or (place.kind != "file" and self._is_ruled(plans, place, plan)):
            return None
        needs_nobody = isinstance(plan.verdict.cache_class, Public)
        return Aimed(plan, tags, place.target, needs_nobody)

    def _aimed(self, ask: Ask, raw_path: bytes) -> tuple[Place | None, Aimed | None]:
        if (plans := self._knowing.plans) is None:
            return None, None
        rules, known = self._rules.current, self._places_of
        if known is None or known[0] is not plans or known[1] is not rules:
            self._places, self._places_of = {}, (plans, rules)
        name = (raw_path, ask.query)
        place = self._places.get(name) or self.place(plans, ask.route, ask.method)
        if place is None:
            return None, None
        asker = ask.principal.collection_id if ask.principal else ""
        aimed = place.aimed.get(asker) or self.aim(plans, place, ask.query, ask.principal)
        if aimed is not None and len(raw_path) + len(ask.query) <= MAX_REMEMBERED_BYTES:
            place.aimed[asker] = aimed
            if len(self._places) >= MAX_REMEMBERED:
                del self._places[next(iter(self._places))]
            self._places[name] = place
        return place, aimed

    def _is_ruled(self, plans: Plans, place: Place, plan: Plan) -> bool:
        """Whether a rule of ours may look at what is shown, expanded records included."""
        action: ReadAction = "list" if place.kind == "list" else "view"
        if self._rules.current.touches_reads(place.collection.name, action):
            return True
        if not plan.query.get("expand"):
            return False
        shown = (plans.schema.find(id) for id in plan.depends_on)
        return any(found is not None and self._rules.current.touches_reads(found.name, "view") for found in shown)

    def _known_key(self, aimed: Aimed, principal: Principal | None) -> str | None:
        """The key that was made for this caller, as long as his record is what it was."""
        if aimed.plan.verdict.headers:
            return None
        known = aimed.keys.get("" if aimed.is_same_for_all or principal is None else principal.session_id)
        if known is None:
            return None
        made_from, key = known
        if made_from is None or principal is None:
            return key
        current = self._cache.peek(member_key(principal))
        return key if current is not None and current.value is made_from else None

    def _remember_key(self, aimed: Aimed, principal: Principal | None, key: str) -> None:
        made_from: Kept | None = None
        if principal is not None and aimed.plan.fields_needed:
            current = self._cache.peek(member_key(principal))
            if current is None:
                return
            made_from = current.value
            if key_of(aimed.plan.key(aimed.target, member_of(principal, made_from), ())) != key:
                return
        if len(aimed.keys) >= MAX_KEYS:
            aimed.keys.clear()
        aimed.keys["" if aimed.is_same_for_all or principal is None else principal.session_id] = (made_from, key)

    def _is_due(self, principal: Principal) -> bool:
        every = self._terms.rolls_every_seconds
        return bool(every) and time.time() - principal.issued_at >= every

    async def _member(self, plan: Plan, principal: Principal | None) -> Member | None:
        if principal is None:
            return None
        kept = await self._record_of(principal) if plan.fields_needed else None
        return member_of(principal, kept)

    async def _record_of(self, principal: Principal) -> Kept | None:
        async def load() -> KeptMember:
            return KeptMember(dict(await self._records.signed_in(principal.collection_name, principal.record_id)))

        policy = Policy(ttl_seconds=self._terms.fresh_seconds, shared=False)
        tags = (principal.collection_id, f"{principal.collection_id}/{principal.record_id}")
        answer = await self._cache.get_or_load(member_key(principal), load, tags=tags, policy=policy)
        return answer.value

    async def _load(
        self, ask: Ask, aimed: Aimed, key: str, member: Member | None, sent: Sequence[tuple[str, str]]
    ) -> Answer[Kept]:
        async def load() -> Kept | Unstored[Kept]:
            # The key was made before the epochs were read: has the caller's record changed in between?
            same = (await self._member(aimed.plan, ask.principal)) == member
            answer, is_for_all = await self._asked(ask, aimed, sent)
            return answer if same and is_for_all else Unstored(answer)

        tags = aimed.tags
        if aimed.plan.depends_on_filler and ask.principal is not None:
            tags = (*tags, f"{ask.principal.collection_id}/{ask.principal.record_id}")
        return await self._cache.get_or_load(key, load, tags=tags, policy=self._policy(aimed.plan))

    async def _asked(self, ask: Ask, aimed: Aimed, sent: Sequence[tuple[str, str]]) -> tuple[Kept, bool]:
        """PocketBase's answer, and whether it may be kept."""
        plans = self._knowing.plans
        collection = plans.schema.find(ask.route.collection or "") if plans else None
        path = ask.route.upstream_path(collection.name if collection else ask.route.collection)
        query = aimed.plan.query.encoded()
        kind: Kind = "file" if ask.route.kind == "file" else "view" if aimed.target else "list"
        request = UpstreamRequest("GET", f"{path}?{query}" if query else path, sent, None)
        body = bytearray()
        async with self._upstream.exchange(request) as answer:
            async for chunk in answer.chunks():
                body += chunk
                if len(body) > self._terms.max_bytes:
                    return OVERLONG, False
            kept = answer_of(answer.status, answer.headers, bytes(body), kind)
            return kept, is_keepable(answer.status, answer.headers)

    async def _while_in_doubt(
        self, ask: Ask, aimed: Aimed, reply: Reply, otherwise: Callable[[], Awaitable[None]]
    ) -> None:
        """Each asks for himself. What anybody may read stands in for a PocketBase that is away."""
        try:
            await bypassed(reply, otherwise)
        except UpstreamUnavailable as error:
            if reply.has_begun or not aimed.is_same_for_all:
                raise
            await self._stand_in(ask, aimed, reply, error)

    async def _stand_in(self, ask: Ask, aimed: Aimed, reply: Reply, error: ServiceError) -> None:
        async def away() -> Kept:
            raise error

        key = key_of(aimed.plan.key(aimed.target, None, self._sent(ask)))
        if key is None:
            raise error
        answer = await self._cache.get_or_load(key, away, tags=aimed.tags, policy=self._policy(aimed.plan))
        await self._reply(reply, ask, "file" if ask.route.kind == "file" else "list", answer)

    async def _reply(self, reply: Reply, ask: Ask, kind: Kind, answer: Answer[Kept]) -> None:
        kept = cast(KeptAnswer, answer.value)
        said: Told = told(answer.outcome)
        headers = (*kept.headers, x_cache(said))
        if said == "STALE":
            headers = (*headers, (b"age", b"%d" % answer.age_seconds))
        if kind != "file" and (rolled := await self._rolled(ask.principal, ask.headers)):
            headers = (*(item for item in headers if item[0] != b"cache-control"), *rolled)
        asked = [value for name, value in ask.headers if name == b"if-none-match"]
        if kept.status == 200 and asked and is_known_to_client(kept.etag, b",".join(asked)):
            kept_names = frozenset(name for name, _ in (*not_modified(headers),)) | {b"x-cache", b"age"}
            await reply.whole(304, tuple(item for item in headers if item[0] in kept_names))
            return
        await reply.whole(kept.status, headers, kept.body)

    def _sent(self, ask: Ask) -> list[tuple[str, str]]:
        token = ask.principal.pocketbase_token if ask.principal else None
        sent = outbound(ask.headers, client_address=ask.address, token=token)
        kept = [item for item in sent if item[0] not in _OF_THE_CONNECTION and not item[0].startswith("if-")]
        return [*kept, ("Accept-Encoding", "identity")]

    def _policy(self, plan: Plan) -> Policy:
        is_public = isinstance(plan.verdict.cache_class, Public)
        return Policy(
            ttl_seconds=self._terms.fresh_seconds,
            stale_if_error_seconds=self._terms.stale_seconds,
            stale_if_error_serves="unverified" if is_public else "expired",
        )


_SLOW = frozenset(
    (b"range", b"if-range", b"if-modified-since", b"if-unmodified-since", b"if-match", b"content-length")
    + (b"transfer-encoding", b"content-type")
)


def is_special(kind: Kind, headers: list[RawHeader]) -> bool:
    """Parts and conditions of files are PocketBase's to answer."""
    return kind == "file" and any(name == b"range" or name.startswith(b"if-") for name, _ in headers)


async def bypassed(reply: Reply, otherwise: Callable[[], Awaitable[None]]) -> None:
    reply.also = (x_cache("BYPASS"),)
    await otherwise()


def token_of(value: bytes) -> str:
    return bearer_token(((b"authorization", value),)) or ""


def member_key(principal: Principal) -> str:
    return f"member:{principal.collection_id}/{principal.record_id}"


def member_of(principal: Principal, kept: Kept | None) -> Member:
    values = kept.record if isinstance(kept, KeptMember) else {}
    return Member(principal.collection_id, principal.record_id, principal.session_id, values)


def key_of(key: bytes | None) -> str | None:
    return None if key is None else digest(key).hex()
