"""Reads answered from the cache, where that is safe, and loaded once for all who wait where it is not there.

at once: aims.known | callers.known | cache.peek | limits.try_use | answer
else:    aims.aimed | member | key | cache | upstream.exchange | answer
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, cast

from cachetools import TTLCache
from starlette.types import Scope

from common.cache import Answer, Cache
from common.core.client_address import FORWARDED_FOR, TrustedProxies
from common.core.errors import UpstreamUnavailable
from gateway.bodies.receive import Incoming, watched
from gateway.core.caching.kept_answer import (
    OVERLONG,
    Kept,
    KeptAnswer,
    RawHeader,
    is_known_to_client,
    not_modified,
    told,
    x_cache,
)
from gateway.core.collections.catalogue import Collection
from gateway.core.front_door.query import Kind
from gateway.core.sessions.principal import Principal
from gateway.limit import Limits
from gateway.reads.aim import Aimed, Aims, Ask, Place, member_key, member_of
from gateway.reads.load import Loading, Terms, sent_of
from gateway.reply import Reply, with_successor
from gateway.sessions.identify import Callers

MAX_OVERLONG = 4096
LOCAL_PEER = "127.0.0.1"  # a peer without an address is one on this machine

HIT = (x_cache("HIT"),)
STALE = x_cache("STALE")

Rolled: TypeAlias = Callable[[Principal | None, list[RawHeader]], Awaitable[list[RawHeader]]]
Otherwise: TypeAlias = Callable[[], Awaitable[None]]

_FOR_THE_LONG_WAY = frozenset(
    b"range if-range if-modified-since if-unmodified-since if-match content-length transfer-encoding".split()
)


@dataclass(frozen=True, slots=True)
class Hit:
    """An answer that needs no waiting for, and where it is from."""

    status: int
    headers: tuple[RawHeader, ...]
    body: bytes
    aimed: Aimed


@dataclass(slots=True)
class Heads:
    """Of all headers those that matter to a read."""

    token: bytes | None = None
    forwarded: bytes = b""
    if_none_match: bytes | None = None


class KnownCollections(Protocol):
    def found(self, spelling: str) -> Collection | None:
        """Without asking PocketBase."""
        ...


class Reads:
    def __init__(
        self,
        cache: Cache[Kept],
        aims: Aims,
        loading: Loading,
        callers: Callers,
        limits: Limits,
        *,
        catalogue: KnownCollections,
        rolled: Rolled,
        proxies: TrustedProxies,
        terms: Terms,
    ) -> None:
        self._cache = cache
        self._aims = aims
        self._loading = loading
        self._callers = callers
        self._limits = limits
        self._catalogue = catalogue
        self._rolled = rolled
        self._proxies = proxies
        self._rolls_every_seconds = terms.rolls_every_seconds
        self._overlong: TTLCache[str, bool, float] = TTLCache(MAX_OVERLONG, terms.fresh_seconds, timer=time.monotonic)

    def hit(self, scope: Scope) -> Hit | None:
        """The answer, if it is at hand and may be given at once. Raises TooMany."""
        place = self._aims.known(scope)
        if place is None or not place.has_keys or (heads := heads_of(scope["headers"])) is None:
            return None
        client: tuple[str, int] | None = scope.get("client")
        address = self._proxies.behind(client[0] if client else LOCAL_PEER, heads.forwarded)
        principal: Principal | None = None
        if heads.token:
            principal = self._callers.known(token_of(heads.token), address)
            if principal is None or self._is_due(principal):
                return None
        aimed = place.aimed.get(principal.collection_id if principal else "")
        if aimed is None or not self._is_sure(aimed, principal):
            return None
        if (key := self._known_key(aimed, principal)) is None:
            return None
        answer = self._cache.peek(key)
        if answer is None or not self._limits.try_use(place.rule, principal, address):
            return None
        return hit_of(cast(KeptAnswer, answer.value), heads, aimed)

    async def identify(self, headers: list[RawHeader], address: str, *, may_be_stale: bool) -> Principal | None:
        return await self._callers.identify(headers, address=address, may_be_stale=may_be_stale)

    async def again(self, principal: Principal, token: str, address: str) -> Principal:
        return await self._callers.again(principal, token, address)

    def canonical(self, spelling: str | None) -> str:
        """The name of a collection; all that are not known count under no name."""
        found = self._catalogue.found(spelling) if spelling else None
        return found.name if found else ""

    async def answer(self, ask: Ask, reply: Reply, otherwise: Otherwise, incoming: Incoming) -> None:
        """Answer by way of the cache or, where that must not be, `otherwise`."""
        aimed = self._aims.aimed(ask)
        if aimed is None:
            await bypassed(reply, otherwise)
        elif self._aims.why_never(aimed) or is_special(aimed.place, ask.headers):
            aimed.count("BYPASS")
            await bypassed(reply, otherwise)
        elif self._cache.doubt() is not None or not self._is_sure(aimed, ask.principal):
            await self._answer_in_doubt(ask, aimed, reply, otherwise)
        else:
            await self._answer_kept(ask, aimed, reply, otherwise, incoming)

    async def _answer_kept(
        self, ask: Ask, aimed: Aimed, reply: Reply, otherwise: Otherwise, incoming: Incoming
    ) -> None:
        async with watched(incoming):
            member, sent = await self._loading.member(aimed, ask.principal), sent_of(ask)
            key = aimed.key(member, sent)
            if key is None or key in self._overlong:
                answer = None
            else:
                answer = self._cache.peek(key) or await self._loading.load(ask, aimed, key, member, sent)
                self._remember_key(aimed, ask.principal, key)
                if answer.value == OVERLONG:
                    self._overlong[key] = True
                    answer = None
        if answer:
            await self._reply(reply, ask, aimed, answer)
        else:
            aimed.count("BYPASS")
            await bypassed(reply, otherwise)

    async def _answer_in_doubt(self, ask: Ask, aimed: Aimed, reply: Reply, otherwise: Otherwise) -> None:
        """Each asks for himself. What anybody may read stands in for a PocketBase that is away."""
        try:
            await bypassed(reply, otherwise)
            aimed.count("BYPASS")
        except UpstreamUnavailable as error:
            key = aimed.key(None, sent_of(ask)) if aimed.is_same_for_all else None
            if reply.has_begun or key is None:
                raise
            reply.also = ()
            await self._reply(reply, ask, aimed, await self._loading.stand_in(aimed, key, error))

    async def _reply(self, reply: Reply, ask: Ask, aimed: Aimed, answer: Answer[Kept]) -> None:
        kept, said = cast(KeptAnswer, answer.value), x_cache(told(answer.outcome))
        aimed.count(told(answer.outcome))
        headers = (*kept.headers, said)
        if said == STALE:
            headers = (*headers, (b"age", b"%d" % answer.age_seconds))
        if aimed.place.kind != "file":
            headers = with_successor(headers, await self._rolled(ask.principal, ask.headers))
        asked = b",".join(value for name, value in ask.headers if name == b"if-none-match")
        if kept.status == 200 and is_known_to_client(kept.etag, asked):
            await reply.whole(304, not_modified(headers))
        else:
            await reply.whole(kept.status, headers, kept.body)

    def _is_sure(self, aimed: Aimed, principal: Principal | None) -> bool:
        """May this caller be given what is kept for such as him?"""
        return principal is None or aimed.is_same_for_all or self._callers.is_confirmed(principal)

    def _known_key(self, aimed: Aimed, principal: Principal | None) -> str | None:
        """The key that was made for this caller, as long as his record is what it was."""
        known = aimed.keys.get(aimed.session(principal))
        if known is None:
            return None
        made_from, key = known
        if made_from is None or principal is None:
            return key
        current = self._cache.peek(member_key(principal.collection_id, principal.record_id))
        return key if current is not None and current.value is made_from else None

    def _remember_key(self, aimed: Aimed, principal: Principal | None, key: str) -> None:
        if aimed.plan.verdict.headers:  # the key is of one request alone
            return
        if principal is None or not aimed.plan.fields_needed:
            aimed.remember(principal, key, None)
            return
        current = self._cache.peek(member_key(principal.collection_id, principal.record_id))
        if current is not None and aimed.key(member_of(principal, current.value), []) == key:
            aimed.remember(principal, key, current.value)

    def _is_due(self, principal: Principal) -> bool:
        every_seconds = self._rolls_every_seconds
        return bool(every_seconds) and time.time() - principal.issued_at >= every_seconds


def heads_of(headers: list[RawHeader]) -> Heads | None:
    """None for a request that has more to it than can be answered at once."""
    heads, hosts = Heads(), 0
    for name, value in headers:
        if name == b"authorization":
            if heads.token is not None:
                return None
            heads.token = value
        elif name == b"host":
            hosts += 1
        elif name == FORWARDED_FOR:
            heads.forwarded = value
        elif name == b"if-none-match":
            if heads.if_none_match is not None:
                return None
            heads.if_none_match = value
        elif name in _FOR_THE_LONG_WAY:
            return None
    return heads if hosts <= 1 else None


def hit_of(kept: KeptAnswer, heads: Heads, aimed: Aimed) -> Hit | None:
    if heads.if_none_match is not None:
        if not kept.etag:
            return None
        if is_known_to_client(kept.etag, heads.if_none_match):
            return Hit(304, not_modified(kept.headers + HIT), b"", aimed)
    return Hit(200, kept.headers + HIT, kept.body, aimed)


def is_special(place: Place, headers: list[RawHeader]) -> bool:
    """Parts and conditions of files are PocketBase's to answer."""
    kind: Kind = place.kind
    return kind == "file" and any(name == b"range" or name.startswith(b"if-") for name, _ in headers)


async def bypassed(reply: Reply, otherwise: Otherwise) -> None:
    reply.also = (x_cache("BYPASS"),)
    await otherwise()


def token_of(value: bytes) -> str:
    """As `bearer_token` reads it, without a look at every header."""
    text = value.decode("latin-1").strip()
    return text[7:].strip() if text[:7].lower() == "bearer " else text
