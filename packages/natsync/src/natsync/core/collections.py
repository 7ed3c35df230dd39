"""The collections natsync lives from, and what an existing one lacks. Nothing of the owner's is ever dropped."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Definition: TypeAlias = dict[str, Any]

ADMIN = '@request.auth.collectionName = "users" && @request.auth.roles:each ?= "admin"'
SELF = '@request.auth.collectionName = "nats_users" && id = @request.auth.id'
LINKED = '@request.auth.collectionName = "users" && user = @request.auth.id'
OWN_OR_ADMIN = f"({ADMIN}) || ({SELF}) || ({LINKED})"

ROLES_UNTOUCHED = "@request.body.roles:isset = false"
ROLES_VALUES = ("admin", "moderator")

MAX_TEXT = 1_000_000
RULES = ("listRule", "viewRule", "createRule", "updateRule", "deleteRule")


class CollectionUnfit(Exception):
    """A collection exists in a shape that cannot be put right without losing something of its owner's."""


@dataclass(frozen=True, slots=True)
class Spec:
    """`relations` maps the relation fields to the collections they point to."""

    name: str
    kind: str
    rules: Mapping[str, str | None]
    fields: tuple[Definition, ...]
    relations: Mapping[str, str]
    indexes: tuple[str, ...] = ()


def text(name: str, *, hidden: bool = False, required: bool = False) -> Definition:
    return {"name": name, "type": "text", "max": MAX_TEXT, "hidden": hidden, "required": required}


def flag(name: str) -> Definition:
    return {"name": name, "type": "bool"}


def number(name: str) -> Definition:
    return {"name": name, "type": "number", "onlyInt": True}


def relation(name: str, *, required: bool) -> Definition:
    return {"name": name, "type": "relation", "maxSelect": 1, "required": required, "cascadeDelete": False}


def keys(*, signing: bool) -> tuple[Definition, ...]:
    own = (text("public_key"), text("private_key", hidden=True), text("seed", hidden=True))
    if not signing:
        return own
    return (
        *own,
        text("signing_public_key"),
        text("signing_private_key", hidden=True),
        text("signing_seed", hidden=True),
    )


STATUS = (text("sync_status"), text("sync_error"), {"name": "synced_at", "type": "date"})
TIMES: tuple[Definition, ...] = (
    {"name": "created", "type": "autodate", "onCreate": True, "onUpdate": False},
    {"name": "updated", "type": "autodate", "onCreate": True, "onUpdate": True},
)
NOBODY: Mapping[str, str | None] = dict.fromkeys(RULES)
ADMINS: Mapping[str, str | None] = dict.fromkeys(RULES, ADMIN)

OPERATOR = Spec(
    name="nats_system_operator",
    kind="base",
    rules=NOBODY,
    fields=(text("name"), *keys(signing=True), text("jwt"), *TIMES),
    relations={},
)
ACCOUNTS = Spec(
    name="nats_accounts",
    kind="base",
    rules=ADMINS,
    fields=(
        text("name", required=True),
        text("description"),
        *keys(signing=True),
        text("jwt"),
        flag("active"),
        flag("rotate_keys"),
        number("max_connections"),
        number("max_subscriptions"),
        number("max_data"),
        number("max_payload"),
        number("max_jetstream_disk_storage"),
        number("max_jetstream_memory_storage"),
        *STATUS,
        *TIMES,
    ),
    relations={},
)
ROLES = Spec(
    name="nats_roles",
    kind="base",
    rules=ADMINS,
    fields=(
        text("name", required=True),
        text("description"),
        text("publish_permissions"),
        text("subscribe_permissions"),
        number("max_subscriptions"),
        number("max_data"),
        number("max_payload"),
        *STATUS,
        *TIMES,
    ),
    relations={},
)
USERS = Spec(
    name="nats_users",
    kind="auth",
    rules={**ADMINS, "listRule": OWN_OR_ADMIN, "viewRule": OWN_OR_ADMIN},
    fields=(
        text("nats_username"),
        text("description"),
        relation("account_id", required=True),
        relation("role_id", required=True),
        relation("user", required=False),
        *keys(signing=False),
        text("jwt"),
        text("creds_file"),
        flag("regenerate"),
        flag("active"),
        *STATUS,
        *TIMES,
    ),
    relations={"account_id": "nats_accounts", "role_id": "nats_roles", "user": "users"},
)
KEYS = Spec(
    name="natsync_keys",
    kind="base",
    rules=NOBODY,
    fields=(
        text("kind", required=True),
        text("record", required=True),
        text("name"),
        text("account"),
        *keys(signing=True),
        text("jwt", hidden=True),
        text("content"),
        number("last_iat"),
        {"name": "revocations", "type": "json", "maxSize": 5_000_000},
        text("state"),
        text("handled"),
        *TIMES,
    ),
    relations={},
    indexes=("CREATE UNIQUE INDEX `natsync_keys_place` ON `natsync_keys` (`kind`, `record`)",),
)
SPECS = (OPERATOR, ACCOUNTS, ROLES, USERS, KEYS)


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
    kept = [corrected(spec.name, field, wanted.get(field["name"])) for field in existing]
    present = {field["name"] for field in kept}
    return [*kept, *(pointed(field, spec, ids) for field in spec.fields if field["name"] not in present)]


def corrected(collection: str, field: Definition, wanted: Definition | None) -> Definition:
    """An existing field stays as its owner has it, but hidden where it is secret and long enough to hold a token."""
    if wanted is None:
        return field
    if field["type"] != wanted["type"]:
        raise CollectionUnfit(f"{collection}.{field['name']} is of type {field['type']}, not {wanted['type']}.")
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
