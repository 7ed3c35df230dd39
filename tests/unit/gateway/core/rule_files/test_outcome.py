"""What rules may leave behind, and what may not get past them."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.core.errors import InvalidRequest
from gateway.core.bodies.field_names import field_of
from gateway.core.bodies.json_values import NotJson, copied, decoded, encoded
from gateway.core.operation import Read, Write
from gateway.core.refusals import UnreadableAnswer
from gateway.core.rule_files.answer import Answer
from gateway.core.rule_files.context import Context
from gateway.core.rule_files.expanded import expanded
from gateway.core.rule_files.outcome import Misruled, changed
from gateway.core.rule_files.rule_set import Place, Rule

UPDATE = Write("update", "posts", "p1", {"title": "a"})
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
MAX = 10_000


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_a_copy_equals_what_json_would_carry(value: dict[str, Any]) -> None:
    assert copied(value) == value


@pytest.mark.parametrize("value", [{"n": 2**80}, {"s": "\ud800"}, {"n": -(2**63) - 1}])
def test_what_clients_may_send_beyond_the_fast_path_is_carried_all_the_same(value: dict[str, Any]) -> None:
    assert copied(value) == value


def test_json_that_no_reader_takes_is_told() -> None:
    with pytest.raises(NotJson):
        decoded(b"{")
    with pytest.raises(NotJson):
        decoded(b"[" * 100_000)


def test_the_write_that_goes_on_shares_nothing_with_the_rule() -> None:
    record: dict[str, Any] = {"tags": ["a"]}
    write = changed(UPDATE, record, max_bytes=MAX)
    record["tags"].append("b")
    record["title"] = "x"
    assert write.fields == {"tags": ["a"]}
    assert UPDATE.fields == {"title": "a"}


@given(st.dictionaries(st.sampled_from(["n", "n+", "+n", "n-", "m", "m:autogenerate", "o+"]), st.integers()))
def test_a_field_under_its_own_name_is_the_last_word_on_it(record: dict[str, int]) -> None:
    fields = changed(UPDATE, record, max_bytes=MAX).fields
    assert {key: record[key] for key in record if key in ("n", "m", "o+")} == {
        key: fields[key] for key in fields if key in ("n", "m", "o+")
    }
    for key in record:
        assert (key in fields) == (len(key) == 1 or field_of(key) not in record)


def test_dates_are_written_as_text() -> None:
    write = changed(UPDATE, {"at": datetime(2030, 1, 2, tzinfo=UTC)}, max_bytes=MAX)
    assert write.fields == {"at": "2030-01-02T00:00:00+00:00"}


def loop() -> dict[str, Any]:
    record: dict[str, Any] = {}
    record["self"] = record
    return record


@pytest.mark.parametrize(
    "record",
    [
        None,
        [],
        "text",
        {"a": object()},
        {"a": {1, 2}},
        {"a": b"bytes"},
        {("a",): 1},
        {"a": 2**80, "b": float("nan")},
        loop(),
        {"a": "x" * (MAX + 1)},
        {"id": "p2"},
        {"collectionName": "users"},
        {"collectionId": "other"},
    ],
    ids=lambda record: str(type(record).__name__),
)
def test_what_is_no_record_or_another_one_is_refused(record: object) -> None:
    with pytest.raises(Misruled):
        changed(UPDATE, record, max_bytes=MAX)


def test_a_client_that_sends_the_record_back_as_it_was_is_no_fault_of_the_rule() -> None:
    given = {"id": "p1", "collectionName": "posts", "title": "b"}
    assert changed(Write("update", "posts", "p1", given), dict(given), max_bytes=MAX).fields == given
    other = {"id": "p2"}
    assert changed(Write("update", "posts", "p1", other), dict(other), max_bytes=MAX).fields == other


def test_a_rule_may_give_a_new_record_its_id() -> None:
    assert changed(Write("create", "posts"), {"id": "slug"}, max_bytes=MAX).fields == {"id": "slug"}


def author(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "collectionName": "users", **more}


def test_expanded_records_are_found_at_every_depth_and_in_lists() -> None:
    team = {"id": "t", "collectionName": "teams"}
    record = {
        "id": "p",
        "expand": {"author": author("a", expand={"team": team}), "readers": [author("b"), author("c")]},
    }
    found = [(collection, inner["id"]) for collection, inner in expanded([record], {})]
    assert found == [("users", "a"), ("teams", "t"), ("users", "b"), ("users", "c")]


def test_what_is_known_of_the_schema_counts_more_than_what_the_answer_says() -> None:
    record = {"expand": {"author": {"name": "x", "expand": {"team": {"collectionName": "lies"}}}}}
    found = [collection for collection, _ in expanded([record], {"author": "users", "author.team": "teams"})]
    assert found == ["users", "teams"]


@pytest.mark.parametrize("inner", [{"name": "x"}, {"collectionName": ""}, {"collectionName": 3}])
def test_an_expanded_record_of_an_unknown_collection_is_shown_to_nobody(inner: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        list(expanded([{"expand": {"author": inner}}], {}))


def test_answers_that_cannot_be_looked_at_go_back_to_nobody() -> None:
    for body in (b"[]", b"{", b"null", b'{"a":"' + b"x" * 100 + b'"}'):
        with pytest.raises(UnreadableAnswer):
            Answer.read(body, max_bytes=50)


def test_an_empty_answer_stays_empty_and_one_that_no_rule_guards_inside_shows_nothing() -> None:
    rule = Rule("after", "r", Place("f", 1), frozenset({"users"}), frozenset({"view"}), print, is_async=False)
    empty = Answer.read(b"", max_bytes=MAX)
    assert list(empty.inner(rule, Write("delete", "posts", "p"))) == []
    assert empty.settled([], None, max_bytes=MAX) is empty
    other = Answer.read(encoded({"expand": {"team": {"collectionName": "teams"}}}), max_bytes=MAX)
    assert list(other.inner(rule, Write("update", "posts", "p"))) == []


def test_records_expanded_without_end_are_not_followed() -> None:
    record: dict[str, Any] = {}
    for _ in range(20):
        record = {"collectionName": "users", "expand": {"friend": record}}
    with pytest.raises(InvalidRequest):
        list(expanded([record], {}))


def test_what_rules_of_the_whole_make_of_an_answer_is_the_answer() -> None:
    answer = Answer.read(b'{"a":1}', max_bytes=MAX)
    outer = Context(Read("view", "posts", "p"), answer=answer.value)
    outer.answer = {"b": 2}
    assert answer.settled([], outer, max_bytes=MAX).body == b'{"b":2}'


def test_an_expanded_record_may_be_replaced_as_a_whole() -> None:
    rule = Rule("after", "r", Place("f", 1), frozenset({"users"}), frozenset({"view"}), print, is_async=False)
    answer = Answer.read(encoded({"expand": {"author": author("a", email="e")}}), max_bytes=MAX)
    [(read, record)] = answer.inner(rule, Read("view", "posts", "p"))
    assert (read.collection, read.record_id) == ("users", "a")
    context = Context(read, answer=record)
    assert answer.settled([(record, context)], None, max_bytes=MAX).body == answer.body
    context.answer = {"id": "a"}
    assert decoded(answer.settled([(record, context)], None, max_bytes=MAX).body) == {"expand": {"author": {"id": "a"}}}
    context.answer = None
    with pytest.raises(Misruled):
        answer.settled([(record, context)], None, max_bytes=MAX)
