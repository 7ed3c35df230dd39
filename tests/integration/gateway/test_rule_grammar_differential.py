"""What PocketBase accepts as a filter or sort is accepted here, and nothing else."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.core.caching.read_clauses import Read, Refused, clause_of, clause_uses, clauses_of
from gateway.core.caching.rule_reach import Unresolvable
from gateway.core.collections.catalogue import Collection
from gateway.core.collections.schema import Schema
from gateway.core.front_door.query import Query
from gateway.core.rule_language.grammar import MAX_GROUP_DEPTH, parse_rule
from gateway.core.rule_language.tokens import Unparsable
from tests.direct_pocketbase import DirectPocketBase, asking
from tests.servers.pocketbase import pocketbase_server
from tests.thorough import examples


@dataclass(frozen=True, slots=True)
class Both:
    """One collection, known to PocketBase and to the gateway; another whose rule may be changed."""

    pocketbase: DirectPocketBase
    schema: Schema
    things: Collection
    ruled: Collection

    def accepts(self, name: str, value: str) -> bool:
        return self.pocketbase.ask(f"/api/collections/things/records?{name}={quote(value, safe='')}").status == 200

    def admits(self, name: str, value: str) -> bool:
        try:
            clauses_of(Read(self.things, "list", Query(((name, value),))), self.schema)
        except Refused:
            return False
        return True

    def saves(self, rule: str) -> bool:
        return self.pocketbase.tries("PATCH", "/api/collections/ruled", {"listRule": rule}).status == 200

    def reads(self, rule: str) -> bool:
        try:
            clause = clause_of("list rule", self.ruled, parse_rule(rule))
            clause_uses(clause, self.schema)
        except (Unparsable, Unresolvable):
            return False
        return True


def text(name: str, **options: Any) -> dict[str, Any]:
    return {"name": name, "type": "text", **options}


def to(name: str, collection: dict[str, Any], *, many: bool = False) -> dict[str, Any]:
    return {"name": name, "type": "relation", "collectionId": collection["id"], "maxSelect": 9 if many else 1}


@pytest.fixture(scope="module")
def both() -> Generator[Both]:
    with pocketbase_server() as server, asking(server) as pocketbase:

        def made(name: str, *fields: dict[str, Any], rule: str | None = "") -> dict[str, Any]:
            body = {"name": name, "type": "base", "fields": fields, "listRule": rule, "viewRule": rule}
            return pocketbase.control("POST", "/api/collections", body)

        cats = made("cats", text("name"), text("secret", hidden=True))
        locked = made("locked", text("name"), rule=None)
        guarded = made("guarded", text("name"), rule="@request.auth.id != ''")
        users = {"id": "_pb_users_auth_"}
        made(
            "things",
            *(text("t"), text("hid", hidden=True)),
            *({"name": name, "type": name} for name in ("number", "bool", "json", "date", "geoPoint", "email", "url")),
            {"name": "many", "type": "select", "values": ["a", "b"], "maxSelect": 2},
            {"name": "file", "type": "file", "maxSelect": 1},
            *(to("cat", cats), to("cats", cats, many=True), to("lock", locked), to("locks", locked, many=True)),
            *(to("guard", guarded), to("user", users)),
        )
        made("ruled", text("t"), text("hid", hidden=True), to("cat", cats), to("lock", locked))
        schema = Schema(pocketbase.rows())
        things, ruled = schema.find("things"), schema.find("ruled")
        assert things is not None
        assert ruled is not None
        yield Both(pocketbase, schema, things, ruled)


FIELD_PATHS = """
t id number bool json json.a json.a.0.b date geoPoint.lon email url many file cat cat.name cats.name cats.id cat.id
lock lock.id lock.name locks.id guard.name user.email user.name user.password user.tokenKey cat.secret hid
cat.things_via_cat.t things_via_cat.t cat.things_via_cats.t cat.things_via_nope.t cat.nope_via_cat.t TRUE true null
nope cat.nope t.x json.a-b cat.id.x collectionId created @now @todayStart @nope @request.auth.id cat.name.x
@collection.cats.name guard.things_via_guard.user.things_via_user.t lock.things_via_lock.t _ # @ a..b t.
cat.things_via_cat.cat.things_via_cat.cat.things_via_cat.t
cat.things_via_cat.cat.things_via_cat.cat.things_via_cat.cat.name
"""
FIELDS = FIELD_PATHS.split()
CONSTANTS = (
    "''",
    '""',
    "'a'",
    '"a\'b"',
    r"'a\'b'",
    r"'a\\'",
    "0",
    "-1",
    "1.5",
    "1.",
    ".5",
    "--1",
    "00",
    "null",
    "False",
)
OPERATORS = ("=", "!=", ">", ">=", "<", "<=", "~", "!~", "?=", "?!=", "?>", "?<=", "?~", "?!~", "==", "=>", "? =", "<>")
CALLS = (
    *("geoDistance(geoPoint.lon, geoPoint.lat, 1, -2.5)", "geoDistance(1,2,3)", "geoDistance(1,2,3,'4')", "foo(1)"),
    *(
        "strftime('%Y', date)",
        "strftime('%Y')",
        "strftime(date)",
        "strftime('%Y',date,'+1 day',)",
        "strftime('%Y',date,t)",
    ),
    *(
        "strftime('%Y', cats.name)",
        "strftime('%Y', hid)",
        "strftime( '%Y' // c\n, @now )",
        "strftime('%Y',strftime('%Y'))",
    ),
    *(
        "strftime (1)",
        "geoDistance(1 2 3 4)",
        "strftime(",
        "strftime('a','b','c','d','e','f','g','h','i','j')",
        "strftime()",
    ),
    *(
        "strftime('a','b','c','d','e','f','g','h','i','j','k')",
        "geoDistance(lock.name, 1, 2, 3)",
        "geoDistance(,1,2,3,4)",
    ),
)
MODIFIERS = (":lower", ":each", ":length", ":isset", ":changed", ":nope", ":", ":lower:each")
BLANKS = ("", " ", "\t", "\n", "  ", "//c\n", " // it's (\n", "\r", "/", "\u00a0")
SOUP = (*"()'\"\\/&|=!<>~?@#_.:,-+ \n\t{}[];%*", "&&", "||", "//", "é", "\u2028", "t", "1", "\x7f")

REQUEST_PATHS = """
@request.context @request.method @request.method:lower @request.auth.id @request.auth.nope.nope @request.auth
@request.auth.id:lower @request.query.a @request.query.a.b:isset @request.query.a:each @request.headers.x_y
@request.headers.x:lower @request.headers.x:length @request.nope @collection.cats.name @collection.CATS:alias.name
@collection.nope.name @collection.cats @collection.cats.secret @collection.locked.name @collection.things.cat.name
@now @yesterday lock.name cat.secret hid t null cat.things_via_cat.lock.name @collection.ruled.lock.name
"""
REQUEST_VALUES = REQUEST_PATHS.split()

usually = st.sampled_from([True] * 7 + [False])
fields = st.builds(str.__add__, st.sampled_from(FIELDS), st.sampled_from([""] * 6 + list(MODIFIERS)))
plain_fields = st.sampled_from(FIELDS[:20])
operands = usually.flatmap(
    lambda plain: (
        st.one_of(plain_fields, plain_fields, st.sampled_from(CONSTANTS[:6]))
        if plain
        else st.one_of(fields, fields, st.sampled_from(CONSTANTS), st.sampled_from(CALLS))
    )
)
blanks = usually.flatmap(lambda plain: st.sampled_from(BLANKS[:5] if plain else BLANKS))
operators = usually.flatmap(lambda plain: st.sampled_from(OPERATORS[:14] if plain else OPERATORS))
joins = usually.flatmap(lambda plain: st.sampled_from(("&&", "||") if plain else ("", "&", "|||", "and", ",")))
comparisons = st.tuples(blanks, operands, blanks, operators, blanks, operands, blanks).map("".join)


def grouped(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    joined = st.tuples(inner, blanks, joins, blanks, inner).map("".join)
    return st.one_of(joined, st.tuples(st.just("("), inner, st.just(")"), blanks).map("".join), joined)


def edited(original: str, edits: list[tuple[int, str, bool]]) -> str:
    for position, piece, replaces in edits:
        at = position % (len(original) + 1)
        original = original[:at] + piece + original[at + replaces :]
    return original


written = st.recursive(comparisons, grouped, max_leaves=5)
edits = st.lists(st.tuples(st.integers(0, 200), st.sampled_from(SOUP), st.booleans()), max_size=3)
filters = st.one_of(
    written,
    st.builds(edited, written, edits),
    st.lists(st.one_of(st.sampled_from(SOUP), operands, operators), max_size=8).map("".join),
)
names = st.one_of(fields, st.sampled_from(FIELDS), st.sampled_from(("@random", "@rowid", "@now", "", "1", "'t'")))
sort_fields = st.tuples(st.sampled_from(("", "-", "+", "--", " ", "- ")), names, st.sampled_from(("", " ", "\n")))
sorts = st.lists(sort_fields.map("".join), max_size=10).map(",".join)

against_pocketbase = settings(
    max_examples=examples(300),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@given(filter=filters)
@example(filter="&&".join(["t='a'"] * 200))
@example(filter="&&".join(["t='a'"] * 201))
@example(filter=f"({'&&'.join(['t=1'] * 100)})||({'||'.join(['t=1'] * 101)})")
@example(filter="t='" + "é" * 1748 + "'")
@example(filter="t='" + "é" * 1749 + "'")
@example(filter="t (number=1)")
@example(filter="t = (number=1) (t='a')")
@example(filter="(" * (MAX_GROUP_DEPTH - 1) + "t='a'" + ")" * (MAX_GROUP_DEPTH - 1))
@example(filter="(t='a' // )\n)")
@example(filter="t ~ '@collection.'")
@against_pocketbase
def test_a_filter_is_admitted_exactly_when_pocketbase_accepts_it(both: Both, filter: str) -> None:
    assert both.admits("filter", filter) == both.accepts("filter", filter)


@given(sort=sorts)
@example(sort=",".join(["t"] * 8))
@example(sort=",".join(["t"] * 9))
@example(sort="t" * 255)
@against_pocketbase
def test_a_sort_is_admitted_exactly_when_pocketbase_accepts_it(both: Both, sort: str) -> None:
    assert both.admits("sort", sort) == both.accepts("sort", sort)


rule_operands = st.one_of(
    st.sampled_from(REQUEST_VALUES), st.sampled_from(REQUEST_VALUES), st.sampled_from(CONSTANTS), st.sampled_from(CALLS)
)
rule_comparisons = st.tuples(rule_operands, blanks, operators, blanks, rule_operands).map("".join)


@given(rule=st.recursive(rule_comparisons, grouped, max_leaves=3))
@settings(against_pocketbase, max_examples=examples(60))
def test_a_rule_can_be_read_exactly_when_pocketbase_saves_it(both: Both, rule: str) -> None:
    assert both.reads(rule) == both.saves(rule)


@pytest.mark.parametrize(
    "filter", ["t='a'\0 || t='b'", "(" * MAX_GROUP_DEPTH + "t='a'" + ")" * MAX_GROUP_DEPTH], ids=["a NUL", "depth"]
)
def test_what_is_refused_beyond_pocketbase_is_this_and_is_only_not_cached(both: Both, filter: str) -> None:
    assert both.accepts("filter", filter)
    assert not both.admits("filter", filter)
