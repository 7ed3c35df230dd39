"""What a write may have changed beside its record, and of which collections the records are that an answer expands."""

import pytest

from gateway.core.caching.write_reach import changed_by
from gateway.core.collections.expand_paths import expands_of
from gateway.core.operation import WriteAction
from tests.unit.gateway.schemas import of, schema

SCHEMA = schema()
KNOWN = SCHEMA.collections


@pytest.mark.parametrize("action", ["create", "update"])
def test_a_write_changes_its_own_collection(action: WriteAction) -> None:
    assert changed_by(action, of(SCHEMA, "users"), KNOWN) == {"id_users"}


def test_a_delete_reaches_whatever_refers_to_it_however_far() -> None:
    assert changed_by("delete", of(SCHEMA, "notes"), KNOWN) == {"id_notes"}
    assert changed_by("delete", of(SCHEMA, "posts"), KNOWN) == {"id_posts", "id_notes"}
    assert changed_by("delete", of(SCHEMA, "users"), KNOWN) == {"id_users", "id_teams", "id_posts", "id_notes"}


@pytest.mark.parametrize(
    ("expand", "found"),
    [
        ("", {}),
        ("author", {"author": "users"}),
        (
            "author.team.lead, lock",
            {"author": "users", "author.team": "teams", "author.team.lead": "users", "lock": "locked"},
        ),
        ("notes_via_post", {"notes_via_post": "notes"}),
        ("author.posts_via_author", {"author": "users", "author.posts_via_author": "posts"}),
        ("title,nothing.team,notes_via_text,.,author..team", {"author": "users"}),
    ],
)
def test_an_expanded_path_is_of_the_collection_that_it_leads_to(expand: str, found: dict[str, str]) -> None:
    assert expands_of(of(SCHEMA, "posts"), expand, KNOWN) == found
