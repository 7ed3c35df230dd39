"""What a read is taken for, remembered by its bytes for exactly as long as the rules hold by which it was found out."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.core.caching.cache_class import AuthProjection, Private, Public
from gateway.core.caching.kept_answer import KeptMember
from gateway.core.caching.read_plan import Plans
from gateway.core.front_door.pocketbase_route import find
from gateway.core.front_door.query import MalformedQuery
from gateway.core.operation import ReadAction
from gateway.core.rule_files.rule_set import LoadFault, Phase, Place, Rule, RuleSet
from gateway.core.sessions.principal import Principal
from gateway.reads.aim import MAX_KEYS, MAX_REMEMBERED, MAX_TAGS, Aimed, Aims, Ask, member_of
from tests.unit.gateway.schemas import POSTS, Row, collection, relation, schema

PATH = "/api/collections/posts/records"
WHERE = Place("rules.py", 1)


@dataclass(slots=True)
class Ground:
    """What is known of the rules of PocketBase, of the operator's own, and of limits."""

    plans: Plans | None = field(default_factory=lambda: Plans(schema()))
    current: RuleSet = field(default_factory=RuleSet)

    def rule(self, action: str, collection: str = "") -> str:
        return f"{collection}:{action}"


def aims_on(ground: Ground) -> Aims:
    return Aims(ground, ground, ground)


def principal(id: str = "ann", *, session: str = "", collection: str = "id_users") -> Principal:
    return Principal(id, collection, "users", id, frozenset(), "", session or f"s_{id}", 1, 0, 0)


def ask(path: str = PATH, query: str = "", caller: Principal | None = None) -> Ask:
    raw = path.encode()
    route = find("GET", raw)
    assert route
    return Ask(route, raw, query.encode(), [], "203.0.113.7", caller)


def scope_of(asked: Ask) -> dict[str, Any]:
    return {"raw_path": asked.raw_path, "query_string": asked.query}


def aimed(ground: Ground, asked: Ask) -> Aimed:
    found = aims_on(ground).aimed(asked)
    assert found
    return found


def rule(phase: Phase, collection: str, action: ReadAction) -> Rule:
    return Rule(phase, "r", WHERE, frozenset({collection}), frozenset({action}), lambda _context: None, is_async=False)


def ruled(*changed: Row, **rules: str | None) -> Ground:
    return Ground(Plans(schema({**POSTS, **rules}, *changed)))


OWN = "author = @request.auth.id"
BY_ROLE = "@request.auth.role = 'editor'"


def test_a_read_is_remembered_by_its_bytes_and_by_whose_kind_asked() -> None:
    aims, asked = aims_on(Ground()), ask(query="page=2&page=1")
    assert aims.known(scope_of(asked)) is None
    first = aims.aimed(asked)
    assert first
    place = aims.known(scope_of(asked))
    assert place
    assert place is first.place
    assert place.aimed == {"": first}
    assert aims.aimed(asked) is first
    other = aims.aimed(ask(query="page=2&page=1", caller=principal()))
    assert other
    assert place.aimed == {"": first, "id_users": other}
    assert aims.known(scope_of(ask(query="page=2"))) is None


@pytest.mark.parametrize("change", ["plans", "rules", "unknown"])
def test_nothing_is_remembered_once_other_rules_hold(change: str) -> None:
    ground = Ground()
    aims, asked = aims_on(ground), ask()
    before = aims.aimed(asked)
    match change:
        case "plans":
            ground.plans = Plans(schema())
        case "rules":
            ground.current = RuleSet()
        case _:
            ground.plans = None
    assert aims.known(scope_of(asked)) is None
    assert aims.aimed(asked) is not before
    assert (aims.aimed(asked) is None) == (change == "unknown")


@pytest.mark.parametrize("path", ["/api/collections/posts/records/p1", "/api/collections/POSTS/records/p1"])
def test_every_spelling_of_a_collection_asks_the_same_of_pocketbase(path: str) -> None:
    canonical, spelt = aimed(Ground(), ask(f"{PATH}/p1")), aimed(Ground(), ask(path))
    by_id = aimed(Ground(), ask("/api/collections/id_posts/records/p1"))
    assert {found.path for found in (canonical, spelt, by_id)} == {f"{PATH}/p1"}
    assert len({found.key(None, []) for found in (canonical, spelt, by_id)}) == 1
    assert (spelt.place.kind, spelt.place.target, spelt.place.rule) == ("view", "p1", "posts:view")


def test_the_query_is_asked_as_it_is_keyed() -> None:
    found = aimed(Ground(), ask(query="perPage=30&sort=-title&unknown=1&sort=title&page=1"))
    assert found.path == f"{PATH}?sort=-title"
    assert found.key(None, []) == aimed(Ground(), ask(query="sort=-title")).key(None, [])
    assert found.key(None, []) != aimed(Ground(), ask(query="sort=title")).key(None, [])


@pytest.mark.parametrize(
    ("path", "caller"),
    [
        ("/api/collections/unknown/records", None),
        ("/api/collections/_superusers/records", None),
        ("/api/health", None),
        (PATH, principal(collection="id_gone")),
    ],
)
def test_what_is_no_read_of_something_known_by_somebody_known_is_not_aimed(path: str, caller: Principal | None) -> None:
    assert aims_on(Ground()).aimed(ask(path, caller=caller)) is None


def test_a_query_that_could_be_read_in_two_ways_is_refused() -> None:
    with pytest.raises(MalformedQuery):
        aims_on(Ground()).aimed(ask(query="filter=%00"))


def test_an_overlong_read_is_worked_out_each_time() -> None:
    aims, asked = aims_on(Ground()), ask(query="filter=" + "title='x'||" * 200 + "title='x'")
    assert aims.aimed(asked)
    assert aims.known(scope_of(asked)) is None


def test_what_is_remembered_is_bounded_and_the_oldest_goes() -> None:
    aims = aims_on(Ground())
    for number in range(MAX_REMEMBERED + 1):
        aims.aimed(ask(f"{PATH}/p{number}"))
    assert aims.known(scope_of(ask(f"{PATH}/p0"))) is None
    assert aims.known(scope_of(ask(f"{PATH}/p1")))
    assert len(aims._places) == MAX_REMEMBERED


def test_who_may_share_an_answer_has_the_same_key_and_nobody_else() -> None:
    def keys(ground: Ground) -> list[str | None]:
        callers = [principal("ann", session="1"), principal("ann", session="2"), principal("bob"), None]
        made = list[str | None]()
        for caller in callers:
            found = aimed(ground, ask(f"{PATH}/p1", caller=caller))
            record = KeptMember({"role": "editor"})
            made.append(found.key(member_of(caller, record) if caller else None, []))
        return made

    for_all = keys(ruled(viewRule=""))
    assert len(set(for_all)) == 1
    by_role = keys(ruled(viewRule=BY_ROLE))
    assert (by_role[0], by_role[1]) == (by_role[2], by_role[2])
    assert by_role[3] != by_role[0]
    own = keys(ruled(viewRule=OWN))
    assert own[0] == own[1]
    assert len(set(own)) == 3
    private = keys(ruled(viewRule="author = @request.auth.team.lead.id"))
    assert len(set(private)) == 4


@pytest.mark.parametrize(
    ("rule", "kind", "is_same"),
    [("", Public, True), (BY_ROLE, AuthProjection, False), ("author = @request.auth.team.lead.id", Private, False)],
)
def test_keys_are_remembered_by_session_unless_all_get_the_same(rule: str, kind: type, is_same: bool) -> None:
    found = aimed(ruled(viewRule=rule), ask(f"{PATH}/p1", caller=principal()))
    assert isinstance(found.plan.verdict.cache_class, kind)
    assert found.is_same_for_all is is_same
    assert found.session(principal(session="mine")) == ("" if is_same else "mine")
    for number in range(MAX_KEYS * 2):
        found.remember(principal(session=str(number)), str(number), None)
        assert len(found.keys) <= MAX_KEYS


def rules(*loaded: Rule, faults: tuple[LoadFault, ...] = ()) -> RuleSet:
    return RuleSet(loaded, faults=faults)


@pytest.mark.parametrize("phase", ["before", "after"])
def test_what_a_rule_looks_at_is_not_kept(phase: Phase) -> None:
    ground = Ground(current=rules(rule(phase, "notes", "view"), rule(phase, "teams", "view")))
    aims = aims_on(ground)

    def why(path: str, query: str = "") -> str | None:
        found = aims.aimed(ask(path, query))
        assert found
        return aims.why_never(found)

    assert why("/api/collections/notes/records/n1")
    assert why("/api/collections/notes/records") is None
    assert why(PATH, "expand=team"), "an expanded record counts as a view"
    assert why(f"{PATH}/p1", "expand=team.lead")
    assert why(PATH, "expand=lock") is None
    assert why(f"{PATH}/p1") is None


def test_while_a_rule_file_is_at_fault_no_record_is_kept() -> None:
    aims = aims_on(Ground(current=rules(faults=(LoadFault(WHERE, "no python"),))))
    found = aims.aimed(ask())
    assert found
    assert aims.why_never(found)


def test_what_is_never_kept_or_depends_on_too_much_says_so() -> None:
    aims = aims_on(Ground())
    random = aims.aimed(ask(query="sort=@random"))
    assert random
    assert aims.why_never(random) == random.plan.verdict.why[0]
    others = [collection(f"c{number}") for number in range(MAX_TAGS + 1)]
    hub = collection("hub", *(relation(f"r{number}", f"id_c{number}") for number in range(MAX_TAGS + 1)))
    expand = ",".join(f"r{number}" for number in range(MAX_TAGS + 1))
    aims = aims_on(Ground(Plans(schema(hub, *others))))
    wide = aims.aimed(ask("/api/collections/hub/records", f"expand={expand}"))
    assert wide
    assert aims.why_never(wide) == "It depends on too many collections."


def test_a_file_is_a_place_of_its_own() -> None:
    found = aimed(Ground(), ask("/api/files/posts/p1/a.png", "thumb=10x10"))
    assert (found.place.kind, found.place.target) == ("file", "p1/a.png")
    assert found.path.startswith("/api/files/posts/p1/a.png")
