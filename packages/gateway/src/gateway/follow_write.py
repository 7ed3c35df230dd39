"""What follows from a call that changes something, before anybody is told that it was done."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.core.front_door.exchange import Upstream, UpstreamAnswer, UpstreamRequest
from gateway.core.request import Call
from gateway.core.sessions.account_change import (
    CHANGED_THOUGH_REFUSED,
    Doubtful,
    Ended,
    Fields,
    account_changes,
    changes_record,
)
from gateway.core.sessions.principal import Principal


class ChangeSink(Protocol):
    async def written(self, collection_ids: Sequence[str]) -> None:
        """Records of these collections may have changed. Awaited before the write is answered; never raises."""
        ...


class SessionsFollowing(Protocol):
    async def follow(self, changes: Sequence[Ended | Doubtful]) -> None:
        """End the sessions that such changes end; never raises."""
        ...


@dataclass(frozen=True, slots=True)
class Effects:
    """`collections` are ids of what may have changed, `accounts` the changes to auth records.

    `also_refused` are statuses of a refusal that comes after something was changed.
    """

    collections: frozenset[str] = frozenset()
    accounts: Sequence[Ended | Doubtful] = ()
    also_refused: frozenset[int] = frozenset()


class Writing:
    """The one way by which anything is changed in PocketBase."""

    def __init__(self, upstream: Upstream, endings: SessionsFollowing, changes: ChangeSink) -> None:
        self._upstream = upstream
        self._endings = endings
        self._changes = changes

    @asynccontextmanager
    async def exchange(
        self, request: UpstreamRequest, effects: Effects, principal: Principal | None
    ) -> AsyncGenerator[UpstreamAnswer]:
        """Raises what `upstream.exchange` does. Not to be given up when the client leaves, since PocketBase may have
        done it by then.
        """
        is_answered = False
        try:
            async with self._upstream.exchange(request) as answer:
                is_answered = True
                await to_its_end(self._follow(effects, answer.status))
                yield answer
        finally:
            if not is_answered:
                await self._follow_unanswered(effects, principal)

    async def _follow(self, effects: Effects, status: int) -> None:
        if status < 300 or status in effects.also_refused:
            await self._tell(effects)
        if status < 300:
            await self._endings.follow(effects.accounts)

    async def _follow_unanswered(self, effects: Effects, principal: Principal | None) -> None:
        """Done or not, nobody knows. Only the caller's own sessions are looked at: else anybody could end anybody's by
        asking for a change while PocketBase is away.
        """
        await self._tell(effects)
        if principal and any(change.owner == principal.owner for change in effects.accounts):
            await self._endings.follow([Doubtful(principal.owner)])

    async def _tell(self, effects: Effects) -> None:
        if effects.collections:
            await self._changes.written(sorted(effects.collections))


async def to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Whoever gives up meanwhile waits until it is done."""
    task = asyncio.create_task(work)  # noqa: TID251 - awaited here, whatever happens
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


def effects_of_auth(call: Call, fields: Fields) -> Effects:
    """Of a call to an auth collection, other than to its records."""
    route, collection = call.request.route, call.collection
    if collection is None:
        return Effects()
    changed = frozenset({collection.id}) if changes_record(route) else frozenset[str]()
    changes = account_changes(call.request.method, route, collection, fields)
    return Effects(changed, changes, CHANGED_THOUGH_REFUSED)


def effects_of(found: Iterable[Effects]) -> Effects:
    """Of several at once."""
    listed = list(found)
    collections = frozenset(id for effects in listed for id in effects.collections)
    return Effects(collections, [account for effects in listed for account in effects.accounts])
