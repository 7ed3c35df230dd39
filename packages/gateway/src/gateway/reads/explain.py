"""Tells an operator who may share the answer to a read, what ends it, and what is kept of it just now."""

from dataclasses import asdict
from typing import Any

from common.cache import Cache
from common.core.errors import InvalidRequest, NotFound, UpstreamUnavailable
from gateway.core.caching.kept_answer import Kept
from gateway.core.caching.read_plan import Plans
from gateway.core.front_door.pocketbase_route import NOT_FOUND, find
from gateway.core.sessions.principal import Principal
from gateway.reads.aim import Aims, Ask
from gateway.reads.load import Loading, sent_of

UNKNOWN_RULES = "It is not known which rules hold: the record feed is not heard."
NO_MEMBER = "principal: must be the collection and the id of an auth record, as in users/abc123."


class Explaining:
    def __init__(self, cache: Cache[Kept], aims: Aims, loading: Loading) -> None:
        self._cache = cache
        self._aims = aims
        self._loading = loading

    async def explain(self, target: str, member: str) -> dict[str, Any]:
        """`target` is a path, with its query; `member` is empty for a guest.

        Raises InvalidRequest, NotFound for what is no read of a known collection, UpstreamUnavailable.
        """
        if (plans := self._aims.plans) is None:
            raise UpstreamUnavailable(UNKNOWN_RULES)
        raw_path, _, query = target.partition("?")
        path = raw_path.encode()
        principal = member_named(member, plans)
        route = find("GET", path)
        if route is None:
            raise NotFound(NOT_FOUND)
        ask = Ask(route, path, query.encode(), [], "127.0.0.1", principal)
        if (aimed := self._aims.aimed(ask)) is None:
            raise NotFound(NOT_FOUND)
        told = aimed.plan.explained(plans.schema)
        if why := self._aims.why_never(aimed):
            return {**told, "why_not_kept": why, "cache": None}
        key = aimed.key(await self._loading.member(aimed, principal), sent_of(ask))
        return {**told, "why_not_kept": None, "cache": asdict(await self._cache.explain(key)) if key else None}


def member_named(text: str, plans: Plans) -> Principal | None:
    """Somebody as he would be when signed in; a session of his own is nobody's."""
    if not text:
        return None
    spelling, _, record_id = text.partition("/")
    collection = plans.schema.find(spelling)
    if collection is None or not collection.is_auth or not record_id:
        raise InvalidRequest(NO_MEMBER)
    return Principal(record_id, collection.id, collection.name, "", frozenset(), "", "", 0, 0, 0)
