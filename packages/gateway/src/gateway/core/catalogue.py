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
        # system collections last: should a name and an id ever clash, the one that is refused wins
        ordered = sorted(collections, key=lambda collection: collection.is_system)
        self._known = {key: collection for collection in ordered for key in (collection.id, collection.name.lower())}

    def find(self, spelling: str) -> Collection | None:
        return self._known.get(spelling) or self._known.get(spelling.lower())


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
