"""No two answers that may differ share a key."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.caching.cache_class import AuthProjection, Never, Private, Public
from gateway.core.caching.cache_key import Member, caller_parts, digest, header_parts, joined, rule_name
from gateway.core.caching.read_plan import MAX_KEPT_QUERY_BYTES, MAX_PLANS, Plan, Plans
from tests.unit.gateway.schemas import POSTS, collection, of, schema

texts = st.text(st.sampled_from("0123456789:,a|\0é\ud800"), max_size=6)
parts = st.lists(texts, max_size=6)


@given(parts, parts)
def test_two_lists_of_parts_have_the_same_bytes_only_if_equal(one: list[str], other: list[str]) -> None:
    assert (joined(one) == joined(other)) == (one == other)


def member(collection: str = "c", record: str = "r", session: str = "s", **values: Any) -> Member:
    return Member(collection, record, session, values)


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.floats(0, 1), st.sampled_from(["", "a", "1", "null", "true"])
)
classes = st.sampled_from(
    [
        Public(),
        Private(),
        *(AuthProjection(frozenset(fields)) for fields in ((), ("id",), ("role",), ("id", "role", "level"))),
    ]
)
records = st.fixed_dictionaries({"role": scalars, "level": scalars})
members = st.builds(Member, *[st.sampled_from(["a", "b"])] * 3, records)
callers = st.tuples(classes, st.one_of(st.none(), members))


def meaning(cache_class: Any, caller: Member | None) -> object:
    """What the class says must be the same for two callers, with types told apart."""
    match cache_class:
        case Public():
            return "public"
        case Private():
            return ("private", caller and (caller.collection_id, caller.record_id, caller.session_id))
        case _:
            values = {**caller.values, "id": caller.record_id} if caller else {}
            kept = sorted((name, repr(values[name])) for name in cache_class.fields) if caller else None
            return ("projection", caller and caller.collection_id, repr(kept))


@given(callers, callers)
def test_callers_share_a_key_exactly_when_their_class_says_so(one: tuple[Any, Any], other: tuple[Any, Any]) -> None:
    assert (caller_parts(*one) == caller_parts(*other)) == (meaning(*one) == meaning(*other))


def test_a_member_without_a_needed_value_has_no_key() -> None:
    with pytest.raises(KeyError):
        caller_parts(AuthProjection(frozenset({"role"})), member())


def test_what_is_never_kept_has_no_key() -> None:
    with pytest.raises(ValueError, match="never kept"):
        caller_parts(Never("because"), None)


@pytest.mark.parametrize("header", ["X-Tenant-Id", "x_tenant_id", "-x--tenant.id-", "X-TENANT_ID"])
def test_a_header_is_spelt_in_rules_with_underscores(header: str) -> None:
    assert rule_name(header) == "x_tenant_id"


@given(st.lists(st.tuples(st.sampled_from(["X-A", "x-a", "X_A", "x-b"]), texts), max_size=4))
def test_headers_are_keyed_by_what_pocketbase_reads_or_not_at_all(sent: list[tuple[str, str]]) -> None:
    found = header_parts({"x_a", "x_b", "none"}, sent)
    spellings = {name.lower() for name, _ in sent if rule_name(name) == "x_a"}
    assert (found is None) == (len(spellings) > 1)
    if found is not None:
        first = {
            name: [value for header, value in sent if rule_name(header) == name][:1] for name in ("none", "x_a", "x_b")
        }
        assert found == [text for name, values in first.items() for text in (name, str(len(values)), *values)]


ROLE_RULE = "@request.auth.role = title && @request.headers.x_t = '' && @request.query.q = ''"


def keys(plan: Plan, targets: tuple[str, ...]) -> list[bytes | None]:
    people = [None, *(member(role=role, session=session) for role in ("a", "b", None, 1, "1") for session in "12")]
    return [
        plan.key(target, person, headers)
        for target in targets
        for person in people
        for headers in ((), (("X-T", "1"),))
    ]


def test_plans_of_different_reads_never_share_a_key() -> None:
    """Ten sessions of five roles, and guests: what differs in anything but the session has a key of its own."""
    found = [
        schema({**POSTS, "listRule": ROLE_RULE, "viewRule": ROLE_RULE}),
        schema({**POSTS, "listRule": "", "viewRule": ""}),
    ]
    plans = [
        Plans(schema).plan(of(schema, name), kind, raw, method=method, asker=of(schema, "users"))
        for schema in found
        for name in ("posts", "notes")
        for kind in ("list", "view")
        for raw in (b"", b"expand=post", b"expand=team&fields=id", b"q=1", b"q=")
        for method in ("GET", "HEAD")
    ]
    by_plan = [set(keys(plan, ("", "r1", "r2"))) for plan in {plan.prefix: plan for plan in plans}.values()]
    assert all(None not in kept for kept in by_plan)
    for one, other in itertools.combinations(by_plan, 2):
        assert one.isdisjoint(other)
    assert len(set(keys(plans[0], ("", "r1", "r2")))) == 3 * 2 * (1 + 5)


def test_two_spellings_of_one_read_share_a_key() -> None:
    found = schema()
    plans = Plans(found)
    spellings = (b"filter=title%3D1&page=1&_=9", b"page=0&filter=%74itle=1&filter=x", b"a=1;b&filter=title%3d1")
    assert len({plans.plan(of(found, "posts"), "list", raw).key("", None) for raw in spellings}) == 1


def test_a_new_schema_has_new_keys_even_for_the_same_rules() -> None:
    one, other = schema(), schema(collection("more"))
    assert Plans(one).plan(of(one, "posts"), "list", b"").key("", None) != Plans(other).plan(
        of(other, "posts"), "list", b""
    ).key("", None)


def test_plans_are_kept_and_bounded() -> None:
    found = schema()
    plans = Plans(found)
    first = plans.plan(of(found, "posts"), "list", b"")
    assert plans.plan(of(found, "posts"), "list", b"") is first
    for number in range(MAX_PLANS + 10):
        plans.plan(of(found, "notes"), "list", b"page=%d" % (number + 2))
    assert plans.plan(of(found, "posts"), "list", b"") is not first


def test_the_plan_of_an_overlong_query_is_made_anew() -> None:
    found = schema()
    plans = Plans(found)
    raw = b"fields=" + b"a" * MAX_KEPT_QUERY_BYTES
    one, other = (plans.plan(of(found, "posts"), "list", raw) for _ in range(2))
    assert one is not other
    assert one == other


def test_a_digest_is_short_whatever_the_key() -> None:
    assert len(digest(b"x" * 40000)) == 32
    assert digest(b"a") != digest(b"b")
