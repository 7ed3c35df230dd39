"""Who is said to share an answer gets the same one from PocketBase; what changes an answer is what it depends on."""

import json
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.caching.cache_key import Member
from gateway.core.caching.read_plan import Plan, Plans
from gateway.core.collections.catalogue import Collection
from gateway.core.collections.schema import Schema
from tests.direct_pocketbase import DirectPocketBase, asking
from tests.random_reads import Asked, random_read
from tests.random_worlds import (
    STAFF_FIELDS,
    STAFF_ID,
    TEAM_FIELDS,
    TEAMS,
    USER_FIELDS,
    World,
    random_record,
    random_rule,
    random_view,
    random_world,
)
from tests.servers.pocketbase import pocketbase_server
from tests.thorough import examples

READS = 25
CHANGES = 3
SHOWN = ("apples", "pears", "plums", "apples", "pears", "plums", "users", "teams", "scene")
STORED = ("apples", "pears", "plums", "users", "staff", "teams")
CHANGED = ("apples", "pears", "plums", "users", "users", "teams", "teams")


@dataclass(frozen=True, slots=True)
class Caller:
    """`collection` and `record_id` are empty for a guest."""

    collection: str
    record_id: str
    token: str


@dataclass(slots=True)
class Stage:
    """PocketBase with its callers, on which one world after the other is set up."""

    pocketbase: DirectPocketBase
    fixed: list[dict[str, Any]]
    callers: list[Caller]

    def set_up(self, world: World) -> Schema:
        self.pocketbase.control("PUT", "/api/collections/import", {"collections": self.fixed, "deleteMissing": True})
        for name in ("users", "staff"):
            world.ids[name] = [caller.record_id for caller in self.callers if caller.collection == name]
        ruled = [ruled_row(world, row) for row in (*self.fixed, *world.bases, random_view(world))]
        self.pocketbase.control("PUT", "/api/collections/import", {"collections": ruled, "deleteMissing": True})
        self._fill(world)
        return Schema(self.pocketbase.rows())

    def _fill(self, world: World) -> None:
        made = [(name, id) for name in ("teams", *world.names) for id in world.ids[name]]
        for name, id in made:
            self.pocketbase.tries("POST", f"/api/collections/{name}/records", {"id": id})
        people = [(name, id) for name in ("users", "staff") for id in world.ids[name]]
        for name, id in (*made, *people):
            shown = {"emailVisibility": world.random.random() < 0.5} if name in ("users", "staff") else {}
            body = {**random_record(world, name), **shown}
            self.pocketbase.control("PATCH", f"/api/collections/{name}/records/{id}", body)

    def stored(self) -> dict[str, list[dict[str, Any]]]:
        """Everything, as the superuser sees it."""
        return {
            name: self.pocketbase.control("GET", f"/api/collections/{name}/records?perPage=500&sort=id")["items"]
            for name in STORED
        }

    def change(self, world: World) -> None:
        name = world.random.choice(CHANGED)
        id = world.random.choice(world.ids[name])
        path = f"/api/collections/{name}/records/{id}"
        match world.random.choice(("update", "update", "update", "delete", "create")):
            case "delete" if name in world.names:
                self.pocketbase.tries("DELETE", path)
            case "create" if name in world.names:
                self.pocketbase.control("POST", f"/api/collections/{name}/records", random_record(world, name))
            case _:
                changed = random_record(world, name)
                picked = world.random.sample(sorted(changed), min(2, len(changed)))
                self.pocketbase.tries("PATCH", path, {field: changed[field] for field in picked})


def ruled_row(world: World, row: dict[str, Any]) -> dict[str, Any]:
    """System collections and those of the staff keep their rules."""
    name = row["name"]
    if name == "scene":
        return {**row, **dict.fromkeys(("listRule", "viewRule"), "f0 != 'y' || @request.auth.role = f0")}
    if name not in (*world.names, "users", "teams"):
        return row
    if name == "users":
        return {**row, "listRule": "", "viewRule": "level != 10", "manageRule": random_rule(world, name) or None}
    return {**row, "listRule": random_rule(world, name), "viewRule": random_rule(world, name)}


@dataclass(frozen=True, slots=True)
class Given:
    """What one caller was answered, and what the plan says of it."""

    asked: Asked
    caller: Caller
    plan: Plan
    key: bytes
    status: int
    answer: Any


@pytest.fixture(scope="module")
def stage() -> Generator[Stage]:
    with pocketbase_server() as server, asking(server) as pocketbase:
        yield staged(pocketbase)


def staged(pocketbase: DirectPocketBase) -> Stage:
    rows = {row["name"]: row for row in pocketbase.rows()}
    system = [row for row in rows.values() if row["system"]]
    cheap = [{**item, "cost": 4} if item["type"] == "password" else item for item in rows["users"]["fields"]]
    own = [item for item in cheap if item["system"]]
    free = {"listRule": "", "viewRule": ""}
    users = {**rows["users"], "fields": [*own, *USER_FIELDS], **free}
    staff = {"id": STAFF_ID, "name": "staff", "type": "auth", "fields": [*own, *STAFF_FIELDS], **free}
    fixed = [*system, users, staff, {**TEAMS, "fields": TEAM_FIELDS, **free}]
    pocketbase.control("PUT", "/api/collections/import", {"collections": fixed, "deleteMissing": True})
    people = [Caller("", "", "")]
    for name, number in (("users", 4), ("staff", 2)):
        for index in range(number):
            body = {"email": f"{name[0]}{index}@example.com", "password": "password", "passwordConfirm": "password"}
            id = pocketbase.control("POST", f"/api/collections/{name}/records", body)["id"]
            token = pocketbase.control("POST", f"/api/collections/{name}/impersonate/{id}", {"duration": 86400})[
                "token"
            ]
            people.append(Caller(name, id, token))
    return Stage(pocketbase, [row for row in fixed if row not in system] + system, people)


def collection_of(schema: Schema, name: str) -> Collection:
    found = schema.find(name)
    assert found is not None
    return found


def answers(stage: Stage, plans: Plans, reads: list[Asked]) -> list[Given]:
    """Every read by every caller for whom it would be kept."""
    records = {record["id"]: record for rows in stage.stored().values() for record in rows}
    given: list[Given] = []
    for asked in reads:
        for caller in stage.callers:
            plan, key = planned(plans, asked, caller, records.get(caller.record_id, {}))
            if key is not None:
                answer = stage.pocketbase.ask(
                    f"{asked.path}?{plan.query.encoded()}", caller.token, headers=dict(asked.headers)
                )
                given.append(Given(asked, caller, plan, key, answer.status, answer.json))
    return given


def planned(plans: Plans, asked: Asked, caller: Caller, record: dict[str, Any]) -> tuple[Plan, bytes | None]:
    schema = plans.schema
    asker = collection_of(schema, caller.collection) if caller.collection else None
    kind = "view" if asked.kind == "view" else "list"
    plan = plans.plan(collection_of(schema, asked.collection), kind, asked.query.encode(), asker=asker)
    member = Member(asker.id, caller.record_id, caller.token, record) if asker else None
    target = asked.record_id if asked.kind == "view" else ""
    return plan, plan.key(target, member, asked.headers)


def check_shared(given: list[Given]) -> None:
    first: dict[bytes, Given] = {}
    for one in given:
        other = first.setdefault(one.key, one)
        assert (one.status, one.answer) == (other.status, other.answer), explained(one, other)


def explained(one: Given, other: Given) -> str:
    return json.dumps(
        [str(one.asked), one.caller.collection, other.caller.collection, one.plan.verdict.why, str(other.asked)]
    )


def check_form(stage: Stage, given: list[Given]) -> None:
    """The form that is sent on means to PocketBase what the client's own spelling means."""
    for one in given[::5]:
        answer = stage.pocketbase.ask(
            f"{one.asked.path}?{one.asked.query}", one.caller.token, headers=dict(one.asked.headers)
        )
        assert (answer.status, answer.json) == (one.status, one.answer), (one.asked, one.plan.query)


def check_dependencies(before: list[Given], after: list[Given], changed: frozenset[str]) -> None:
    for old, new in zip(before, after, strict=True):
        if old.key == new.key and (old.status, old.answer) != (new.status, new.answer):
            assert not changed.isdisjoint(old.plan.depends_on), (old.asked, old.plan.depends_on, changed)


@given(seed=st.integers(0, 2**48))
@settings(
    max_examples=examples(10),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_callers_share_only_what_pocketbase_gives_all_of_them_and_changes_are_foreseen(stage: Stage, seed: int) -> None:
    world = random_world(seed)
    schema = stage.set_up(world)
    plans = Plans(schema)
    reads = [random_read(world, SHOWN) for _ in range(READS)]
    given = answers(stage, plans, reads)
    check_shared(given)
    check_form(stage, given)
    stored = stage.stored()
    for _ in range(CHANGES):
        stage.change(world)
        now = stage.stored()
        changed = frozenset(collection_of(schema, name).id for name in STORED if stored[name] != now[name])
        fresh = answers(stage, plans, reads)
        check_shared(fresh)
        check_dependencies(given, fresh, changed)
        given, stored = fresh, now
