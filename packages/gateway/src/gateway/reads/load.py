"""Asks PocketBase once for all who wait, and keeps what may be kept, for as long as nothing it depends on changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from common.cache import Answer, Cache, Policy, Unstored
from common.core.errors import ServiceError
from gateway.core.caching.cache_key import Member
from gateway.core.caching.kept_answer import OVERLONG, Kept, KeptMember, answer_of, is_keepable
from gateway.core.caching.record_tag import record_tag
from gateway.core.front_door.exchange import Upstream, UpstreamRequest
from gateway.core.front_door.headers import outbound
from gateway.core.sessions.principal import Principal
from gateway.reads.aim import Aimed, Ask, member_key, member_of

_NOT_FOR_A_WHOLE_ANSWER = frozenset(("accept-encoding", "range"))


class Records(Protocol):
    async def signed_in(self, collection: str, id: str) -> Mapping[str, Any]:
        """The whole record as the superuser sees it. Raises UpstreamUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Terms:
    """How answers are kept. `rolls_every_seconds` is 0 where answers bear no successors of tokens."""

    fresh_seconds: float
    stale_seconds: float
    max_bytes: int
    rolls_every_seconds: int = 0


class Loading:
    def __init__(self, cache: Cache[Kept], upstream: Upstream, records: Records, terms: Terms) -> None:
        self._cache = cache
        self._upstream = upstream
        self._records = records
        self._terms = terms

    async def member(self, aimed: Aimed, principal: Principal | None) -> Member | None:
        """The caller, with what the key asks of his record. Raises UpstreamUnavailable."""
        if principal is None:
            return None
        if not aimed.plan.fields_needed:
            return member_of(principal, None)
        return member_of(principal, await self._record_of(principal))

    async def load(
        self, ask: Ask, aimed: Aimed, key: str, member: Member | None, sent: Sequence[tuple[str, str]]
    ) -> Answer[Kept]:
        """Raises UpstreamUnavailable. OVERLONG for what is too large."""

        async def load() -> Kept | Unstored[Kept]:
            # The key was made before the epochs were read: has the caller's record changed in between?
            is_same = (await self.member(aimed, ask.principal)) == member
            answer, is_for_all = await self._asked(aimed, sent)
            return answer if is_same and is_for_all else Unstored(answer)

        tags = aimed.tags
        if aimed.plan.depends_on_filler and ask.principal is not None:
            tags = (*tags, record_tag(ask.principal.collection_id, ask.principal.record_id))
        return await self._cache.get_or_load(key, load, tags=tags, policy=self._policy(aimed))

    async def stand_in(self, aimed: Aimed, key: str, error: ServiceError) -> Answer[Kept]:
        """What is kept, for want of PocketBase. Raises the error where there is nothing."""

        async def load() -> Kept:
            raise error

        return await self._cache.get_or_load(key, load, tags=aimed.tags, policy=self._policy(aimed))

    async def _record_of(self, principal: Principal) -> Kept | None:
        collection_id, id = principal.collection_id, principal.record_id

        async def load() -> KeptMember:
            return KeptMember(dict(await self._records.signed_in(collection_id, id)))

        policy = Policy(ttl_seconds=self._terms.fresh_seconds, shared=False)
        tags = (collection_id, record_tag(collection_id, id))
        return (await self._cache.get_or_load(member_key(collection_id, id), load, tags=tags, policy=policy)).value

    async def _asked(self, aimed: Aimed, sent: Sequence[tuple[str, str]]) -> tuple[Kept, bool]:
        """PocketBase's answer, and whether it may be kept."""
        body = bytearray()
        async with self._upstream.exchange(UpstreamRequest("GET", aimed.path, sent, None)) as answer:
            async for chunk in answer.chunks():
                body += chunk
                if len(body) > self._terms.max_bytes:
                    return OVERLONG, False
            kept = answer_of(answer.status, answer.headers, bytes(body), aimed.place.kind)
            return kept, is_keepable(answer.status, answer.headers)

    def _policy(self, aimed: Aimed) -> Policy:
        return Policy(
            ttl_seconds=self._terms.fresh_seconds,
            stale_if_error_seconds=self._terms.stale_seconds,
            stale_if_error_serves="unverified" if aimed.is_same_for_all else "expired",
        )


def sent_of(ask: Ask) -> list[tuple[str, str]]:
    """The headers that PocketBase gets for an answer that is to be kept: whole, unpacked, on no condition."""
    token = ask.principal.pocketbase_token if ask.principal else None
    tenant = ask.principal.tenant if ask.principal else ""
    sent = outbound(ask.headers, client_address=ask.address, token=token, tenant=tenant)
    kept = [item for item in sent if item[0] not in _NOT_FOR_A_WHOLE_ANSWER and not item[0].startswith("if-")]
    return [*kept, ("Accept-Encoding", "identity")]
