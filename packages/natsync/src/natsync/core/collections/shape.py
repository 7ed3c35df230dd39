"""What a collection lacks to be as natsync needs it. Nothing of the owner's is ever dropped."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Definition: TypeAlias = dict[str, Any]

ROLES_UNTOUCHED = "@request.body.roles:isset = false"
ROLES_VALUES = ("admin", "moderator")

MAX_TEXT = 1_000_000
HOLD_TEXT = frozenset({"json", "select", "editor"})
RULES = ("listRule", "viewRule", "createRule", "updateRule", "deleteRule")


class CollectionUnfit(Exception):
    """A collection exists in a shape that cannot be put right without losing something of its owner's."""


@dataclass(frozen=True, slots=True)
class Spec:
    """`relations` maps the relation fields to the collections they point to. `only_read` are texts that natsync never
    writes: in an existing collection they may be of another type that holds text."""

    name: str
    kind: str
    rules: Mapping[str, str | None]
    fields: tuple[Definition, ...]
    relations: Mapping[str, str]
    indexes: tuple[str, ...] = ()
    only_read: frozenset[str] = frozenset()


def creation(spec: Spec, ids: Mapping[str, str]) -> Definition:
    fields = [pointed(field, spec, ids) for field in spec.fields]
    return {"name": spec.name, "type": spec.kind, "fields": fields, "indexes": list(spec.indexes), **spec.rules}


def pointed(field: Definition, spec: Spec, ids: Mapping[str, str]) -> Definition:
    target = spec.relations.get(field["name"])
    return {**field, "collectionId": ids[target]} if target else field


def correction(spec: Spec, existing: Definition, ids: Mapping[str, str]) -> Definition:
    """What to change in an existing collection: missing fields and indexes, exposed secrets, wrong rules.

    Empty when there is nothing to do. Raises CollectionUnfit.
    """
    if existing["type"] != spec.kind:
        raise CollectionUnfit(f"The collection {spec.name} is of type {existing['type']}, not {spec.kind}.")
    changes: Definition = {rule: wanted for rule, wanted in spec.rules.items() if existing.get(rule) != wanted}
    fields = corrected_fields(spec, existing["fields"], ids)
    if fields != existing["fields"]:
        changes["fields"] = fields
    missing = [index for index in spec.indexes if index_name(index) not in map(index_name, existing["indexes"])]
    if missing:
        changes["indexes"] = [*existing["indexes"], *missing]
    return changes


def corrected_fields(spec: Spec, existing: Iterable[Definition], ids: Mapping[str, str]) -> list[Definition]:
    wanted = {field["name"]: field for field in spec.fields}
    kept = [corrected(spec, field, wanted.get(field["name"])) for field in existing]
    present = {field["name"] for field in kept}
    return [*kept, *(pointed(field, spec, ids) for field in spec.fields if field["name"] not in present)]


def corrected(spec: Spec, field: Definition, wanted: Definition | None) -> Definition:
    """An existing field stays as its owner has it, but hidden where it is secret and long enough to hold a token."""
    if wanted is None or (field["name"] in spec.only_read and field["type"] in HOLD_TEXT):
        return field
    if field["type"] != wanted["type"]:
        raise CollectionUnfit(f"{spec.name}.{field['name']} is of type {field['type']}, not {wanted['type']}.")
    changes: Definition = {}
    if wanted.get("hidden") and not field.get("hidden"):
        changes["hidden"] = True
    if wanted["type"] == "text" and field.get("max", 0) < MAX_TEXT:
        changes["max"] = MAX_TEXT
    return {**field, **changes} if changes else field


def index_name(index: str) -> str:
    words = index.replace("`", " ").split()
    return words[words.index("INDEX") + 1] if "INDEX" in words[:-1] else index


def users_correction(existing: Definition) -> Definition:
    """The platform's users get roles that only a superuser can set. Raises CollectionUnfit."""
    changes: Definition = {}
    roles = next((field for field in existing["fields"] if field["name"] == "roles"), None)
    if roles is None:
        field = {"name": "roles", "type": "select", "values": list(ROLES_VALUES), "maxSelect": len(ROLES_VALUES)}
        changes["fields"] = [*existing["fields"], field]
    elif roles["type"] != "select" or roles.get("maxSelect", 1) < 2 or "admin" not in roles["values"]:
        raise CollectionUnfit("users.roles exists and is no multiple select with the value 'admin'.")
    for rule in ("createRule", "updateRule"):
        if (guarded := with_roles_untouched(existing.get(rule))) != existing.get(rule):
            changes[rule] = guarded
    return changes


def with_roles_untouched(rule: str | None) -> str | None:
    if rule is None or rule == ROLES_UNTOUCHED or rule.endswith(f") && {ROLES_UNTOUCHED}"):
        return rule
    return f"({rule}) && {ROLES_UNTOUCHED}" if rule.strip() else ROLES_UNTOUCHED
