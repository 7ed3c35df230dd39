"""Topics as PocketBase takes them apart."""

import json
from urllib.parse import quote

import pytest

from common.core.errors import InvalidRequest
from gateway.core.realtime.subscription import Subscription, subscription_of, subscriptions_of


def with_options(path: str, **options: object) -> str:
    return f"{path}?options={quote(json.dumps(options))}"


def test_a_topic_is_a_collection_and_one_record_or_all() -> None:
    assert subscription_of("posts/*") == Subscription("posts/*", "posts", "*")
    assert subscription_of("posts") == Subscription("posts", "posts", "*")
    assert subscription_of("posts/abc") == Subscription("posts/abc", "posts", "abc")


def test_what_is_asked_of_the_records_is_read() -> None:
    text = with_options("posts/*", query={"filter": "a = 1", "fields": "id", "expand": "b"})
    assert subscription_of(text) == Subscription(text, "posts", "*", filter="a = 1", expand="b", fields="id")
    assert subscription_of(with_options("posts/*", query={}, headers={})).is_plain


@pytest.mark.parametrize(
    "text",
    [
        with_options("posts/*", query={"page": "1"}),
        with_options("posts/*", query={"filter": 1}),
        with_options("posts/*", headers={"X-Tenant": "a"}),
        with_options("posts/*", other={}),
        "posts/*?x=1",
        "posts/a/b",
        "posts/*x",
        "",
    ],
)
def test_anything_else_is_for_pocketbase_to_read(text: str) -> None:
    assert not subscription_of(text).is_plain


def test_what_is_about_the_client_is_its_own() -> None:
    assert subscription_of("@oauth2").is_own


@pytest.mark.parametrize("text", ["posts/*\nid:1", "posts/*\x00", "posts/*\x7f", "posts/*#", "a\u0085"])
def test_control_characters_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        subscriptions_of([text])


def test_there_is_an_end_to_topics_and_to_each_of_them() -> None:
    assert len(subscriptions_of([f"a{index}" for index in range(1000)])) == 1000
    for texts in ([f"a{index}" for index in range(1001)], ["a" * 2501]):
        with pytest.raises(InvalidRequest):
            subscriptions_of(texts)
    assert subscriptions_of([1, "", None]) == {}


def filtered(count: int, text: str) -> list[str]:
    return [with_options(f"posts/a{index}", query={"filter": text}) for index in range(count)]


def test_there_is_an_end_to_what_all_filters_of_a_client_compare_and_to_what_they_say() -> None:
    of_a_room = filtered(1000, 'room = "r1b2c3d4e5f6g7h" && kind != "note" // of one room')
    assert len(subscriptions_of(of_a_room)) == 1000
    hundred = "||".join(["a=1", "b?!=2", "c~'3'", "d!~'4'", "e>=5"] * 20)
    assert len(subscriptions_of(filtered(20, hundred))) == 20
    with pytest.raises(InvalidRequest, match="2000 comparisons"):
        subscriptions_of([*filtered(20, hundred), with_options("posts/*", query={"filter": "a=1"})])
    with pytest.raises(InvalidRequest, match="100000 characters"):
        subscriptions_of(filtered(51, f"a = '{'a' * 2000}'"))


def test_each_topic_has_its_filter_for_itself() -> None:
    hundred = "||".join(["a=1"] * 100)
    topics = [with_options("posts/*", query={"filter": hundred, "fields": f"id,a{index}"}) for index in range(21)]
    with pytest.raises(InvalidRequest):
        subscriptions_of(topics)


def test_there_is_an_end_to_what_is_held_against_what_has_happened_already() -> None:
    def since(count: int, text: str, cursor: str = "e.1") -> list[str]:
        return [with_options(f"a{index}", query={"since": cursor, "filter": text}) for index in range(count)]

    assert len(subscriptions_of(since(100, "a = 1 && b = 2"))) == 100
    assert len(subscriptions_of(since(1000, "a = 1 && b = 2", cursor=""))) == 1000
    for texts in (since(101, ""), since(100, "a = 1 && b = 2 && c = 3")):
        with pytest.raises(InvalidRequest, match="`since`"):
            subscriptions_of(texts)
