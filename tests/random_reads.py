"""Random reads of a random world, spelt in the many ways of clients."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from urllib.parse import quote

from tests.random_worlds import WORDS, World, back_relations, conditions, nested


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
    return found


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
    parameters = random_parameters(world, name) if name != "scene" else {}
    kind = random.choice(("list", "list", "view"))
    record_id = random.choice((*world.ids.get(of, ()), "nosuchrecord000"))
    headers = random.choice(((), (), (("X-Tenant", "x"),), (("X-Tenant", "y"),)))
    return Asked(name, kind, record_id, spelt(random, parameters), headers)
