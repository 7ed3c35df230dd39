"""What accounts, roles and users are called in PocketBase, where that is not what natsync calls them.

Everything that goes to PocketBase is spelled its way, everything that comes from there natsync's: nothing else knows
of other names.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote, unquote

from natsync.core.collections.schema import ACCOUNTS, ROLES, SPECS, USERS
from natsync.core.collections.shape import RULES

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
COLLECTIONS = "/api/collections"
BATCH = "/api/batch"
TAKEN = frozenset({"users"} | {spec.name for spec in SPECS})


@dataclass(frozen=True, slots=True)
class CollectionNames:
    """Raises ValueError for names that cannot be, or are another's."""

    accounts: str = ACCOUNTS.name
    roles: str = ROLES.name
    users: str = USERS.name

    def __post_init__(self) -> None:
        chosen = list(self.outward.items())
        for name, other in chosen:
            if not NAME.fullmatch(other) or (other != name and other in TAKEN):
                raise ValueError(f"{name} cannot have that name")
        if len({other for _, other in chosen}) < len(chosen):
            raise ValueError("each collection needs a name of its own")

    @property
    def outward(self) -> Mapping[str, str]:
        return {ACCOUNTS.name: self.accounts, ROLES.name: self.roles, USERS.name: self.users}

    @property
    def inward(self) -> Mapping[str, str]:
        return {other: name for name, other in self.outward.items()}

    @property
    def are_usual(self) -> bool:
        return all(name == other for name, other in self.outward.items())


def path_outward(path: str, names: CollectionNames) -> str:
    head, slash, rest = path.removeprefix(f"{COLLECTIONS}/").partition("/")
    if not path.startswith(f"{COLLECTIONS}/"):
        return path
    name = unquote(head)
    return f"{COLLECTIONS}/{quote(names.outward.get(name, name), safe='')}{slash}{rest}"


def body_outward(path: str, body: Any, names: CollectionNames) -> Any:
    if path == BATCH:
        requests = cast(list[dict[str, Any]], body["requests"])
        return {"requests": [{**one, "url": path_outward(one["url"], names)} for one in requests]}
    if is_of_definitions(path) and isinstance(body, dict):
        return definition(cast(dict[str, Any], body), names.outward)
    return body


def answer_inward(path: str, answer: Any, names: CollectionNames) -> Any:
    if is_of_definitions(path):
        return definitions_inward(answer, names)
    return records_inward(answer, names)


def is_of_definitions(path: str) -> bool:
    """A collection's own path, or that of all: not one of its records."""
    return path == COLLECTIONS or (path.startswith(f"{COLLECTIONS}/") and path.count("/") == COLLECTIONS.count("/") + 1)


def definitions_inward(answer: Any, names: CollectionNames) -> Any:
    if not isinstance(answer, dict):
        return answer
    said = cast(dict[str, Any], answer)
    if isinstance(said.get("items"), list):
        items = cast(list[dict[str, Any]], said["items"])
        return {**said, "items": [definition(item, names.inward) for item in items]}
    return definition(said, names.inward)


def definition(said: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Rules name a collection in quotes."""
    found = dict(said)
    if "name" in said:
        found["name"] = names.get(said["name"], said["name"])
    for rule in RULES:
        if isinstance(said.get(rule), str):
            found[rule] = re.sub(r'"(\w+)"', lambda match: f'"{names.get(match[1], match[1])}"', said[rule])
    return found


def records_inward(answer: Any, names: CollectionNames) -> Any:
    """Wherever a record stands in an answer: alone, in a page, or in a batch's answers."""
    if isinstance(answer, list):
        return [records_inward(item, names) for item in cast(list[Any], answer)]
    if not isinstance(answer, dict):
        return answer
    said = cast(dict[str, Any], answer)
    if "collectionName" in said:
        return record_inward(said, names)
    return {name: records_inward(said[name], names) if name in ("items", "body") else said[name] for name in said}


def record_inward(record: dict[str, Any], names: CollectionNames) -> dict[str, Any]:
    """An action names a collection, too."""
    named = ("collectionName", "collection") if record["collectionName"] == "nats_actions" else ("collectionName",)
    changed = {
        name: names.inward.get(record[name], record[name]) for name in named if isinstance(record.get(name), str)
    }
    return {**record, **changed}
