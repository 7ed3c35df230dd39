"""PocketBase as its superuser: the control plane. End users' requests never come through here."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, cast
from urllib.parse import quote

import httpx
import httpx_sse
import structlog

from common.core.errors import (
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    RateLimited,
    ServiceError,
    Unauthenticated,
    UpstreamUnavailable,
)

logger = structlog.get_logger(__name__)

Record: TypeAlias = dict[str, Any]

PAGE = 500
AS_SUPERUSER = '@request.auth.collectionName = "_superusers"'
"""A filter that PocketBase refuses from anybody but a superuser. To a token that has lapsed it answers as to a guest,
with 200 and fewer records; with this filter it answers 400."""

PLAIN_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")
REALTIME_SILENCE_SECONDS = 330  # PocketBase closes an idle stream after five minutes


@dataclass(frozen=True, slots=True)
class RecordChange:
    """A hint that a record changed; the record itself is to be read anew."""

    collection: str
    action: str
    record: Record


@dataclass(frozen=True, slots=True)
class Resubscribed:
    """The stream starts (again): whatever happened before it is unknown, so read everything."""


RealtimeEvent: TypeAlias = RecordChange | Resubscribed


class PocketBase:
    """Logs in when it must, pages to the end, and raises our errors.

    Every method raises UpstreamUnavailable when PocketBase is away, and the ServiceError that fits the status
    when it refuses.
    """

    def __init__(self, client: httpx.AsyncClient, email: str, password: str) -> None:
        self._client = client
        self._email = email
        self._password = password
        self._token: str | None = None
        self._login = asyncio.Lock()

    async def healthy(self) -> None:
        await self._exchange("GET", "/api/health")

    async def request(
        self, method: str, path: str, body: Any = None, query: Mapping[str, str | int] | None = None
    ) -> Any:
        """One call as superuser; signs in first, and once more when a refusal was due to a token that had lapsed."""
        token = await self._signed_in()
        try:
            return await self._exchange(method, path, body, query, token)
        except (Unauthenticated, Forbidden, NotFound, InvalidRequest):
            if await self._is_superusers(token):
                raise
            token = await self._signed_in(stale=token)
            return await self._exchange(method, path, body, query, token)

    async def collections(self) -> list[Record]:
        return await self._pages("/api/collections")

    async def records(self, collection: str, *, filter: str = "", fields: str = "") -> list[Record]:
        """Every record, in order of id. Raises rather than return a listing that moved while it was read."""
        query: dict[str, str | int] = {
            "sort": "id",
            "filter": f"({filter}) && {AS_SUPERUSER}" if filter else AS_SUPERUSER,
        }
        if fields:
            query["fields"] = fields
        return await self._pages(records_path(collection), query)

    async def record(self, collection: str, id: str) -> Record:
        """The whole record, hidden fields included. Raises NotFound."""
        if not PLAIN_ID.fullmatch(id):
            raise NotFound("There is no record with such an id.")
        query: dict[str, str | int] = {"filter": f'id = "{id}" && {AS_SUPERUSER}', "perPage": 1, "skipTotal": 1}
        found = (await self.request("GET", records_path(collection), query=query))["items"]
        if not found:
            raise NotFound("There is no such record.")
        return found[0]

    async def create(self, collection: str, body: Mapping[str, Any]) -> Record:
        return await self.request("POST", records_path(collection), dict(body))

    async def update(self, collection: str, id: str, body: Mapping[str, Any]) -> Record:
        return await self.request("PATCH", record_path(collection, id), dict(body))

    async def delete(self, collection: str, id: str) -> None:
        await self.request("DELETE", record_path(collection, id))

    async def follow(self, collections: Sequence[str]) -> AsyncGenerator[RealtimeEvent]:
        """Change hints for ever; after every gap a Resubscribed comes first. Ends only by cancellation."""
        delay = 0.1
        while True:
            try:
                async with self._subscribed(collections) as events:
                    delay = 0.1
                    yield Resubscribed()
                    async for event in events:
                        if change := to_change(event):
                            yield change
            except (ServiceError, httpx.HTTPError, httpx_sse.SSEError) as error:
                logger.warning("realtime stream lost", error=f"{type(error).__name__}: {error}")
            await asyncio.sleep(delay)
            delay = min(delay * 2, 5)

    @asynccontextmanager
    async def _subscribed(self, collections: Sequence[str]) -> AsyncGenerator[AsyncIterator[httpx_sse.ServerSentEvent]]:
        options = quote(json.dumps({"query": {"fields": "id,updated"}}))
        topics = [f"{collection}/*?options={options}" for collection in collections]
        timeout = httpx.Timeout(10, read=REALTIME_SILENCE_SECONDS)
        async with httpx_sse.aconnect_sse(self._client, "GET", "/api/realtime", timeout=timeout) as source:
            events = source.aiter_sse()
            first = await anext(events, None)
            if first is None:
                raise UpstreamUnavailable("PocketBase closed the realtime stream before it began.")
            client_id = json.loads(first.data)["clientId"]
            await self.request(
                "GET", "/api/collections", query={"perPage": 1, "fields": "id"}
            )  # a guest would hear nothing
            await self.request("POST", "/api/realtime", {"clientId": client_id, "subscriptions": topics})
            yield events

    async def _pages(self, path: str, query: Mapping[str, str | int] | None = None) -> list[Record]:
        items: dict[str, Record] = {}
        page, total = 1, 1
        while page <= total:
            answer = await self.request("GET", path, query={**(query or {}), "page": page, "perPage": PAGE})
            items.update((item["id"], item) for item in answer["items"])
            page, total = page + 1, answer["totalPages"]
            if page > total and len(items) != answer["totalItems"]:
                raise Conflict(f"{path} changed while it was read.")
        return list(items.values())

    async def _is_superusers(self, token: str) -> bool:
        try:
            await self._exchange("GET", "/api/collections", query={"perPage": 1, "fields": "id"}, token=token)
        except (Unauthenticated, Forbidden):
            return False
        return True

    async def _signed_in(self, stale: str | None = None) -> str:
        async with self._login:
            if self._token is None or self._token == stale:
                body = {"identity": self._email, "password": self._password}
                path = "/api/collections/_superusers/auth-with-password"
                self._token = str((await self._exchange("POST", path, body))["token"])
            return self._token

    async def _exchange(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: Mapping[str, str | int] | None = None,
        token: str | None = None,
    ) -> Any:
        headers = {"Authorization": token} if token else {}
        try:
            response = await self._client.request(method, path, json=body, params=query, headers=headers)
        except httpx.HTTPError as error:
            raise UpstreamUnavailable(f"PocketBase does not answer: {type(error).__name__}.") from error
        if response.is_error:
            raise refusal(response.status_code, response.content)
        return response.json() if response.content else None


@asynccontextmanager
async def open_pocketbase(url: str, *, email: str, password: str) -> AsyncGenerator[PocketBase]:
    async with httpx.AsyncClient(base_url=url, timeout=10, trust_env=False) as client:
        yield PocketBase(client, email, password)


def records_path(collection: str) -> str:
    return f"/api/collections/{quote(collection, safe='')}/records"


def record_path(collection: str, id: str) -> str:
    return f"{records_path(collection)}/{quote(id, safe='')}"


def to_change(event: httpx_sse.ServerSentEvent) -> RecordChange | None:
    collection, slash, _ = event.event.partition("/")
    if not slash:
        return None
    data = json.loads(event.data)
    return RecordChange(collection, data["action"], data["record"])


def refusal(status: int, content: bytes) -> ServiceError:
    """PocketBase's answer as one of our errors; its message names fields, never values."""
    message = describe(content) or f"PocketBase answered {status}."
    kinds: dict[int, type[ServiceError]] = {
        400: InvalidRequest,
        401: Unauthenticated,
        403: Forbidden,
        404: NotFound,
        409: Conflict,
    }
    if status == 429:
        return RateLimited(message, retry_seconds=1)
    if status >= 500:
        return UpstreamUnavailable(message)
    return kinds.get(status, InvalidRequest)(message)


def describe(content: bytes) -> str:
    try:
        body: object = json.loads(content)
    except ValueError:
        return ""
    if not isinstance(body, dict):
        return ""
    answer = cast(dict[str, Any], body)
    fields: object = answer.get("data")
    faults = ""
    if isinstance(fields, dict):
        named = cast(dict[str, Any], fields)
        faults = "; ".join(f"{name}: {fault_message(fault)}" for name, fault in named.items())
    return f"{answer.get('message', '')} {faults}".strip()


def fault_message(fault: object) -> str:
    return str(cast(dict[str, Any], fault).get("message", "")) if isinstance(fault, dict) else ""
