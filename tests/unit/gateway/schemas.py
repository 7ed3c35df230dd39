"""Rows as `/api/collections` has them, for tests that need a schema and no server."""

from typing import Any

from gateway.core.collections.catalogue import Collection
from gateway.core.collections.schema import Schema

Row = dict[str, Any]


def field(name: str, type: str = "text", **options: Any) -> Row:
    return {"name": name, "type": type, "hidden": False, **options}


def relation(name: str, target: str, *, many: bool = False) -> Row:
    return field(name, "relation", collectionId=target, maxSelect=5 if many else 1)


def collection(name: str, *fields: Row, type: str = "base", **options: Any) -> Row:
    """Its id is `id_NAME`; anybody may read it."""
    everywhere = {"id": f"id_{name}", "name": name, "type": type, "system": False, "listRule": "", "viewRule": ""}
    return {**everywhere, "fields": [field("id"), *fields], **options}


def auth(name: str, *fields: Row, **options: Any) -> Row:
    system = (field("password", "password", hidden=True), field("tokenKey", hidden=True), field("email", "email"))
    flags = (field("emailVisibility", "bool"), field("verified", "bool"))
    return collection(name, *system, *flags, *fields, type="auth", **options)


def of(schema: Schema, name: str) -> Collection:
    found = schema.find(name)
    assert found is not None
    return found


USERS = auth(
    "users",
    field("role"),
    field("level", "number"),
    field("tags", "select", maxSelect=3),
    field("tier", "select", maxSelect=1),
    field("meta", "json"),
    relation("team", "id_teams"),
)
STAFF = auth("staff", field("role"))
SUPERUSERS = auth("_superusers", system=True, listRule=None, viewRule=None)
TEAMS = collection("teams", field("name"), relation("lead", "id_users"), relation("parent", "id_teams"))
LOCKED = collection("locked", field("name"), listRule=None, viewRule=None)
POSTS = collection(
    "posts",
    field("title"),
    field("secret", hidden=True),
    field("data", "json"),
    field("day", "date"),
    relation("author", "id_users"),
    relation("team", "id_teams"),
    relation("teams", "id_teams", many=True),
    relation("lock", "id_locked"),
)
NOTES = collection("notes", field("text"), relation("post", "id_posts"))
ROWS = (USERS, STAFF, SUPERUSERS, TEAMS, LOCKED, POSTS, NOTES)


def schema(*changed: Row) -> Schema:
    """The collections above, those of the same name replaced."""
    rows = {row["name"]: row for row in (*ROWS, *changed)}
    return Schema(rows.values())
