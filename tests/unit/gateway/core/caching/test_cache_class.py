"""Who may share an answer, and what ends it."""

import pytest

from gateway.core.caching.cache_class import AuthProjection, CacheClass, Never, Private, Public
from gateway.core.caching.read_plan import Plan, Plans
from gateway.core.collections.schema import Schema
from gateway.core.front_door.query import Kind
from tests.unit.gateway.schemas import LOCKED, POSTS, TEAMS, USERS, Row, collection, field, of, relation, schema


def plan(
    raw: str = "",
    *,
    of_schema: Schema | None = None,
    name: str = "posts",
    kind: Kind = "list",
    asker: str | None = "users",
) -> Plan:
    found = of_schema or schema()
    return Plans(found).plan(of(found, name), kind, raw.encode(), asker=of(found, asker) if asker else None)


def ruled(rule: str | None, *others: Row) -> Schema:
    return schema({**POSTS, "listRule": rule, "viewRule": rule}, *others)


def class_of(rule: str | None, asker: str | None = "users") -> CacheClass:
    return plan(of_schema=ruled(rule), asker=asker).verdict.cache_class


def depends_on(raw: str, **options: object) -> set[str]:
    found = plan(raw, **options)  # pyright: ignore[reportArgumentType]
    assert found.is_kept, found.verdict
    return {id.removeprefix("id_") for id in found.depends_on}


@pytest.mark.parametrize(
    "rule",
    [
        *("", "title != ''", "author.role = 'x' && team.lead.level > 1", "@collection.notes.text ?= title", "1 = 1"),
        *("@request.context = 'default'", "@request.method = 'GET'", "notes_via_post.text ?= 'a'", "data.x = 1"),
        *(
            "strftime('%Y', day) = '2020'",
            "geoDistance(data.x, data.y, 1, 2) < 5",
            "strftime('%Y', '2020-01-01') = title",
        ),
        *("secret = ''", "strftime('%Y', 12) = ''", "@request.query.q = title", "@request.headers.x_tenant = title"),
    ],
)
@pytest.mark.parametrize("asker", ["users", "staff", None])
def test_what_does_not_ask_for_the_caller_is_for_everybody(rule: str, asker: str | None) -> None:
    assert class_of(rule, asker) == Public()


@pytest.mark.parametrize(
    ("rule", "fields"),
    [
        ("@request.auth.id != ''", set[str]()),
        ("'' = @request.auth.id", set[str]()),
        ("@request.auth.id ?!= null", set[str]()),
        ("@request.auth.collectionName = 'users' && @request.auth.collectionId != ''", set[str]()),
        ("@request.auth.nope = 1 || @request.auth.nope.deeper = 1", set[str]()),
        ("author = @request.auth.id", {"id"}),
        ("@request.auth.id > ''", {"id"}),
        ("@request.auth.id = 'abc'", {"id"}),
        ("@request.auth.id != 0", {"id"}),
        ("@request.auth.id != title", {"id"}),
        ("@request.auth.id:lower != ''", {"id"}),
        ("@request.auth.role = 'x' || @request.auth.level:length > 1", {"role", "level"}),
        ("@request.auth.email ~ title && @request.auth.verified:isset = true", {"email", "verified"}),
        ("@request.auth.tier = 'x' && @request.auth.team = team", {"tier", "team"}),
        ("@request.auth.team.id = team", {"team"}),
        ("title = '' && (day > 1 || (author.role = @request.auth.role))", {"role"}),
        ("strftime('%Y', day, 'x') = '1' && geoDistance(@request.auth.level, 1, 2, 3) < 1", {"level"}),
    ],
)
def test_values_of_the_callers_own_record_are_what_it_is_keyed_on(rule: str, fields: set[str]) -> None:
    assert class_of(rule) == AuthProjection(frozenset(fields))


@pytest.mark.parametrize(
    "rule",
    [
        *("@request.auth.team.name = title", "@request.auth.tags:each ?= 'x'", "@request.auth.tags ~ 'x'"),
        *("@request.auth.meta.a = 1", "@request.auth.meta = 1", "@request.auth.posts_via_author.title ?= ''"),
        *("@request.auth.password != ''", "@request.auth.tokenKey != ''", "@request.auth.team.nope = 1"),
    ],
)
def test_more_than_single_values_is_for_one_session(rule: str) -> None:
    assert class_of(rule) == Private()


@pytest.mark.parametrize("rule", ["@request.auth.id != ''", "@request.auth.team.name = title"])
def test_what_a_member_was_told_ends_with_a_change_to_his_record(rule: str) -> None:
    """His token may have lapsed unseen, and what he was told was a guest's answer."""
    assert plan(of_schema=ruled(rule)).depends_on_filler
    assert not plan(of_schema=ruled(rule), asker=None).depends_on_filler
    assert not plan(of_schema=ruled("")).depends_on_filler
    assert not plan(of_schema=ruled("title = @now")).depends_on_filler


def test_whose_values_a_key_needs_is_told_beforehand() -> None:
    rule = "@request.auth.role = 'x' && author = @request.auth.id"
    assert plan(of_schema=ruled(rule)).fields_needed == {"role"}
    assert plan(of_schema=ruled("")).fields_needed == frozenset()


@pytest.mark.parametrize(
    "rule", ["@request.auth.role = 'x'", "@request.auth.team.name = title", "author = @request.auth.id"]
)
def test_guests_have_no_record_and_share_among_themselves_only(rule: str) -> None:
    assert class_of(rule, None) == AuthProjection(frozenset())


def test_a_field_that_only_another_auth_collection_has_is_null() -> None:
    assert class_of("@request.auth.level = 1", "staff") == AuthProjection(frozenset())


@pytest.mark.parametrize(
    "rule",
    [
        *(
            "@now > day",
            "day < @todayEnd",
            "@second = 1",
            "title = '' || title = @yesterday",
            "@request.body.title = ''",
        ),
        *(
            "strftime('%Y') = title",
            "strftime('%Y', 'now') = title",
            "strftime('%Y', title) = ''",
            "strftime('%Y', data.x) = ''",
        ),
        *("strftime('%Y', @request.auth.role) = ''", "strftime('%Y', @now) = ''", "strftime('%Y', null) = ''"),
        *(
            "strftime('%Y', author.role) = ''",
            "@request.headers.authorization != ''",
            "@request.headers.x_forwarded_for = ''",
        ),
        *(
            "title =",
            "nope = 1",
            "@request.nope = 1",
            "@collection.nope.x = 1",
            "foo(1) = 1",
            "title.x = 1",
            "@nope = 1",
        ),
        *("@request.auth.role.x = 1", "strftime(day) = 1", "strftime('a', day, day) = 1", "geoDistance(1,2,3) = 1"),
        *("geoDistance(1,2,3,'4') = 1", "@request.query.q:each = 1", "title:nope = 1", "@collection.notes = 1"),
        *(
            "strftime('%Y', strftime('%Y')) = 1",
            "strftime() = 1",
            "strftime('a','b','c','d','e','f','g','h','i','j','k') = 1",
        ),
    ],
)
def test_what_cannot_be_kept_or_understood_is_never_kept(rule: str) -> None:
    found = plan(of_schema=ruled(rule))
    assert isinstance(found.verdict.cache_class, Never)
    assert found.key("", None) is None
    assert found.verdict.why


def test_a_rule_for_superusers_is_never_kept_and_neither_is_what_superusers_see() -> None:
    assert isinstance(class_of(None), Never)
    assert class_of("", "_superusers") == Never("The caller is a superuser.")


@pytest.mark.parametrize("raw", ["sort=@random", "sort=title,-@random", "sort=%2B@random"])
def test_a_random_order_is_never_kept(raw: str) -> None:
    assert plan(raw).verdict.cache_class == Never("The order is random.")
    assert plan(raw, kind="view").verdict.cache_class == Public()


@pytest.mark.parametrize(
    "raw",
    [
        *(
            "filter=lock.name%3D1",
            "filter=secret%3D1",
            "filter=nope%3D1",
            "filter=%20",
            "filter=title",
            "sort=nope",
            "sort=,",
        ),
        *(
            "filter=title~'@request.'",
            "filter=@collection.notes.text%3D1",
            "sort=@request.auth.id",
            "sort=@now",
            "sort=secret",
        ),
        *(
            "filter=@now>day",
            "sort=" + ",".join(["title"] * 9),
            "sort=" + "x" * 300,
            "expand=" + ",".join(map(str, range(99))),
        ),
        *("filter=@request%3D1", "filter=" + "(" * 99 + "title=1" + ")" * 99),
    ],
)
def test_what_a_client_may_not_ask_is_left_to_pocketbase(raw: str) -> None:
    found = plan(raw)
    assert not found.is_kept
    assert found.query.pairs


def test_a_client_joins_only_through_list_rules_and_these_decide_too() -> None:
    guarded = schema({**TEAMS, "listRule": "@request.auth.role = 'x'"})
    for raw in (
        "filter=team.name%3D'a'",
        "sort=team.name",
        "filter=teams.id%3D'a'",
        "filter=true%3Dtrue%26%26team.name%3D1",
    ):
        assert plan(raw, of_schema=guarded).verdict.cache_class == AuthProjection(frozenset({"role"}))
    assert plan("filter=team%3D'a'%26%26team.id%3D'b'", of_schema=guarded).verdict.cache_class == Public()


def test_an_expanded_collection_decides_by_its_view_rule() -> None:
    guarded = schema({**TEAMS, "viewRule": "lead = @request.auth.id"})
    assert plan("expand=team", of_schema=guarded).verdict.cache_class == AuthProjection(frozenset({"id"}))
    assert plan("expand=nope,title,lock.nope", of_schema=guarded).verdict.cache_class == Public()


@pytest.mark.parametrize("rule", ["lead =", "nope = 1", "lead = @now"])
def test_an_expand_whose_rule_is_not_understood_is_never_kept(rule: str) -> None:
    assert not plan("expand=team", of_schema=schema({**TEAMS, "viewRule": rule})).is_kept


def test_a_hidden_relation_may_be_expanded_and_counts() -> None:
    hidden = {**relation("shadow", "id_teams"), "hidden": True}
    found = schema({**POSTS, "fields": [*POSTS["fields"], hidden]}, {**TEAMS, "viewRule": "lead = @request.auth.id"})
    assert plan("expand=shadow", of_schema=found).verdict.cache_class == AuthProjection(frozenset({"id"}))


@pytest.mark.parametrize(
    "raw", ["expand=author", "expand=teams.lead", "expand=team.users_via_team", "expand=team.users(team)"]
)
def test_records_of_an_auth_collection_show_their_email_to_their_owner(raw: str) -> None:
    assert plan(raw).verdict.cache_class == AuthProjection(frozenset({"id"}))
    assert plan(name="users").verdict.cache_class == AuthProjection(frozenset({"id"}))


def test_the_manage_rule_decides_who_sees_an_email() -> None:
    managed = schema({**USERS, "manageRule": "@request.auth.team.lead = id"})
    found = plan("expand=author", of_schema=managed)
    assert found.verdict.cache_class == Private()
    assert "id_teams" in found.depends_on


def test_headers_and_parameters_that_a_rule_reads_are_part_of_the_key() -> None:
    found = plan("q=1&other=2", of_schema=ruled("@request.headers.x_tenant = title && @request.query.q.deep = ''"))
    assert found.verdict.headers == {"x_tenant"}
    assert found.query.pairs == (("q", "1"),)
    keys = {
        found.key("", None, headers)
        for headers in ((), (("X-Tenant", "a"),), (("X-Tenant", "b"),), (("X-Tenant", ""),))
    }
    assert len(keys) == 4
    assert found.key("", None, (("X-Tenant", "a"), ("X_Tenant", "a"))) is None
    assert found.key("", None, (("Other", "a"),)) == found.key("", None)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("", {"posts"}),
        ("filter=title%3D'a'&sort=day", {"posts"}),
        ("filter=author.role%3D'a'", {"posts", "users"}),
        ("sort=teams.lead.role", {"posts", "teams", "users"}),
        ("filter=notes_via_post.text%3D'a'", {"posts", "notes"}),
        ("expand=notes_via_post,team.lead", {"posts", "notes", "teams", "users"}),
        ("expand=lock", {"posts", "locked"}),
        ("filter=geoDistance(author.level,1,2,3)<1", {"posts", "users"}),
    ],
)
def test_an_answer_depends_on_all_that_was_read_for_it(raw: str, expected: set[str]) -> None:
    assert depends_on(raw) == expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("team.lead.role = 'x'", {"posts", "teams", "users"}),
        ("@collection.notes:one.post.team.name ?= 'x'", {"posts", "notes", "teams"}),
        ("@request.auth.id = author", {"posts"}),
        ("@request.auth.role = 'x'", {"posts", "users"}),
        ("@request.auth.team.parent.name = 'x'", {"posts", "users", "teams"}),
        ("@request.auth.notes_via_post.text = 'x'", {"posts"}),
    ],
)
def test_rules_bring_in_what_they_read(rule: str, expected: set[str]) -> None:
    assert depends_on("", of_schema=ruled(rule)) == expected


def test_a_rule_of_the_expanded_and_of_the_joined_is_followed() -> None:
    found = schema({**TEAMS, "viewRule": "@collection.notes.text ?= name", "listRule": "lead.role = 'x'"})
    assert depends_on("expand=team", of_schema=found) == {"posts", "teams", "notes"}
    assert depends_on("sort=team.name", of_schema=found) == {"posts", "teams", "users"}


def test_a_view_depends_on_its_tables_wherever_it_is_touched() -> None:
    view = collection("seen", field("name"), type="view", viewQuery="SELECT id, name FROM teams JOIN notes")
    found = schema(view, {**POSTS, "listRule": "@collection.seen.name ?= title"})
    assert depends_on("", of_schema=found) == {"posts", "seen", "teams", "notes"}
    assert depends_on("", of_schema=found, name="seen") == {"seen", "teams", "notes"}
    clock = schema(
        {**view, "viewQuery": "SELECT id, date() FROM teams"}, {**POSTS, "listRule": "@collection.seen.name = ''"}
    )
    assert not plan(of_schema=clock).is_kept
    assert not plan(of_schema=clock, name="seen").is_kept


def test_what_reads_a_collection_of_pocketbases_own_is_never_kept() -> None:
    """The record feed does not tell of them: whoever a rule lets in by such a record would stay in."""
    own = collection("_externalAuths", field("recordRef"), system=True, listRule=None, viewRule=None)
    view = collection("providers", field("provider"), type="view", viewQuery="SELECT id, provider FROM _externalAuths")
    rule = "@collection._externalAuths.recordRef ?= @request.auth.id"
    found = schema(own, view, {**POSTS, "listRule": rule})
    for name in ("posts", "providers"):
        assert plan(of_schema=found, name=name).verdict.cache_class == Never(
            "Nobody is told of changes to _externalAuths."
        )


def test_an_ambiguous_name_is_never_guessed() -> None:
    odd = collection("id_teams", field("name"))
    assert not plan(of_schema=ruled("@collection.id_teams.name = ''", odd)).is_kept
    assert not plan(of_schema=ruled("team.name = ''", odd)).is_kept
    assert depends_on("expand=team", of_schema=schema(odd)) == {"posts", "teams", "id_teams"}


def test_files_are_shared_unless_one_of_the_collection_is_protected() -> None:
    docs = collection("docs", field("file", "file"), listRule=None, viewRule=None)
    safe = plan("thumb=1x1&token=t&x=1&filter=(", of_schema=schema(docs), name="docs", kind="file")
    assert safe.verdict.cache_class == Public()
    assert safe.query.pairs == (("thumb", "1x1"),)
    guarded = schema({**docs, "fields": [*docs["fields"], field("more", "file", protected=True)]})
    never = plan("token=t", of_schema=guarded, name="docs", kind="file")
    assert not never.is_kept
    assert never.query.pairs == (("token", "t"),)


def test_files_of_an_auth_collection_show_no_email() -> None:
    assert plan(name="users", kind="file").verdict.cache_class == Public()


def test_collections_that_hooks_enrich_are_never_kept_where_they_are_shown() -> None:
    found = schema()
    plans = Plans(found, frozenset({"id_teams"}))
    assert plans.plan(of(found, "posts"), "list", b"").is_kept
    for name, raw in (("teams", b""), ("posts", b"expand=team")):
        assert not plans.plan(of(found, name), "list", raw).is_kept


def test_every_decision_is_explained_without_anybodys_values() -> None:
    found = ruled(
        "@request.auth.role = 'x' && @request.query.q != '' && @request.headers.x_t = '' && @request.auth.id = ''"
    )
    told = plan("expand=author&filter=title%3D'a'&q=1", of_schema=found).explained(found)
    assert told["class"] == "auth-projection"
    assert told["keyed_by"] == ["id", "role"]
    assert told["headers"] == ["x_t"]
    assert told["parameters"] == ["q"]
    assert told["depends_on"] == ["posts", "users"]
    assert "the list rule of posts reads the caller's role." in told["why"]
    assert "the list rule of posts reads the parameter q." in told["why"]
    assert any("e-mail" in reason for reason in told["why"])
    assert plan().explained(schema())["why"] == ["Nothing that decides the answer depends on who asks."]
    assert plan(of_schema=schema(LOCKED), name="locked").explained(schema())["class"] == "never"
    private = ruled("@request.auth.team.name = ''")
    assert "more of the caller's record" in plan(of_schema=private).explained(private)["why"][0]
