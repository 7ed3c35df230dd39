"""The tables of a view are all that it could mean, and a view that may tell the time is known for it."""

import pytest

from gateway.core.collections.view_query import is_unsteady, tables_of
from tests.unit.gateway.schemas import Row, collection, of, schema


def view(name: str, query: str) -> Row:
    return collection(name, type="view", viewQuery=query)


@pytest.mark.parametrize(
    ("query", "tables"),
    [
        ("SELECT id FROM posts", {"posts"}),
        ("select p.id from posts p, notes n", {"posts", "notes"}),
        (
            "SELECT id FROM `POSTS` JOIN [notes] ON 1 JOIN \"teams\" ON 1 JOIN 'users'",
            {"posts", "notes", "teams", "users"},
        ),
        ("WITH x AS (SELECT id FROM posts) SELECT id FROM x", {"posts"}),
        ("SELECT id, (SELECT COUNT(*) FROM notes) FROM posts -- teams", {"posts", "notes", "teams"}),
        ("SELECT id FROM main.posts/* it's */", {"posts"}),
    ],
)
def test_every_collection_that_is_named_counts(query: str, tables: set[str]) -> None:
    found = schema(view("seen", query))
    assert {table.name for table in tables_of(of(found, "seen"), found)} == tables


def test_views_of_views_are_followed_even_in_a_circle() -> None:
    found = schema(view("one", "SELECT id FROM two"), view("two", "SELECT id FROM one JOIN notes"))
    assert {table.name for table in tables_of(of(found, "one"), found)} == {"one", "two", "notes"}


def test_a_view_of_nothing_that_is_known_depends_on_everything() -> None:
    found = schema(view("seen", "SELECT id FROM elsewhere"))
    assert tables_of(of(found, "seen"), found) == set(found.collections)


@pytest.mark.parametrize(
    "query",
    [
        *("SELECT date('now')", "SELECT DATE ( day )", "SELECT strftime/* x */('%s', 'now')", 'SELECT "datetime"()'),
        *(
            "SELECT [random]()",
            "SELECT `julianday` (1)",
            "SELECT current_timestamp",
            "SELECT CURRENT_DATE",
            "SELECT time--\n()",
        ),
        *(
            "SELECT '--', unixepoch()",
            "SELECT '/*', date(), '*/'",
            "FROM sqlite_master",
            "FROM _params",
            "FROM pragma_x('a')",
        ),
        "SELECT 'it''s', random()",
    ],
)
def test_what_may_change_by_itself_is_unsteady(query: str) -> None:
    assert is_unsteady(query)


@pytest.mark.parametrize(
    "query",
    [
        *(
            "SELECT date, time FROM posts",
            "SELECT (date) FROM posts",
            "SELECT 'random()' FROM posts",
            "SELECT COUNT(*) FROM x",
        ),
        *("SELECT a -- date()\n FROM posts", "SELECT a /* now() */ FROM posts", "SELECT update_time FROM posts", "'"),
    ],
)
def test_what_only_looks_like_it_is_not(query: str) -> None:
    assert not is_unsteady(query)
