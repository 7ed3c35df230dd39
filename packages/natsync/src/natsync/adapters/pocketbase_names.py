"""PocketBase where accounts, roles and users have names of its owner's choice."""

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from common.adapters.pocketbase import HINT, PocketBase, RealtimeEvent, RecordChange
from natsync.core.collections.collection_names import CollectionNames, answer_inward, body_outward, path_outward


class NamedPocketBase(PocketBase):
    """What goes through `plain` is spelled PocketBase's way, what comes back natsync's."""

    def __init__(self, plain: PocketBase, names: CollectionNames) -> None:
        self._plain = plain
        self._names = names

    async def healthy(self) -> None:
        await self._plain.healthy()

    async def request(
        self, method: str, path: str, body: Any = None, query: Mapping[str, str | int] | None = None
    ) -> Any:
        names = self._names
        answer = await self._plain.request(method, path_outward(path, names), body_outward(path, body, names), query)
        return answer_inward(path, answer, names)

    async def follow(
        self, collections: Sequence[str], *, fields: str = HINT, whole: Collection[str] = ()
    ) -> AsyncGenerator[RealtimeEvent]:
        outward, inward = self._names.outward, self._names.inward
        named = [outward.get(name, name) for name in collections]
        entire = [outward.get(name, name) for name in whole]
        async for event in self._plain.follow(named, fields=fields, whole=entire):
            if isinstance(event, RecordChange):
                yield replace(event, collection=inward.get(event.collection, event.collection))
            else:
                yield event


def named(plain: PocketBase, names: CollectionNames) -> PocketBase:
    return plain if names.are_usual else NamedPocketBase(plain, names)
