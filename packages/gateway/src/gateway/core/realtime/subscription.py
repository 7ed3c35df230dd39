"""A topic as PocketBase takes it apart: which records it is about, and what is asked of them.

`posts/*` and the older `posts` mean every record, `posts/ID` one; `?options=` holds a query and headers as JSON. Names
are compared to the letter there: a topic `POSTS/*` is told nothing.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, cast

from common.core.errors import InvalidRequest
from gateway.core.bodies.json_body import parsed_object
from gateway.core.bodies.topics import topic_of
from gateway.core.front_door.query import parse

MAX_SUBSCRIPTIONS = 1000
MAX_TOPIC_CHARACTERS = 2500
MAX_COMPARISONS = 2000
MAX_FILTER_CHARACTERS = 100_000
"""What all filters of a client come to: each takes time to read, and again for each record that is written."""
MAX_SINCE = 100
MAX_SINCE_COMPARISONS = 200
"""Of topics with a cursor: each may be held against thousands of records at once."""
EVERY = "*"
TOO_MANY = f"No more than {MAX_SUBSCRIPTIONS} topics of {MAX_TOPIC_CHARACTERS} characters each."
TOO_COSTLY = (
    f"No more than {MAX_COMPARISONS} comparisons and {MAX_FILTER_CHARACTERS} characters in the filters of all topics "
    "together."
)
TOO_FAR_BACK = f"No more than {MAX_SINCE} topics with `since`, of {MAX_SINCE_COMPARISONS} comparisons together."

_PATH = re.compile(r"(\w+)(?:/(\*|\w+))?", re.ASCII)
_OPERATOR = re.compile(r"[=~<>]+")
_SWITCHES = ("leave", "snapshot")
_QUERY = ("filter", "expand", "fields", "since", *_SWITCHES)
_NO = ("", "0", "false")


@dataclass(frozen=True, slots=True)
class Subscription:
    """`text` is the topic as it was spelt, and as its events are called. What is not `is_plain` has options that only
    PocketBase can be trusted to read.

    The last three are the gateway's own: to be told when a record does not match any more, of what happened since a
    cursor (None: events bear no cursors), and of what there is to begin with.
    """

    text: str
    collection: str
    target: str
    filter: str = ""
    expand: str = ""
    fields: str = ""
    is_plain: bool = True
    wants_leave: bool = False
    since: str | None = None
    wants_snapshot: bool = False

    @property
    def is_own(self) -> bool:
        """Is it about the client himself, such as `@oauth2`, and no record?"""
        return self.text.startswith("@")


def subscriptions_of(texts: list[Any]) -> dict[str, Subscription]:
    """By their text. Raises InvalidRequest."""
    if len(texts) > MAX_SUBSCRIPTIONS or any(len(text) > MAX_TOPIC_CHARACTERS for text in texts if is_text(text)):
        raise InvalidRequest(TOO_MANY)
    found = {text: subscription_of(text) for text in texts if is_text(text) and text}
    check_cost(found.values())
    return found


def check_cost(wanted: Collection[Subscription]) -> None:
    """Before any filter is parsed. Raises InvalidRequest."""
    filters = [one.filter for one in wanted]
    if comparisons_in(filters) > MAX_COMPARISONS or sum(map(len, filters)) > MAX_FILTER_CHARACTERS:
        raise InvalidRequest(TOO_COSTLY)
    since = [one.filter for one in wanted if one.since]
    if len(since) > MAX_SINCE or comparisons_in(since) > MAX_SINCE_COMPARISONS:
        raise InvalidRequest(TOO_FAR_BACK)


def comparisons_in(filters: Iterable[str]) -> int:
    """At most; what looks like an operator within a text counts, too."""
    return sum(len(_OPERATOR.findall(text)) for text in filters)


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def subscription_of(text: str) -> Subscription:
    """Raises InvalidRequest for control characters and for what could be read in more than one way."""
    topic = topic_of(text)
    path, _, query = text.partition("?")
    found = _PATH.fullmatch(path)
    if found is None:
        return Subscription(text, topic.collection, "", is_plain=False)
    collection, target = found[1], found[2] or EVERY
    options = plain_options(query)
    if options is None:
        return Subscription(text, collection, target, is_plain=False)
    return Subscription(
        text,
        collection,
        target,
        filter=options.get("filter", ""),
        expand=options.get("expand", ""),
        fields=options.get("fields", ""),
        wants_leave=options.get("leave", "") not in _NO,
        since=options.get("since"),
        wants_snapshot=options.get("snapshot", "") not in _NO,
    )


def plain_options(query: str) -> dict[str, str] | None:
    """What is asked of the records; None where anything else is said."""
    pairs = parse(query.encode("utf-8", "surrogatepass")).pairs
    if not query:
        return {}
    if [name for name, _ in pairs] != ["options"]:
        return None
    told = parsed_object(pairs[0][1].encode() or b"null")
    asked = cast(dict[str, Any], told.get("query") or {})
    asked |= {name: str(asked[name]).lower() for name in _SWITCHES if isinstance(asked.get(name), bool | int | float)}
    if told.keys() - {"query", "headers"} or told.get("headers"):
        return None
    if asked.keys() - set(_QUERY) or not all(map(is_text, asked.values())):
        return None
    return cast(dict[str, str], asked)
