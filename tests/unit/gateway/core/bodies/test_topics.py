"""A topic passes unchanged, or is refused for what PocketBase would read in it."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from common.core.errors import InvalidRequest
from gateway.core.bodies.topics import Topic, topics_of


def with_options(options: Any) -> str:
    text = options if isinstance(options, str) else json.dumps(options)
    return f"posts/*?options={quote(text)}"


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("posts/*", Topic("posts")),
        ("pbc_123/abc", Topic("pbc_123")),
        ("posts", Topic("posts")),
        ("@oauth2", Topic("@oauth2")),
        ("", Topic("")),
        ("posts/*?options=", Topic("posts")),
        (with_options({"query": {"expand": "author.team", "filter": "a='#'"}}), Topic("posts", "author.team")),
        (with_options({"query": {"expand": 1}, "headers": {"X-Tenant": "a", "Accept-Language": "de"}}), Topic("posts")),
        (with_options({"headers": None, "query": None}), Topic("posts")),
        (
            with_options({"query": {"expand": "a"}}) + "&options=%7B%22headers%22:%7B%22Host%22:1%7D%7D",
            Topic("posts", "a"),
        ),
    ],
)
def test_what_the_sdk_sends_is_read(text: str, topic: Topic) -> None:
    assert topics_of([text, None]) == [topic]


@pytest.mark.parametrize(
    "name",
    [
        *("X-Real-IP", "x_real_ip", "xRealIp", "x.real.ip", "X--REAL--IP", "X-Forwarded-For", "xForwardedFor"),
        *("Forwarded", "X-Forwarded-Anything", "CF-Connecting-IP", "cfConnectingIP", "Authorization", "authorization_"),
        *("Host", "X-Client-Id", "Connection", "X-Reªl-IP"),
    ],
)
def test_a_topic_says_no_header_that_is_not_the_clients(name: str) -> None:
    with pytest.raises(InvalidRequest):
        topics_of(["posts/*", with_options({"headers": {"X-Tenant": "a", name: "10.0.0.1"}})])


@pytest.mark.parametrize(
    "text",
    [
        *("posts/*\nid: evil", "posts/*\r", "posts/*?x=\0", "posts/*\x85", "posts/*#?options={}", "posts/*?x=1#y"),
        *(with_options("{"), with_options("[]"), with_options("1"), with_options('{"query":{},"query":{}}')),
        *(with_options({"HEADERS": {}}), with_options({"Query": {}}), with_options({"headers": []})),
        *(with_options('{"headers":{}} {"headers":{"Host":"a"}}'), "posts/*?options=%FF"),
        with_options('{"headers":{"X-A":"a","X-A":"b"}}'),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        topics_of([text])
