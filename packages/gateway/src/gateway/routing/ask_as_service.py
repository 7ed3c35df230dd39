"""A granted route's calls as the gateway itself: past PocketBase's rules and the operator's, never past their effects.

What was kept of the records ends, and so do sessions, as after any other write. System collections stay closed.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol, cast

import orjson

from common.adapters.pocketbase import PLAIN_ID, for_superuser
from common.core.errors import NotFound
from gateway.core.caching.write_reach import changed_by
from gateway.core.collections.catalogue import Collection
from gateway.core.front_door.exchange import UpstreamAnswer, UpstreamRequest
from gateway.core.front_door.pocketbase_route import Route
from gateway.core.operation import WriteAction
from gateway.core.route_files.database_call import MISSING, Change, DatabaseCall, records_path
from gateway.core.sessions.account_change import account_changes
from gateway.follow_write import Effects, Writing, effects_of

ONE = {"perPage": "1", "skipTotal": "1"}
METHODS: dict[WriteAction, str] = {"create": "POST", "update": "PATCH", "delete": "DELETE"}


class Superuser(Protocol):
    async def request(self, method: str, path: str, body: Any = None, query: Any = None) -> Any:
        """Raises a ServiceError for a refusal."""
        ...


class Collections(Protocol):
    @property
    def known(self) -> tuple[Collection, ...]: ...

    async def admitted(self, spelling: str) -> Collection:
        """Raises NotFound, Forbidden, UpstreamUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class WholeAnswer:
    value: Any
    status: int = 200
    headers: Sequence[tuple[bytes, bytes]] = ()

    async def chunks(self) -> AsyncIterator[bytes]:
        yield orjson.dumps(self.value)


class AsSuperuser:
    """An Upstream for writes whose bodies are at hand."""

    def __init__(self, superuser: Superuser) -> None:
        self._superuser = superuser

    @asynccontextmanager
    async def exchange(self, request: UpstreamRequest) -> AsyncGenerator[UpstreamAnswer]:
        body = orjson.loads(b"".join([chunk async for chunk in request.body])) if request.body else None
        yield WholeAnswer(await self._superuser.request(request.method, request.target, body))


class ServiceCalls:
    def __init__(self, superuser: Superuser, writing: Writing, collections: Collections) -> None:
        self._superuser = superuser
        self._writing = writing
        self._collections = collections

    async def call(self, call: DatabaseCall) -> Any:
        """Raises a ServiceError for a refusal."""
        changes = changes_of(call)
        if not changes:
            await self._collections.admitted(call.collection)
            return await self._read(call)
        effects = effects_of([await self._effects(change) for change in changes])
        request = UpstreamRequest(call.method, call.path, (), written(call.body) if call.body is not None else None)
        async with self._writing.exchange(request, effects, None) as answer:
            return orjson.loads(b"".join([chunk async for chunk in answer.chunks()]))

    async def _read(self, call: DatabaseCall) -> Any:
        """In ways that tell a token that PocketBase takes for a guest's: it is renewed, and the read repeated."""
        query = dict(call.query)
        match call.action:
            case "list":
                return await self._superuser.request("GET", call.path, None, guarded(query))
            case "view":
                if not PLAIN_ID.fullmatch(call.record_id or ""):
                    raise NotFound(MISSING)
                query["filter"] = f'id = "{call.record_id}"'
                path = records_path(call.collection, None)
                listing = await self._superuser.request("GET", path, None, guarded(query) | ONE)
                if not (found := cast(dict[str, list[Any]], listing)["items"]):
                    raise NotFound(MISSING)
                return found[0]
            case _:
                return await self._superuser.request("GET", call.path, None, query)

    async def _effects(self, change: Change) -> Effects:
        collection = await self._collections.admitted(change.collection)
        after = ("records",) if change.record_id is None else ("records", change.record_id)
        route = Route("records", ("collections",), collection.name, after)
        accounts = account_changes(METHODS[change.action], route, collection, change.fields)
        return Effects(changed_by(change.action, collection, self._collections.known), accounts)


def guarded(query: Mapping[str, str]) -> dict[str, str]:
    return {**query, "filter": for_superuser(query.get("filter", ""))}


def changes_of(call: DatabaseCall) -> tuple[Change, ...]:
    match call.action:
        case "create" | "update" | "delete":
            return (Change(call.action, call.collection, call.record_id, call.fields),)
        case _:
            return call.changes


async def written(body: Any) -> AsyncIterator[bytes]:
    yield orjson.dumps(body)
