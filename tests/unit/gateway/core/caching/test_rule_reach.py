"""Where the path of a rule or filter leads."""

import pytest

from gateway.core.caching.rule_reach import Reach, Unresolvable, View, reach
from tests.unit.gateway.schemas import LOCKED, collection, field, of, relation, schema

CLIENT = View(is_client=True)
LENIENT = View(is_lenient=True)


def reached(path: str, view: View = View(), start: str = "posts") -> Reach:  # noqa: B008
    found = schema()
    return reach(found, of(found, start), path.split("."), view)


def names(found: Reach) -> list[str]:
    return [collection.name for collection in found.joined]


@pytest.mark.parametrize(
    ("path", "joined", "last"),
    [
        ("title", [], "title"),
        ("title:lower", [], "title"),
        ("data.a.0.b", [], "data"),
        ("author", [], "author"),
        ("author.id", [], "author"),
        ("author.role", ["users"], "role"),
        ("teams.id", ["teams"], "id"),
        ("teams.lead.team.name", ["teams", "users", "teams"], "name"),
        ("notes_via_post.text", ["notes"], "text"),
        ("author.posts_via_author.title", ["users", "posts"], "title"),
        ("secret", [], "secret"),
        ("author.password", ["users"], "password"),
        ("lock.name", ["locked"], "name"),
    ],
)
def test_a_rule_goes_through_everything(path: str, joined: list[str], last: str) -> None:
    found = reached(path)
    assert names(found) == joined
    assert found.field is not None
    assert found.field.name == last


@pytest.mark.parametrize(
    "path",
    [
        *(
            "nope",
            "title.x",
            "author.nope",
            "notes_via_nope.text",
            "nope_via_post.text",
            "notes_via_text.text",
            "a_via_b",
        ),
        *("posts_via_author.title", "title:nope", "title:lower:lower", "author.id.x"),
        "team.parent.parent.parent.parent.parent.parent.name",
    ],
)
def test_what_leads_nowhere_is_refused(path: str) -> None:
    with pytest.raises(Unresolvable):
        reached(path)


def test_six_relations_may_be_passed() -> None:
    assert len(reached("team.parent.parent.parent.parent.parent.name").joined) == 6


@pytest.mark.parametrize("path", ["secret", "author.password", "author.tokenKey", "lock.name", "team.lead.password"])
def test_a_client_sees_no_hidden_field_and_passes_no_locked_collection(path: str) -> None:
    with pytest.raises(Unresolvable):
        reached(path, CLIENT)


@pytest.mark.parametrize("path", ["lock", "lock.id", "author.role", "data.x"])
def test_a_client_may_ask_for_what_it_could_read(path: str) -> None:
    assert reached(path, CLIENT).field is not None


@pytest.mark.parametrize("path", ["nope", "nope.nope", "team.nope", "posts_via_team.title", "nope_via_team.title"])
def test_what_is_missing_in_the_callers_record_is_null(path: str) -> None:
    assert reached(path, LENIENT, "users").field is None


@pytest.mark.parametrize("path", ["role.x", "email.name"])
def test_a_value_of_the_callers_record_has_no_inside(path: str) -> None:
    with pytest.raises(Unresolvable):
        reached(path, LENIENT, "users")


def test_a_relation_whose_target_is_gone_or_two_is_refused() -> None:
    for target in ("id_gone", "id_teams"):
        found = schema(collection("odd", relation("to", target)), collection("id_teams", field("name")))
        with pytest.raises(Unresolvable):
            reach(found, of(found, "odd"), ["to", "name"], View())


def test_a_back_relation_of_two_collections_is_refused() -> None:
    found = schema(LOCKED, collection("id_notes", relation("post", "id_posts")))
    with pytest.raises(Unresolvable):
        reach(found, of(found, "posts"), ["id_notes_via_post", "id"], View())
