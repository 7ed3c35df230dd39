"""What a rule sees of a request, and what it cannot do with it."""

import operator
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.bodies.field_names import field_of
from gateway.core.operation import Read, Upload, Write
from gateway.core.rule_files.context import GUEST, Asker, Context, Metadata, Stored, readable_headers

FIELDS = st.from_regex(r"\A[a-zA-Z0-9_]{1,12}\Z")


@given(FIELDS, st.sampled_from(["{}", "+{}", "{}+", "{}-", "{}:autogenerate", "{}:each", "{}.0"]))
def test_a_field_is_recognised_behind_every_modifier(field: str, spelling: str) -> None:
    assert field_of(spelling.format(field)) == field


@given(st.text(max_size=20))
def test_every_key_has_a_field(key: str) -> None:
    assert field_of(key) in key


def test_what_a_write_touches_is_told_by_field_whatever_the_spelling() -> None:
    fields = {"followers+": 1, "title": "a", "slug:autogenerate": "b"}
    context = Context(Write("update", "users", "u1", fields, {"+photos": (Upload("a.png", "image/png", 3),)}))
    assert context.written == {"followers", "title", "slug", "photos"}
    context.drop("followers")
    assert context.record == {"title": "a", "slug:autogenerate": "b"}


def test_changing_the_record_changes_nothing_of_the_write() -> None:
    write = Write("create", "posts", None, {"tags": ["a"]})
    Context(write).record["tags"].append("b")
    assert write.fields == {"tags": ["a"]}


@pytest.mark.parametrize("name", ["action", "collection", "record_id", "records", "written"])
def test_what_the_operation_is_cannot_be_changed(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(Context(Read("view", "posts", "p1")), name, "other")


def test_values_are_found_under_every_spelling() -> None:
    context = Context(Write("create", "posts", None, {"tags": ["a"], "tags+": "b", "title": "c"}))
    assert context.values("tags") == [["a"], "b"]
    assert (context.action, context.collection, context.record_id) == ("create", "posts", None)


@pytest.mark.parametrize("name", ["record", "answer", "stored", "principal", "files"])
def test_nothing_of_it_can_be_deleted(name: str) -> None:
    with pytest.raises(AttributeError):
        delattr(Context(Read("view", "posts", "p1")), name)


def test_files_query_and_parameters_cannot_be_changed() -> None:
    context = Context(Write("update", "posts", "p1", query={"expand": "author"}))
    assert context.metadata.params == {"collection": "posts", "id": "p1"}
    for mapping in (context.files, context.metadata.query, context.metadata.params):
        with pytest.raises(TypeError):
            operator.setitem(mapping, "x", "y")  # pyright: ignore[reportArgumentType, reportCallIssue]


def test_records_are_those_of_the_answer_however_many() -> None:
    page = {"page": 1, "items": [{"id": "a"}, {"id": "b"}]}
    assert [record["id"] for record in Context(Read("list", "posts"), answer=page).records] == ["a", "b"]
    assert Context(Read("view", "posts", "a"), answer={"id": "a"}).records == [{"id": "a"}]
    assert Context(Write("delete", "posts", "a")).records == []
    assert Context(Read("list", "posts"), answer={"page": 1}).records == []


USES: list[Callable[[Any], object]] = [
    bool,
    len,
    list,
    lambda stored: stored["owner"],
    lambda stored: stored.get("owner"),
    lambda stored: stored.owner,
    lambda stored: "owner" in stored,
    lambda stored: stored == {"owner": "ann"},
    lambda stored: stored != {"owner": "ann"},
    lambda stored: {stored: 1},
]


@pytest.mark.parametrize("use", USES)
def test_a_stored_record_that_was_not_awaited_passes_for_nothing(use: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError):
        use(Stored())


async def test_nothing_is_stored_unless_somebody_can_read_it() -> None:
    context = Context(Write("create", "posts"))
    assert await context.stored is None
    assert context.stored.wait() is None


def test_a_guest_is_no_record_and_an_id_counts_in_its_collection_alone() -> None:
    ann = Asker(id="a1", collection="users", roles=frozenset({"editor"}))
    assert ann.is_record("Users", "a1")
    assert not ann.is_record("devices", "a1")
    assert not GUEST.is_record("", "")
    assert not GUEST.is_authenticated
    assert ann.has_role("editor")


def test_headers_are_readable_but_not_those_that_speak_for_the_client() -> None:
    raw = [(b"X-Tenant", b"a"), (b"x-tenant", b"b"), (b"Authorization", b"secret"), (b"cookie", b"secret")]
    assert dict(readable_headers(raw)) == {"x-tenant": "a"}
    assert "secret" not in repr(Metadata(headers=readable_headers(raw)))
