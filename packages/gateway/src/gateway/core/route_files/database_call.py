"""One call of a route to the database, and what it is in PocketBase's words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias
from urllib.parse import quote, urlencode

from common.core.errors import NotFound
from common.core.pocketbase_answers import as_mapping
from gateway.core.operation import WriteAction

CallAction: TypeAlias = Literal["list", "view", "create", "update", "delete", "batch", "sign-in"]

MISSING = "The requested resource wasn't found."

_METHODS: Mapping[CallAction, str] = {
    "list": "GET",
    "view": "GET",
    "create": "POST",
    "update": "PATCH",
    "delete": "DELETE",
    "batch": "POST",
    "sign-in": "POST",
}


@dataclass(frozen=True, slots=True)
class Change:
    """One write that waits for its batch."""

    action: WriteAction
    collection: str
    record_id: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def item(self) -> dict[str, Any]:
        """As PocketBase's batch lists it."""
        asked = {"method": _METHODS[self.action], "url": records_path(self.collection, self.record_id)}
        return asked if self.action == "delete" else {**asked, "body": dict(self.fields)}


@dataclass(frozen=True, slots=True)
class DatabaseCall:
    """`record_id` names the endpoint of a sign-in, as in `auth-with-password`."""

    action: CallAction
    collection: str = ""
    record_id: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    changes: tuple[Change, ...] = ()

    @property
    def method(self) -> str:
        return "GET" if self.record_id == "auth-methods" else _METHODS[self.action]

    @property
    def path(self) -> str:
        match self.action:
            case "batch":
                return "/api/batch"
            case "sign-in":
                return f"/api/collections/{quote(self.collection, safe='')}/{quote(self.record_id or '', safe='')}"
            case _:
                return records_path(self.collection, self.record_id)

    @property
    def query_string(self) -> str:
        return urlencode(dict(self.query))

    @property
    def body(self) -> dict[str, Any] | None:
        if self.action == "batch":
            return {"requests": [change.item() for change in self.changes]}
        return dict(self.fields) if self.method in ("POST", "PATCH") else None


def records_path(collection: str, record_id: str | None) -> str:
    """Raises NotFound for a name that would be another path, or none."""
    path = f"/api/collections/{checked(collection)}/records"
    return path if record_id is None else f"{path}/{checked(record_id)}"


def checked(segment: object) -> str:
    """An empty id would ask for the whole collection instead of one record. Raises NotFound in PocketBase's words."""
    if not isinstance(segment, str) or not segment or segment in (".", ".."):
        raise NotFound(MISSING)
    return quote(segment, safe="")


def batch_results(answers: Sequence[Any]) -> list[dict[str, Any] | None]:
    """The records of a batch's answer; None for what was deleted."""
    return [as_mapping(as_mapping(answer).get("body")) or None for answer in answers]
