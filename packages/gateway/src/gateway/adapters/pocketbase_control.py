"""What the gateway asks PocketBase as superuser: its collections, and the records of those who sign in."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from urllib.parse import quote

import orjson

from common.adapters.pocketbase import PocketBase
from common.core.errors import NotFound, ServiceError, UpstreamUnavailable
from common.core.pocketbase_answers import Record
from gateway.core.collections.catalogue import UNKNOWN, Catalogue, Collection, admitted, parse
from gateway.core.front_door.pocketbase_route import NOT_FOUND

PATIENCE_SECONDS = 5.0
REFRESH_COOLDOWN_SECONDS = 0.25
RELIST_SECONDS = 5.0

AWAY = "PocketBase does not answer; please retry."


class PocketBaseCollections:
    """Keeps the catalogue. An unknown name waits for a listing that was begun after it was asked for, so that a
    collection made a moment ago is found; however many ask, PocketBase is asked once per cooldown.
    """

    def __init__(self, control: PocketBase) -> None:
        self._control = control
        self._catalogue = Catalogue()
        self._asked_at = float("-inf")
        self._is_current = False
        self._asking = asyncio.Lock()

    async def admitted(self, spelling: str, unknown: str = UNKNOWN) -> Collection:
        """Raises NotFound or Forbidden as `catalogue.admitted` does, UpstreamUnavailable when PocketBase is away."""
        if self._catalogue.find(spelling) is None:
            await self._refresh(since=time.monotonic())
        return admitted(self._catalogue.find(spelling), unknown)

    @property
    def known(self) -> tuple[Collection, ...]:
        return self._catalogue.collections

    def found(self, spelling: str) -> Collection | None:
        """Without asking: None may be a collection that was made a moment ago."""
        return self._catalogue.find(spelling)

    async def listed(self) -> list[Record]:
        """Every collection as it is now, which counts for `admitted` as well. Raises UpstreamUnavailable."""
        async with asked():
            rows = await self._control.collections()
        self._catalogue = Catalogue(map(parse, rows))
        return rows

    async def keep_current(self) -> None:
        """Endless; for a gateway that nobody tells of changes."""
        while True:
            await asyncio.sleep(RELIST_SECONDS)
            with suppress(UpstreamUnavailable):
                await self.listed()

    async def _refresh(self, *, since: float) -> None:
        async with self._asking:
            if self._asked_at < since:
                await asyncio.sleep(self._asked_at + REFRESH_COOLDOWN_SECONDS - time.monotonic())
                await self._list()
            if not self._is_current:
                raise UpstreamUnavailable(AWAY)

    async def _list(self) -> None:
        self._asked_at, self._is_current = time.monotonic(), False
        async with asked():
            self._catalogue = Catalogue(map(parse, await self._control.collections()))
        self._is_current = True


class PocketBaseRecords:
    def __init__(self, control: PocketBase) -> None:
        self._control = control

    async def signed_in(self, collection: str, id: str) -> Record:
        """The whole record, hidden fields and all. Raises UpstreamUnavailable when it cannot be had."""
        async with asked():
            return await self._control.record(collection, id)

    async def stored(self, collection: str, id: str) -> Record:
        """The same for the rules. Raises NotFound, UpstreamUnavailable."""
        async with asked():
            with suppress(NotFound):
                return await self._control.record(collection, id)
        raise NotFound(NOT_FOUND)

    async def impersonated(self, collection: str, id: str, seconds: int) -> bytes:
        """PocketBase's answer. Raises NotFound, UpstreamUnavailable."""
        path = f"/api/collections/{quote(collection, safe='')}/impersonate/{quote(id, safe='')}"
        async with asked():
            with suppress(NotFound):
                return orjson.dumps(await self._control.request("POST", path, {"duration": seconds}))
        raise NotFound(NOT_FOUND)


async def superuser_answers(control: PocketBase) -> None:
    """Health probe: only a superuser is answered."""
    await control.request("GET", "/api/collections", query={"perPage": 1, "fields": "id"})


@asynccontextmanager
async def asked() -> AsyncGenerator[None]:
    """Whatever goes wrong between PocketBase and its superuser, to the caller it is away."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            yield
    except (ServiceError, TimeoutError) as error:
        raise UpstreamUnavailable(AWAY) from error
