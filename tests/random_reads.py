"""Random reads of a random world, spelt in the many ways of clients."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from urllib.parse import quote

from tests.random_worlds import STAFF_ID, TEAMS, USERS_ID, VIEW_ID, WORDS, World, back_relations, conditions, nested

ODD: Mapping[str, Sequence[str]] = {
    "filter": (
        "f0 =",
        "nope = 'x'",
        "((id != ''))",
        "@request.auth.id != ''",
        "@collection.users.id != ''",
        "tokenKey != ''",
        "password != ''",
        "email ~ 'u1'",
        "id != @now",
        "id < @yesterday",
        "id ~ '%' || id ~ '_'",
        "1 = 1",
        "id = null",
        "id = 'a\\'b'",
        'id != "x" // comment',
        "id:length > 0",
        "geoDistance(1, 2, 3, 4) > 1",
    ),
    "sort": ("nope", "tokenKey", "@random,id", "id.id", "+id", " id", "-@rowid", "collectionName", ","),
    "fields": ("", "*", "nope", "*:excerpt(2,true)", "expand.*", "-id"),
    "expand": ("nope", "*", "f1.", " f1", "f1,f1", "f1.f2.f3.f4.f5.f6.f7"),
    "page": ("-1", "99999999999999999999", "1.5", " 1", ""),
    "perPage": ("-1", "99999999999999999999", "1.5", " 2", ""),
    "skipTotal": ("", "yes", "0"),
}
HEADERS = ((), (), (("X-Tenant", "x"),), (("X-Tenant", "y"),), (("X_Tenant", "x"),))


@dataclass(frozen=True, slots=True)
class Asked:
    """One read as a client spells it: `query` without its question mark."""

    collection: str
    kind: str
    record_id: str
    query: str
    headers: tuple[tuple[str, str], ...]

    @property
    def path(self) -> str:
        return f"/api/collections/{self.collection}/records" + (f"/{self.record_id}" if self.kind == "view" else "")


def random_expand(world: World, name: str) -> str:
    row = world.row(name)
    steps = [(item["name"], world.name_of(item["collectionId"])) for item in row["fields"] if "collectionId" in item]
    steps += back_relations(world, row)
    if not steps:
        return "nothing"
    step, target = world.random.choice(steps)
    return f"{step}.{random_expand(world, target)}" if world.random.random() < 0.35 else step


def random_parameters(world: World, name: str) -> dict[str, str]:
    random = world.random
    found: dict[str, str] = {}
    if random.random() < 0.5:
        found["filter"] = nested(random, [conditions(world, name) for _ in range(random.choice((1, 1, 2)))])
    if random.random() < 0.4:
        found["sort"] = ",".join(
            random.choice(("", "-")) + random_sort(world, name) for _ in range(random.choice((1, 2)))
        )
    if random.random() < 0.5:
        found["expand"] = ",".join(random_expand(world, name) for _ in range(random.choice((1, 1, 2))))
    if random.random() < 0.2:
        found["fields"] = random.choice(
            ("id,f0", "*,expand.*.id", "id,expand", "f0:excerpt(1),id", "collectionName,email")
        )
    for parameter, values in (
        ("page", ("1", "0", "2", "+1")),
        ("perPage", ("30", "1", "0", "2000")),
        ("skipTotal", ("1", "f", "True")),
    ):
        if random.random() < 0.15:
            found[parameter] = random.choice(values)
    for parameter in ("q", "unknown"):
        if random.random() < 0.25:
            found[parameter] = random.choice(WORDS)
    return with_oddities(random, found)


def with_oddities(random: Random, parameters: Mapping[str, str]) -> dict[str, str]:
    """Some of the parameters as hardly anybody says them, or as PocketBase refuses them."""
    odd = {name: random.choice(values) for name, values in ODD.items() if random.random() < 0.03}
    return {**parameters, **odd}


def random_sort(world: World, name: str) -> str:
    item = world.random.choice([item for item in world.row(name)["fields"] if not item.get("hidden")])
    if item["type"] == "relation" and world.random.random() < 0.5:
        return f"{item['name']}.id"
    return world.random.choice(
        (item["name"], item["name"], "id", "id", "@rowid", *(["@random"] if world.random.random() < 0.2 else []))
    )


def spelt(random: Random, parameters: dict[str, str]) -> str:
    """The same query in one of many ways."""
    pairs = list(parameters.items())
    random.shuffle(pairs)
    texts = [f"{name}={spelt_value(random, value)}" for name, value in pairs]
    noise = [f"{name}=zz" for name, _ in pairs if random.random() < 0.2] + random.choice(
        ([], [], ["a=1;b=2"], ["%zz=1"], ["=3"], [""])
    )
    return "&".join(itertools.chain(texts, noise))


def spelt_value(random: Random, value: str) -> str:
    escaped = quote(value, safe=random.choice(("", "=@:,.()~!'")))
    return escaped.replace("%20", "+") if random.random() < 0.5 else escaped


def random_read(world: World, names: Sequence[str]) -> Asked:
    random = world.random
    name = random.choice(names)
    of = name if name != "scene" else random.choice(world.names)
    parameters = with_oddities(random, {}) if name == "scene" else random_parameters(world, name)
    kind = random.choice(("list", "list", "view"))
    record_id = random.choice((*world.ids.get(of, ()), "nosuchrecord000"))
    spelling = random.choice((name, name, name, name.upper(), ids_of(world)[name]))
    return Asked(spelling, kind, record_id, spelt(random, parameters), random.choice(HEADERS))


def ids_of(world: World) -> dict[str, str]:
    """Of the collections that are read."""
    fixed = {"users": USERS_ID, "staff": STAFF_ID, "teams": TEAMS["id"], "scene": VIEW_ID}
    return {**fixed, **{row["name"]: row["id"] for row in world.bases}}
