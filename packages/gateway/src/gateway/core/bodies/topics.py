"""What a client subscribes to, read as PocketBase reads it.

A topic is echoed into the stream as it was spelt, and the SDK listens for that very text: it passes unchanged or not at
all. Its options carry a query and headers, which PocketBase's rules read as if a request had come with them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from common.core.errors import InvalidRequest
from gateway.core.bodies.json_body import as_object, parsed_object
from gateway.core.bodies.struct_bodies import check_spelling
from gateway.core.front_door.headers import is_the_clients
from gateway.core.front_door.query import parse
from gateway.core.front_door.request_path import has_control

MISREAD = "A topic could be read in more than one way."
NOT_YOURS = "A topic has a header that is not the client's to say."

_OPTIONS: Mapping[str, Any] = {"query": "object", "headers": "object"}


@dataclass(frozen=True, slots=True)
class Topic:
    """`collection` is a name or an id as it was spelt, `expand` the paths whose records come along."""

    collection: str
    expand: str = ""


def topics_of(subscriptions: Iterable[object]) -> list[Topic]:
    """Raises InvalidRequest."""
    return [topic_of(text) for text in subscriptions if isinstance(text, str)]


def topic_of(text: str) -> Topic:
    if "#" in text or has_control(text):
        raise InvalidRequest(MISREAD)
    name, _, query = text.partition("?")
    options = parsed_object(parse(query.encode("utf-8", "surrogatepass")).get("options").encode() or b"null")
    check_spelling(options, _OPTIONS)
    if not all(map(is_the_clients, as_object(options.get("headers")))):
        raise InvalidRequest(NOT_YOURS)
    expand: object = as_object(options.get("query")).get("expand")
    return Topic(name.partition("/")[0], expand if isinstance(expand, str) else "")
