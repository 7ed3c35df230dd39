"""What the processes of one gateway ask of each other, for a client's requests reach any of them."""

from common.core.messages import Message
from gateway.core.realtime.caller import Caller

PAGE_CHARACTERS = 128 * 1024
"""Of topics; a character takes up to six bytes."""


class SetSubscriptions(Message, frozen=True, kw_only=True):
    """All that the client wants to hear from now on. No tokens: whoever needs one has the session."""

    client_id: str
    address: str
    caller: Caller | None
    topics: list[str]
    ticket: str = ""


class MoreTopics(Message, frozen=True, kw_only=True):
    """Topics ahead of a SetSubscriptions of the same ticket, for all of them may be more than a message holds."""

    ticket: str
    topics: list[str]


class CameBack(Message, frozen=True, kw_only=True):
    """Somebody is back from an OAuth2 provider; the state names who waits for that."""

    state: str
    address: str
    code: str
    error: str


class Landing(Message, frozen=True, kw_only=True):
    """Where his browser is to go; empty: to the gateway's own page."""

    target: str


def pages_of(topics: list[str], most_characters: int = PAGE_CHARACTERS) -> list[list[str]]:
    """The same topics in their order; at least one page, which may be empty."""
    pages: list[list[str]] = [[]]
    left = most_characters
    for topic in topics:
        left -= len(topic)
        if left < 0 and pages[-1]:
            pages.append([])
            left = most_characters - len(topic)
        pages[-1].append(topic)
    return pages
