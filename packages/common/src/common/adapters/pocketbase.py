"""PocketBase as its superuser: the control plane. End users' requests never come through here."""

import asyncio
import json
import re
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import quote

import httpx
import httpx_sse
import jwt
import structlog

from common.core.errors import Forbidden, InvalidRequest, NotFound, ServiceError, Unauthenticated, UpstreamUnavailable
from common.core.pocketbase_answers import (
    Action,
    Record,
    as_mapping,
    failed_in_batch,
    items_of,
    json_body,
    parsed,
    refusal,
)

logger = structlog.get_logger(__name__)

PAGE = 500
RENEWED_BEFORE_SECONDS = 60
AS_SUPERUSER = '@request.auth.collectionName = "_superusers"'
"""A filter that PocketBase refuses from anybody but a superuser. To a token that has lapsed it answers as to a guest,
with 200 and fewer records; with this filter it answers 400."""

HINT = "id,updated"
"""What comes with a hint: secrets, which superusers see, stay where they are."""

PLAIN_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")
REALTIME_SILENCE_SECONDS = 330  # PocketBase closes an idle stream after five minutes
KEEPALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, int(getattr(socket, name)), value)
        for name, value in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3))
        if hasattr(socket, name)
    ),
]
"""A silent stream whose peer is gone without a word ends after about eleven seconds, not after five minutes."""


@dataclass(frozen=True, slots=True)
class RecordChange:
    """A hint that a record changed; the record itself is to be read anew."""

    collection: str
    action: Action
    record: Record


@dataclass(frozen=True, slots=True)
class Resubscribed:
    """The stream starts (again): whatever happened before it is unknown, so read everything."""


@dataclass(frozen=True, slots=True)
class StreamLost:
    """Nothing is heard until the next Resubscribed."""


RealtimeEvent: TypeAlias = RecordChange | Resubscribed | StreamLost


class BatchRefused(InvalidRequest):
    """A batch was rolled back; `index` is the request that failed, `reason` why."""

    def __init__(self, index: int, reason: ServiceError) -> None:
        super().__init__(f"request {index} of the batch: {reason}")
        self.index = index
        self.reason = reason


class PocketBase:
    """Logs in when it must, pages to the end, and raises our errors.

    Every method raises UpstreamUnavailable when PocketBase is away or answers nonsense, and the ServiceError that
    fits the status when it refuses.
    """

    def __init__(self, client: httpx.AsyncClient, email: str, password: str) -> None:
        self._client = client
        self._email = email
        self._password = password
        self._token: str | None = None
        self._renew_at = 0.0  # Unix seconds
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
        return [collection async for collection in self._each("/api/collections", "", "")]

    async def records(self, collection: str, *, filter: str = "", fields: str = "") -> list[Record]:
        """Every record, in order of id: `each` in one list."""
        return [record async for record in self.each(collection, filter=filter, fields=fields)]

    async def each(self, collection: str, *, filter: str = "", fields: str = "") -> AsyncGenerator[Record]:
        """Every record, in order of id, a page at a time.

        Whatever others write meanwhile, each record that exists from the first page to the last comes exactly once;
        one that is made or deleted meanwhile may or may not. `fields`, if given, has to include `id`.
        """
        async for record in self._each(records_path(collection), for_superuser(filter), fields):
            yield record

    async def record(self, collection: str, id: str) -> Record:
        """The whole record, hidden fields included. Raises NotFound."""
        if not PLAIN_ID.fullmatch(id):
            raise NotFound("There is no record with such an id.")
        query: dict[str, str | int] = {"filter": for_superuser(f'id = "{id}"'), "perPage": 1, "skipTotal": 1}
        found = items_of(await self.request("GET", records_path(collection), query=query))
        if not found:
            raise NotFound("There is no such record.")
        return found[0]

    async def create(self, collection: str, body: Mapping[str, Any]) -> Record:
        return as_mapping(await self.request("POST", records_path(collection), dict(body)))

    async def update(self, collection: str, id: str, body: Mapping[str, Any]) -> Record:
        return as_mapping(await self.request("PATCH", record_path(collection, id), dict(body)))

    async def delete(self, collection: str, id: str) -> None:
        await self.request("DELETE", record_path(collection, id))

    async def batch(self, requests: Sequence[Mapping[str, Any]]) -> list[Record]:
        """All of `requests` (`{"method", "url", "body"}`) in one transaction; the records they answered with.

        Raises BatchRefused when one of them fails, and Forbidden when batches are switched off.
        """
        answers = await self.request("POST", "/api/batch", {"requests": [dict(request) for request in requests]})
        return [as_mapping(as_mapping(answer).get("body")) for answer in answers]

    async def follow(
        self, collections: Sequence[str], *, fields: str = HINT, whole: Collection[str] = ()
    ) -> AsyncGenerator[RealtimeEvent]:
        """Change hints for ever, a Resubscribed before them and after every StreamLost. Ends only by cancellation.

        `fields` are those of the record that come with a hint, and have to include `id`; of the collections in `whole`
        all come, hidden ones included. PocketBase may tell of two writes in another order than they were made in.
        """
        topics = [topic(collection, "" if collection in whole else fields) for collection in collections]
        delay = 0.1
        while True:
            is_subscribed = False
            try:
                async with self._subscribed(topics) as events:
                    delay, is_subscribed = 0.1, True
                    yield Resubscribed()
                    async for event in events:
                        if change := to_change(event):
                            yield change
            except (ServiceError, httpx.HTTPError, httpx_sse.SSEError) as error:
                logger.warning("realtime stream lost", error=f"{type(error).__name__}: {error}")
            if is_subscribed:
                yield StreamLost()
            await asyncio.sleep(delay)
            delay = min(delay * 2, 5)

    @asynccontextmanager
    async def _subscribed(self, topics: Sequence[str]) -> AsyncGenerator[AsyncIterator[httpx_sse.ServerSentEvent]]:
        timeout = httpx.Timeout(10, read=REALTIME_SILENCE_SECONDS)
        async with httpx_sse.aconnect_sse(self._client, "GET", "/api/realtime", timeout=timeout) as source:
            events = source.aiter_sse()
            first = await anext(events, None)
            client_id = as_mapping(parsed(first.data.encode())).get("clientId") if first else None
            if client_id is None:
                raise UpstreamUnavailable("PocketBase closed the realtime stream before it began.")
            await self.request(
                "GET", "/api/collections", query={"perPage": 1, "fields": "id"}
            )  # a guest would hear nothing
            await self.request("POST", "/api/realtime", {"clientId": client_id, "subscriptions": topics})
            yield events

    async def _each(self, path: str, filter: str, fields: str) -> AsyncGenerator[Record]:
        query: dict[str, str | int] = {"sort": "id", "perPage": PAGE, "skipTotal": 1}
        if fields:
            query["fields"] = fields
        after = ""
        while True:
            page = items_of(await self.request("GET", path, query={**query, "filter": beyond(after, filter)}))
            for item in page:
                yield item
            if len(page) < PAGE:
                return
            after = page[-1]["id"]

    async def _is_superusers(self, token: str) -> bool:
        try:
            await self._exchange("GET", "/api/collections", query={"perPage": 1, "fields": "id"}, token=token)
        except (Unauthenticated, Forbidden):
            return False
        return True

    async def _signed_in(self, stale: str | None = None) -> str:
        async with self._login:
            if self._token is None or self._token == stale or time.time() >= self._renew_at:
                body = {"identity": self._email, "password": self._password}
                path = "/api/collections/_superusers/auth-with-password"
                token = as_mapping(await self._exchange("POST", path, body)).get("token")
                if not isinstance(token, str):
                    raise UpstreamUnavailable("PocketBase signed in the superuser without a token.")
                self._token, self._renew_at = token, renewal(token)
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
            raise to_error(path, response)
        return json_body(response.content)


@asynccontextmanager
async def open_pocketbase(url: str, *, email: str, password: str) -> AsyncGenerator[PocketBase]:
    """A client that signs in on its first call, so that PocketBase may come later."""
    transport = httpx.AsyncHTTPTransport(socket_options=KEEPALIVE)
    async with httpx.AsyncClient(base_url=url, timeout=10, trust_env=False, transport=transport) as client:
        yield PocketBase(client, email, password)


def renewal(token: str) -> float:
    """When to sign in again, in Unix seconds: a token that has lapsed is answered as a guest's.

    Raises UpstreamUnavailable for what is no token.
    """
    try:
        claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
        return float(claims["exp"]) - RENEWED_BEFORE_SECONDS
    except (jwt.InvalidTokenError, KeyError, TypeError, ValueError) as error:
        raise UpstreamUnavailable("PocketBase signed in the superuser with a token that says no end.") from error


def for_superuser(filter: str) -> str:
    """A filter that finds the same, and that nobody but a superuser is answered."""
    return f"({filter}) && {AS_SUPERUSER}" if filter else AS_SUPERUSER


def records_path(collection: str) -> str:
    return f"/api/collections/{quote(collection, safe='')}/records"


def record_path(collection: str, id: str) -> str:
    return f"{records_path(collection)}/{quote(id, safe='')}"


def beyond(id: str, filter: str) -> str:
    """The filter of the page after the record with that id."""
    if not id:
        return filter
    escaped = id.replace("\\", "\\\\").replace('"', '\\"')
    following = f'id > "{escaped}"'
    return f"{following} && {filter}" if filter else following


def to_error(path: str, response: httpx.Response) -> ServiceError:
    if path == "/api/batch" and (failed := failed_in_batch(response.content)):
        return BatchRefused(*failed)
    return refusal(response.status_code, response.content)


def topic(collection: str, fields: str) -> str:
    options = quote(json.dumps({"query": {"fields": fields}}))
    return f"{collection}/*?options={options}" if fields else f"{collection}/*"


def to_change(event: httpx_sse.ServerSentEvent) -> RecordChange | None:
    """Raises UpstreamUnavailable for a message that cannot be read: what it said is a gap like any other."""
    collection, slash, _ = event.event.partition("/")
    if not slash:
        return None
    data = as_mapping(parsed(event.data.encode()))
    action, record = data.get("action"), as_mapping(data.get("record"))
    if action not in ("create", "update", "delete") or not isinstance(record.get("id"), str):
        raise UpstreamUnavailable("A realtime message of PocketBase cannot be read.")
    return RecordChange(collection, action, record)
