"""Random collections, rules and records for PocketBase, all from one seed.

Values come from small sets, so that callers often hold the same ones and conditions are often met.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

Row = dict[str, Any]

RECORDS = 4
WORDS = ("", "x", "y", "X")
NUMBERS = (0, 1, 2, 10)
DATES = ("", "2024-01-01 00:00:00.000Z", "2025-06-01 12:00:00.000Z")
CHOICES = ("a", "b", "c")
FIELD_TYPES = (
    "text",
    "number",
    "bool",
    "select",
    "selects",
    "date",
    "json",
    "email",
    "relation",
    "relations",
    "hidden",
)
BASE_IDS = tuple(f"pbcworld000000{digit}" for digit in range(4))
VIEW_ID = "pbcworld000view"
TEAMS = {"id": "pbcworld00teams", "name": "teams", "type": "base"}
USERS_ID, STAFF_ID = "_pb_users_auth_", "pbcworld00staff"

TEAM_FIELDS: list[Row] = [
    {"name": "name", "type": "text"},
    {"name": "open", "type": "bool"},
    {"name": "lead", "type": "relation", "collectionId": USERS_ID, "maxSelect": 1},
]
USER_FIELDS: list[Row] = [
    {"name": "role", "type": "text"},
    {"name": "level", "type": "number"},
    {"name": "vip", "type": "bool"},
    {"name": "tier", "type": "select", "values": CHOICES, "maxSelect": 1},
    {"name": "tags", "type": "select", "values": CHOICES, "maxSelect": 3},
    {"name": "joined", "type": "date"},
    {"name": "meta", "type": "json"},
    {"name": "code", "type": "text", "hidden": True},
    {"name": "team", "type": "relation", "collectionId": TEAMS["id"], "maxSelect": 1},
    {"name": "boss", "type": "relation", "collectionId": USERS_ID, "maxSelect": 1},
]
STAFF_FIELDS: list[Row] = [{"name": "role", "type": "text"}, {"name": "level", "type": "number"}]


@dataclass(slots=True)
class World:
    """`ids` are those of the records, by the name of their collection."""

    random: Random
    bases: list[Row] = field(default_factory=list[Row])
    ids: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    @property
    def names(self) -> list[str]:
        return [row["name"] for row in self.bases]

    def row(self, name: str) -> Row:
        fixed = {"users": USER_FIELDS, "staff": STAFF_FIELDS, "teams": TEAM_FIELDS}
        if name in fixed:
            return {"name": name, "fields": fixed[name]}
        return next(row for row in self.bases if row["name"] == name)

    def name_of(self, id: str) -> str:
        return {USERS_ID: "users", STAFF_ID: "staff", TEAMS["id"]: "teams"}.get(id) or next(
            row["name"] for row in self.bases if row["id"] == id
        )


def random_field(random: Random, index: int) -> Row:
    match random.choice(FIELD_TYPES):
        case "select" | "selects" as type:
            return {
                "name": f"f{index}",
                "type": "select",
                "values": CHOICES,
                "maxSelect": 3 if type == "selects" else 1,
            }
        case "relation" | "relations" as type:
            return {
                "name": f"f{index}",
                "type": "relation",
                "collectionId": random.choice((*BASE_IDS[:3], USERS_ID, USERS_ID, TEAMS["id"])),
                "maxSelect": 3 if type == "relations" else 1,
                "cascadeDelete": random.random() < 0.4,
            }
        case "hidden":
            return {"name": f"f{index}", "type": "text", "hidden": True}
        case type:
            return {"name": f"f{index}", "type": type}


def random_world(seed: int) -> World:
    random = Random(seed)
    world = World(random)
    for id, name in zip(BASE_IDS[:3], ("apples", "pears", "plums"), strict=True):
        fields = [
            {"name": "f0", "type": "text"},
            *(random_field(random, index) for index in range(1, random.randint(3, 7))),
        ]
        world.bases.append({"id": id, "name": name, "type": "base", "fields": fields})
        world.ids[name] = [f"{name:0<14}{index}" for index in range(RECORDS)]
    world.ids["teams"] = ["teamteamteam001", "teamteamteam002"]
    return world


def random_view(world: World) -> Row:
    """A view of one collection or of two."""
    first, second = world.random.sample(world.names, 2)
    plain = f"SELECT a.id, a.f0, 1 AS one FROM {first} a"
    joined = f"SELECT a.id, a.f0, b.f0 AS other FROM {first} AS a LEFT JOIN {second} AS b ON b.f0 = a.f0 GROUP BY a.id"
    counted = f"SELECT a.id, a.f0, (SELECT COUNT(*) FROM {second}) AS many FROM `{first}` a"
    return {"id": VIEW_ID, "name": "scene", "type": "view", "viewQuery": world.random.choice((plain, joined, counted))}


def conditions(world: World, name: str, *, depth: int = 2) -> str:
    """A comparison that a client may make too: of the record, and of what it is related to."""
    random = world.random
    row = world.row(name)
    chosen = random.choice([item for item in row["fields"] if not item.get("hidden")])
    path, kind = chosen["name"], chosen["type"]
    if kind == "relation":
        target = world.name_of(chosen["collectionId"])
        if depth and random.random() < 0.6:
            return f"{path}.{conditions(world, target, depth=depth - 1)}"
        ids = world.ids.get(target, ())
        return f"{path} {random.choice(('=', '!=', '?='))} '{random.choice((*ids, ''))}'"
    if depth and (backs := back_relations(world, row)) and random.random() < 0.3:
        back, owner = random.choice(backs)
        return f"{back}.{conditions(world, owner, depth=depth - 1)}"
    return f"{path}{comparison(random, chosen)}"


def comparison(random: Random, chosen: Row) -> str:
    any_of = random.choice(("", "", "?"))
    match chosen["type"]:
        case "number":
            return f" {any_of}{random.choice(('=', '>', '<=', '!='))} {random.choice(NUMBERS)}"
        case "bool":
            return f" {any_of}= {random.choice(('true', 'false'))}"
        case "select" if chosen["maxSelect"] > 1:
            return random.choice(
                (f":each ?= '{random.choice(CHOICES)}'", f":length > {random.randint(0, 2)}", " ~ 'a'")
            )
        case "date":
            return f" {any_of}{random.choice(('>', '<='))} '{random.choice(DATES)}'"
        case "json":
            return random.choice((".k = 1", ".k != 'x'", " = ''", ".list.0 = 1"))
        case _:
            lower = random.choice(("", "", ":lower"))
            return f"{lower} {any_of}{random.choice(('=', '!=', '~', '!~'))} '{random.choice(WORDS)}'"


def back_relations(world: World, row: Row) -> list[tuple[str, str]]:
    """`x_via_y` and x, for each relation of a random collection that points here."""
    return [
        (f"{other['name']}_via_{item['name']}", other["name"])
        for other in world.bases
        for item in other["fields"]
        if item["type"] == "relation" and item["collectionId"] == row.get("id") and not item.get("hidden")
    ]


def of_caller(world: World, name: str) -> str:
    """A comparison with values of the caller's own record."""
    random = world.random
    relations = [item["name"] for item in world.row(name)["fields"] if item.get("collectionId") == USERS_ID]
    fixed = (
        "@request.auth.id != ''",
        "@request.auth.id = null",
        f"@request.auth.role = '{random.choice(WORDS)}'",
        f"@request.auth.role:lower = '{random.choice(WORDS)}'",
        f"@request.auth.level > {random.choice(NUMBERS)}",
        "@request.auth.vip = true",
        f"@request.auth.tier ?= '{random.choice(CHOICES)}'",
        f"@request.auth.joined > '{DATES[1]}'",
        "@request.auth.code = 'x'",
        "@request.auth.collectionName = 'users'",
        "@request.auth.email ~ 'u1'",
        "@request.auth.verified = true",
        f"@request.auth.nope = '{random.choice(WORDS)}'",
        "@request.auth.team != ''",
        "@request.auth.role:isset = true",
    )
    own = [f"@request.auth.id {random.choice(('=', '?='))} {relation}" for relation in relations]
    text = text_of(name)
    by_text = [f"@request.auth.role = {text}", f"{text} ~ @request.auth.role"]
    return random.choice((*fixed, *own, *own, *by_text, "@request.auth.id = id"))


def of_callers_world(world: World) -> str:
    """A comparison with what the caller's record points to, or with more of it than one value."""
    random = world.random
    return random.choice(
        (
            "@request.auth.team.open = true",
            f"@request.auth.team.name = '{random.choice(WORDS)}'",
            "@request.auth.boss.role = 'x'",
            "@request.auth.boss.team.name != ''",
            "@request.auth.tags:each ?= 'a'",
            "@request.auth.tags:length > 1",
            "@request.auth.meta.k = 1",
            "@request.auth.teams_via_lead.open ?= true",
            "@request.auth.team.id = ''",
            "@request.auth.tokenKey != ''",
        )
    )


def text_of(name: str) -> str:
    """A text field that a collection has."""
    return {"users": "role", "staff": "role", "teams": "name"}.get(name, "f0")


def of_request(world: World, name: str) -> str:
    random = world.random
    text, other = text_of(name), random.choice(world.names)
    return random.choice(
        (
            *(f"@request.query.q = {text}", "@request.query.q != 'x'", f"@request.query.q = {text}"),
            "@request.query.page:isset = true",
            "@request.query.unknown.deep:isset = false",
            *(f"@request.headers.x_tenant = {text}", "@request.headers.x_tenant != 'x'"),
            "@request.headers.x_tenant:isset = false",
            "@request.context = 'default'",
            "@request.context = 'expand'",
            "@request.method = 'GET'",
            f"@request.body.{text} = ''",
            f"{text} < @now",
            f"strftime('%Y', {text}) != '2020'",
            *(f"@collection.{other}.f0 ?= '{random.choice(WORDS)}'", f"@collection.{other}.f0 ?= {text}"),
            f"@collection.{other}:one.f0 ?= {text}",
            "@collection.users.role ?= 'x'",
            "@collection.teams.open ?= true",
        )
    )


def random_rule(world: World, name: str, *, may_be_locked: bool = True) -> str | None:
    random = world.random
    drawn = random.random()
    if drawn < 0.3:
        return ""
    if may_be_locked and drawn < 0.36:
        return None
    kinds = random.choices(
        ("records", "caller", "world", "request"), weights=(3, 4, 2.5, 3), k=random.choice((1, 1, 2, 3))
    )
    makers = {
        "records": lambda: conditions(world, name),
        "caller": lambda: of_caller(world, name),
        "world": lambda: of_callers_world(world),
        "request": lambda: of_request(world, name),
    }
    terms = [makers[kind]() for kind in kinds]
    return nested(random, terms)


def nested(random: Random, terms: Sequence[str]) -> str:
    rule = terms[0]
    for term in terms[1:]:
        rule = f"({rule}) {random.choice(('&&', '||', '||'))} {term}"
    return rule


VALUES: dict[str, Sequence[Any]] = {
    "number": NUMBERS,
    "bool": (True, False),
    "date": DATES,
    "json": (None, {"k": 1}, {"k": "x", "list": [1]}, [1], "x"),
    "email": ("", "a@example.com", "b@example.com"),
}


def random_value(world: World, item: Row, ids: Sequence[str]) -> Any:
    random = world.random
    if item["type"] not in ("select", "relation"):
        return random.choice(VALUES.get(item["type"], WORDS))
    choices = CHOICES if item["type"] == "select" else ids
    if item["maxSelect"] > 1:
        return random.sample(choices, min(len(choices), random.randint(0, 2)))
    return random.choice((*choices, ""))


def random_record(world: World, name: str) -> Row:
    return {
        item["name"]: random_value(
            world, item, world.ids.get(world.name_of(item["collectionId"]), ()) if "collectionId" in item else ()
        )
        for item in world.row(name)["fields"]
    }
