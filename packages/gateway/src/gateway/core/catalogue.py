"""The collections that PocketBase has, found as PocketBase finds them: by id, or by name in any case."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from common.core.errors import Forbidden, NotFound
from gateway.core.pocketbase_route import NOT_HERE

UNKNOWN = "Missing or invalid collection context."


@dataclass(frozen=True, slots=True)
class Collection:
    id: str
    name: str
    type: str
    is_system: bool


class Catalogue:
    def __init__(self, collections: Iterable[Collection] = ()) -> None:
        known = list(collections)
        self._by_id = {collection.id: collection for collection in known}
        self._by_name = {collection.name.lower(): collection for collection in known}

    def find(self, spelling: str) -> Collection | None:
        """Should an id and a name ever clash, the one that is refused wins."""
        found = [self._by_id.get(spelling), self._by_name.get(spelling.lower())]
        matches = sorted(filter(None, found), key=lambda collection: not collection.is_system)
        return matches[0] if matches else None


def parse(row: Mapping[str, Any]) -> Collection:
    return Collection(
        id=str(row["id"]), name=str(row["name"]), type=str(row["type"]), is_system=bool(row.get("system", True))
    )


def admitted(collection: Collection | None) -> Collection:
    """Raises NotFound for an unknown collection, Forbidden for one of PocketBase's own."""
    if collection is None:
        raise NotFound(UNKNOWN)
    if collection.is_system:
        raise Forbidden(NOT_HERE)
    return collection
