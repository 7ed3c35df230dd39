"""PocketBase and a gateway of two workers, with people signed in to both, on which one random world follows another.

Each world changes the collections, rules and records of the one before, at the same names and ids. What is done past
the gateway is waited for. Two views of one record (the marker) take turns: one is open to all, of the other nothing may
be kept, and other rules for them come with whatever else is changed of the collections, so that an answer from memory
tells that the new rules are known. A worker that shows what the marker was changed to knows of what was changed before.
"""

import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.direct_pocketbase import Answer, Asking, DirectPocketBase
from tests.random_reads import Asked
from tests.random_worlds import (
    STAFF_FIELDS,
    STAFF_ID,
    TEAM_FIELDS,
    TEAMS,
    USER_FIELDS,
    Row,
    World,
    random_record,
    random_rule,
    random_view,
)

WORKERS = 2
PASSWORD = "password"
PATIENCE_SECONDS = 30
RULES = ("listRule", "viewRule", "createRule", "updateRule", "deleteRule")
STORED = ("apples", "pears", "plums", "users", "staff", "teams")
CHANGED = ("apples", "pears", "plums", "users", "users", "teams", "teams")

MARKER = {"id": "pbcworld0marker", "name": "marker", "type": "base", "fields": [{"name": "turn", "type": "number"}]}
MARKER_PATH = "/api/collections/marker/records/marker000000001"
MILESTONES = ("even", "odd")
OPEN, NEVER_KEPT = "", "@now != ''"


@dataclass(frozen=True, slots=True)
class Caller:
    """All empty for a guest. `token` is PocketBase's, `session` the gateway's."""

    collection: str = ""
    record_id: str = ""
    token: str = ""
    session: str = ""


@dataclass(slots=True)
class Stage:
    """`ruled` are the collections of the world that is on, `turn` is the value of the marker."""

    pocketbase: DirectPocketBase
    workers: Sequence[Asking]
    fixed: list[Row]
    callers: list[Caller]
    worlds: int = 0
    turn: int = 0
    ruled: list[Row] = field(default_factory=list[Row])

    def set_up(self, world: World) -> None:
        for name in ("users", "staff"):
            world.ids[name] = [caller.record_id for caller in self.callers if caller.collection == name]
        self._clear()
        self.ruled = [ruled_row(world, row) for row in (*self.fixed, *world.bases, random_view(world))]
        self._define()
        self._fill(world)
        self.settle()

    def ask(self, worker: Asking, asked: Asked, caller: Caller) -> Answer:
        return worker.ask(f"{asked.path}?{asked.query}", caller.session, headers=dict(asked.headers))

    def ask_directly(self, asked: Asked, caller: Caller) -> Answer:
        return self.pocketbase.ask(f"{asked.path}?{asked.query}", caller.token, headers=dict(asked.headers))

    def change(self, world: World) -> str:
        """One change, by whoever and on whichever way; afterwards every worker must know."""
        drawn = world.random.random()
        if drawn < 0.5:
            return self._change_through_gateway(world)
        told = self._change_rules(world) if drawn < 0.6 else self._change_directly(world)
        self.settle()
        return told

    def settle(self) -> None:
        """Twice, for PocketBase may tell of a change before it tells of the one just before it."""
        for _ in range(2):
            self.turn += 1
            self.pocketbase.control("PATCH", MARKER_PATH, {"turn": self.turn})
            self._wait()

    def _wait(self) -> None:
        """Until all answer from memory: then the next change can only be seen by who has heard of it."""
        path = f"/api/collections/{MILESTONES[self.worlds % 2]}/records/{MARKER_PATH.rpartition('/')[2]}"
        deadline = time.monotonic() + PATIENCE_SECONDS
        for worker in self.workers:
            answer = worker.ask(path)
            while answer.cache != "HIT" or answer.json["turn"] != self.turn:
                assert time.monotonic() < deadline, f"turn {self.turn} of world {self.worlds} is unknown: {answer}"
                answer = worker.ask(path)

    def _define(self) -> None:
        """Collections as in `ruled`, known to every worker."""
        self.worlds += 1
        rows = [*self.ruled, *milestones(self.worlds)]
        self.pocketbase.control("PUT", "/api/collections/import", {"collections": rows, "deleteMissing": True})
        self._wait()

    def _clear(self) -> None:
        for name in {row["name"] for row in self.ruled} & {"apples", "pears", "plums", "teams"}:
            self.pocketbase.control("DELETE", f"/api/collections/{name}/truncate")

    def _fill(self, world: World) -> None:
        made = [(name, id) for name in ("teams", *world.names) for id in world.ids[name]]
        people = [(name, id) for name in ("users", "staff") for id in world.ids[name]]
        there = [written("POST", f"/api/collections/{name}/records", {"id": id}) for name, id in made]
        for name, id in (*made, *people):
            shown = {"emailVisibility": world.random.random() < 0.5} if name in ("users", "staff") else {}
            body = {**random_record(world, name), **shown}
            there.append(written("PATCH", f"/api/collections/{name}/records/{id}", body))
        self.pocketbase.control("POST", "/api/batch", {"requests": there})

    def _change_rules(self, world: World) -> str:
        """Of one collection."""
        changed = world.random.choice((*world.names, "users", "teams"))
        self.ruled = [ruled_row(world, row) if row["name"] == changed else row for row in self.ruled]
        self._define()
        return f"other rules of {changed}"

    def _change_directly(self, world: World) -> str:
        method, path, body = random_write(world)
        return f"{method} {path} {body}: {self.pocketbase.tries(method, path, body).status}"

    def _change_through_gateway(self, world: World) -> str:
        method, path, body = random_write(world)
        worker, caller = world.random.choice(self.workers), world.random.choice(self.callers)
        answer = worker.ask(path, caller.session, method=method, body=body)
        return f"{method} {path} {body} by {caller.record_id} through the gateway: {answer.status}"


def random_write(world: World) -> tuple[str, str, Any]:
    name = world.random.choice(CHANGED)
    path = f"/api/collections/{name}/records"
    one = f"{path}/{world.random.choice(world.ids[name])}"
    match world.random.choice(("update", "update", "update", "delete", "create")):
        case "delete" if name in world.names:
            return "DELETE", one, None
        case "create" if name in world.names:
            return "POST", path, random_record(world, name)
        case _:
            fields = random_record(world, name)
            picked = world.random.sample(sorted(fields), min(2, len(fields)))
            return "PATCH", one, {field: fields[field] for field in picked}


def milestones(number: int) -> list[Row]:
    """The marker and its views, as they are in a world of that number."""
    views = [
        {
            "id": f"pbcworld00view{index}",
            "name": name,
            "type": "view",
            "viewQuery": "SELECT m.id, m.turn FROM marker m",
            "viewRule": OPEN if number % 2 == index else NEVER_KEPT,
        }
        for index, name in enumerate(MILESTONES)
    ]
    return [MARKER, *views]


def written(method: str, url: str, body: Row) -> Row:
    return {"method": method, "url": url, "body": body}


def ruled_row(world: World, row: Row) -> Row:
    """System collections and those of the staff keep their rules."""
    name = row["name"]
    if name == "scene":
        return {**row, **dict.fromkeys(("listRule", "viewRule"), "f0 != 'y' || @request.auth.role = f0")}
    if name not in (*world.names, "users", "teams"):
        return row
    if name == "users":
        free = dict.fromkeys(("listRule", "updateRule"), "")
        return {**row, **free, "viewRule": "level != 10", "manageRule": random_rule(world, name) or None}
    return {**row, **{rule: random_rule(world, name) for rule in RULES}}


@contextmanager
def staged(pocketbase: DirectPocketBase, workers: Sequence[Asking]) -> Generator[Stage]:
    """Everything that is there already stays."""
    rows = {row["name"]: row for row in pocketbase.rows()}
    cheap = [{**item, "cost": 4} if item["type"] == "password" else item for item in rows["users"]["fields"]]
    own = [item for item in cheap if item["system"]]
    free = {"listRule": "", "viewRule": ""}
    users = {**rows.pop("users"), "fields": [*own, *USER_FIELDS], **free}
    staff = {"id": STAFF_ID, "name": "staff", "type": "auth", "fields": [*own, *STAFF_FIELDS], **free}
    fixed = [users, staff, {**TEAMS, "fields": TEAM_FIELDS, **free}, *rows.values()]
    rows = [*fixed, *milestones(0)]
    pocketbase.control("PUT", "/api/collections/import", {"collections": rows, "deleteMissing": True})
    pocketbase.control("POST", "/api/collections/marker/records", {"id": MARKER_PATH.rpartition("/")[2]})
    yield Stage(pocketbase, workers, fixed, [Caller(), *signed_in(pocketbase, workers[0])])


def signed_in(pocketbase: DirectPocketBase, gateway: Asking) -> list[Caller]:
    return [
        signed_up(pocketbase, gateway, name, f"{name[0]}{index}@example.com")
        for name, number in (("users", 4), ("staff", 2))
        for index in range(number)
    ]


def signed_up(pocketbase: DirectPocketBase, gateway: Asking, collection: str, email: str) -> Caller:
    path = f"/api/collections/{collection}"
    body = {"email": email, "password": PASSWORD, "passwordConfirm": PASSWORD}
    id = pocketbase.control("POST", f"{path}/records", body)["id"]
    credentials = {"identity": email, "password": PASSWORD}
    tokens = [
        server.ask(f"{path}/auth-with-password", method="POST", body=credentials).json["token"]
        for server in (pocketbase, gateway)
    ]
    return Caller(collection, id, *tokens)
