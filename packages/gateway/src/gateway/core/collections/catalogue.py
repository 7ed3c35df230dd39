"""The collections that PocketBase has, found as PocketBase finds them: by id, or by name in any case."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from common.core.errors import Forbidden, NotFound
from gateway.core.front_door.pocketbase_route import NOT_HERE
from gateway.core.uploads.upload_checks import FileField, file_fields

UNKNOWN = "Missing or invalid collection context."
UNKNOWN_TO_READS = "Missing collection context."
"""PocketBase says so where it is asked for records, or to delete one."""

SUPERUSERS = "_superusers"


@dataclass(frozen=True, slots=True)
class Field:
    """`target` is the id of the collection that a relation points to."""

    name: str
    type: str
    is_hidden: bool = False
    is_protected: bool = False
    is_multiple: bool = False
    target: str | None = None


@dataclass(frozen=True, slots=True)
class Collection:
    """A rule of None lets only superusers through, an empty one everybody."""

    id: str
    name: str
    type: str
    is_system: bool
    fields: tuple[Field, ...] = ()
    list_rule: str | None = None
    view_rule: str | None = None
    manage_rule: str | None = None
    view_query: str = ""
    file_fields: Mapping[str, FileField] = field(default_factory=dict[str, FileField], compare=False)

    @property
    def is_auth(self) -> bool:
        return self.type == "auth"

    @property
    def is_view(self) -> bool:
        return self.type == "view"

    def field(self, name: str) -> Field | None:
        return next((field for field in self.fields if field.name == name), None)


class Catalogue:
    def __init__(self, collections: Iterable[Collection] = ()) -> None:
        self.collections = tuple(collections)
        self._by_id = {collection.id: collection for collection in self.collections}
        self._by_name = {collection.name.lower(): collection for collection in self.collections}

    def find(self, spelling: str) -> Collection | None:
        """Should an id and a name ever clash, the one that is refused wins."""
        by_id, by_name = self._by_id.get(spelling), self._by_name.get(spelling.lower())
        if by_id is None or (by_name is not None and by_name.is_system and not by_id.is_system):
            return by_name
        return by_id

    def matching(self, spelling: str) -> list[Collection]:
        """One, none, or two where the id of one is the name of another."""
        found = (self._by_id.get(spelling), self._by_name.get(spelling.lower()))
        return list(dict.fromkeys(filter(None, found)))


def parse(row: Mapping[str, Any]) -> Collection:
    """A row of `/api/collections`; what it does not say is taken to be the stricter thing."""
    fields = cast(Iterable[Mapping[str, Any]], row.get("fields") or ())
    return Collection(
        id=str(row["id"]),
        name=str(row["name"]),
        type=str(row["type"]),
        is_system=bool(row.get("system", True)),
        fields=tuple(map(parse_field, fields)),
        list_rule=rule_of(row, "listRule"),
        view_rule=rule_of(row, "viewRule"),
        manage_rule=rule_of(row, "manageRule"),
        view_query=str(row.get("viewQuery") or ""),
        file_fields=file_fields(row),
    )


def parse_field(row: Mapping[str, Any]) -> Field:
    target = row.get("collectionId")
    return Field(
        name=str(row["name"]),
        type=str(row["type"]),
        is_hidden=bool(row.get("hidden", False)),
        is_protected=bool(row.get("protected", False)),
        is_multiple=int(row.get("maxSelect") or 0) > 1,
        target=str(target) if target else None,
    )


def rule_of(row: Mapping[str, Any], name: str) -> str | None:
    rule = row.get(name)
    return None if rule is None else str(rule)


def unknown_to(method: str, route_kind: str) -> str:
    """PocketBase's words for a collection that it does not have."""
    return UNKNOWN_TO_READS if route_kind == "records" and method in ("GET", "HEAD", "DELETE") else UNKNOWN


def admitted(collection: Collection | None, unknown: str = UNKNOWN) -> Collection:
    """Raises NotFound for an unknown collection, Forbidden for one of PocketBase's own."""
    if collection is None:
        raise NotFound(unknown)
    if collection.is_system:
        raise Forbidden(NOT_HERE)
    return collection
