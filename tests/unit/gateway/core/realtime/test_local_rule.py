"""What is decided on an image alone, and what is left to PocketBase; the leak test holds this against the real one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.realtime.local_rule import Ground, LocalRule, Undecidable, local_rule
from gateway.core.rule_language.grammar import parse_client_filter, parse_rule
from tests.unit.gateway import schemas

SCHEMA = schemas.schema(
    schemas.collection(
        "items",
        schemas.field("title"),
        schemas.field("secret", hidden=True),
        schemas.field("level", "number"),
        schemas.field("open", "bool"),
        schemas.field("data", "json"),
        schemas.field("day", "date"),
        schemas.relation("author", "id_users"),
        schemas.relation("teams", "id_teams", many=True),
    )
)
ITEMS, USERS = schemas.of(SCHEMA, "items"), schemas.of(SCHEMA, "users")
RECORD: dict[str, Any] = {"id": "r1", "title": "a", "secret": "s", "level": 2, "open": True, "author": "u1"}
USER: dict[str, Any] = {"id": "u1", "role": "staff", "level": 3, "verified": True}


def rule(text: str, *, asker: bool = True, is_client: bool = False) -> LocalRule:
    parse = parse_client_filter if is_client else parse_rule
    return local_rule(parse(text), Ground(SCHEMA, ITEMS, USERS if asker else None, is_client=is_client))


@pytest.mark.parametrize(
    "text",
    [
        "title = 'a'",
        "author = @request.auth.id",
        "@request.auth.id = author.id",
        "level < @request.auth.level && open = true",
        "title != 'a' || @request.auth.role = 'staff'",
        "title = 'x' && open = true || level >= 2",
        "(title = 'x' || title = 'a') && level <= 2",
        "@request.auth.verified = true && @request.auth.collectionName = 'users'",
        "@request.context = 'realtime' && @request.method = 'GET'",
        "@request.auth.nothing = '' && null = ''",
        "secret = 's'",
    ],
)
def test_what_is_true_of_the_record_and_the_caller_is_allowed(text: str) -> None:
    assert rule(text).allows(RECORD, USER)


@pytest.mark.parametrize(
    "text", ["title = 'A'", "level > @request.auth.level", "open = false", "title = 'a' && (level = 1 || open = false)"]
)
def test_what_is_not_true_is_not(text: str) -> None:
    assert not rule(text).allows(RECORD, USER)


@pytest.mark.parametrize(
    ("text", "is_allowed"),
    [
        ("author = @request.auth.id", False),
        ("@request.auth.id != ''", False),
        ("@request.auth.verified = true", False),
        ("@request.auth.verified != true", True),
        ("level > @request.auth.level", False),
        ("level != @request.auth.level", True),
    ],
)
def test_a_guest_has_no_values(text: str, is_allowed: bool) -> None:
    assert rule(text, asker=False).allows(RECORD, {}) == is_allowed


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("level > 1", {"level": "2"}),
        ("level >= @request.auth.level", {"level": True}),
        ("level = 2", {"level": "2"}),
        ("level != 3", {"level": "2"}),
        ("author = @request.auth.id", {"author": ["u1"]}),
        ("author != @request.auth.id", {"author": ["u2"]}),
        ("title != 'b'", {"title": 1}),
        ("open != false", {"open": "yes"}),
    ],
)
def test_nothing_is_true_of_a_value_of_another_kind_than_its_field_had(text: str, changed: dict[str, Any]) -> None:
    assert not rule(text).allows({**RECORD, **changed}, USER)


def test_a_record_without_an_owner_is_the_guests_as_in_pocketbase() -> None:
    assert rule("author = @request.auth.id", asker=False).allows({**RECORD, "author": ""}, {})


@pytest.mark.parametrize(
    "text",
    [
        "title ~ 'a'",
        "title > 'a'",
        "level = '2'",
        "open = 1",
        "title:lower = 'a'",
        "teams ?= 'x'",
        "teams.id ?= 'x'",
        "author.role = 'staff'",
        "data.a = 'x'",
        "data = 'x'",
        "day = '2024-01-01'",
        "day < @now",
        "@request.auth.team.name = 'x'",
        "@request.auth.tags = 'x'",
        "@request.auth.meta.a = 'x'",
        "@request.headers.x = 'a'",
        "@request.query.x = 'a'",
        "@request.body.x:isset = true",
        "@collection.users.id = 'x'",
        "strftime('%Y', day) = '2024'",
        "@request.auth.tokenKey = 'x'",
        "missing = 'x'",
    ],
)
def test_whatever_takes_more_than_the_record_is_left_to_pocketbase(text: str) -> None:
    with pytest.raises(Undecidable):
        rule(text)


@pytest.mark.parametrize("text", ["secret = 's'", "@request.auth.id = 'u1'"])
def test_a_client_decides_nothing_by_what_it_may_not_see(text: str) -> None:
    with pytest.raises(Undecidable):
        rule(text, is_client=True)


def test_a_client_searches_no_address_here() -> None:
    ground = Ground(SCHEMA, USERS, None, is_client=True)
    with pytest.raises(Undecidable):
        local_rule(parse_client_filter("email = 'a@b.c'"), ground)


def test_what_decides_of_the_caller_is_known_and_so_is_the_value_that_pins() -> None:
    found = rule("author = @request.auth.id && level < @request.auth.level")
    assert (found.reads, found.pin) == ({"id", "level"}, ("author", "id"))
    assert rule("author = @request.auth.id || open = true").pin is None
    assert rule("author != @request.auth.id").pin is None


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=6))
def test_and_binds_tighter_than_or(parts: list[tuple[bool, bool]]) -> None:
    """Against Python's own precedence."""
    text, meaning = "", ""
    for index, (value, is_or) in enumerate(parts):
        if index:
            text, meaning = text + (" || " if is_or else " && "), meaning + (" or " if is_or else " and ")
        text, meaning = text + f"title {'=' if value else '!='} 'a'", meaning + str(value)
    assert rule(text).allows(RECORD, {}) == eval(meaning)
