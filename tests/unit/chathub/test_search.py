"""What a search is given that is not stored yet."""

from collections.abc import Sequence
from datetime import UTC, datetime

from chathub.core.bus_messages import Position, RoomMessage, Stored
from chathub.core.channels import Channel, ChannelBook
from chathub.search import Found, Query, Searching, Unstored
from common.core.identity import Identity

EVE = Identity(
    issuer="i",
    subject="eve",
    username="Eve",
    client_id="c",
    roles=frozenset(),
    session_id=None,
    expires_at=0,
    claims={},
)
WHEN = datetime(2026, 1, 2, tzinfo=UTC)


def public(id: int, name: str) -> Channel:
    return Channel(id, name, None, id)


def said(sequence: int, channel: Channel, text: str) -> Stored:
    message = RoomMessage(
        owner_id="ann", username="Ann", channel_id=channel.id, channel=channel.name, message=text, authored_at=WHEN
    )
    return Stored(Position(1, sequence), message)


class Renaming:
    """While the log is read, the channels become others."""

    def __init__(self, book: ChannelBook, renamed: Sequence[Channel], entries: Sequence[Stored]) -> None:
        self._book = book
        self._renamed = renamed
        self._entries = entries

    async def entries(self) -> Sequence[Stored]:
        self._book.replace(self._renamed)
        return self._entries


class NoRows:
    async def search(self, query: Query, channel_ids: Sequence[int] | None, unstored: Unstored) -> Sequence[Found]:
        assert channel_ids is not None
        return [
            Found(-place.sequence, place.sequence, "ann", "Ann", message.channel, message.message, message.authored_at)
            for place, message in unstored.messages[: query.limit + 1]
            if isinstance(message, RoomMessage)
        ]


async def test_what_is_looked_through_is_the_channel_that_was_found_open_whatever_has_its_name_by_then() -> None:
    news = public(1, "news")
    board = Channel(2, "board", None, 2, members=frozenset({"ann"}))
    book = ChannelBook()
    book.replace([news, board])
    renamed = [public(1, "old news"), Channel(2, "news", None, 2, members=frozenset({"ann"}))]
    unsaved = Renaming(book, renamed, [said(1, news, "for all"), said(2, board, "for ann")])
    query = Query(channels=["news"], keyword=None, user_id=None, limit=10, offset=0)
    found, _ = await Searching(NoRows(), unsaved, book).search(EVE, query)
    assert [one.message for one in found] == ["for all"]
