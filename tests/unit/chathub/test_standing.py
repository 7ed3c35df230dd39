import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chathub.core.standing import Deleted, Edited, Event, Missed, Said, Standing, Told, UnexpectedFrame, read_frame

WHEN = datetime(2026, 1, 2, tzinfo=UTC).isoformat()


def payload(sequence: int) -> dict[str, Any]:
    said = {"owner_id": "a", "username": "A", "channel": "general", "message": f"m{sequence}", "authored_at": WHEN}
    return {"cacheID": sequence, **said}


def take(standing: Standing, type: str, payload: dict[str, Any]) -> list[Event]:
    return standing.take(read_frame(json.dumps({"type": type, "sender": "Server", "payload": payload})))


def welcome(
    standing: Standing, last: int, *, epoch: str = "1", lost: str = "", history: tuple[int, ...] = ()
) -> list[Event]:
    reason = {"reason": lost} if lost else {}
    events = take(standing, "resumed", {"epoch": epoch, "cacheID": last, "recovered": not lost, **reason})
    if history:
        messages = [payload(sequence) for sequence in history]
        events += take(standing, "bulk_chat_messages", {"messages": messages})
    return events + take(standing, "connected_users", {"users": []})


def sequences(events: list[Event]) -> list[int]:
    return [event.cache_id for event in events if isinstance(event, Said)]


def test_a_newcomer_gets_the_history_and_stands_behind_it() -> None:
    standing = Standing()
    events = welcome(standing, 9, lost="new", history=(3, 7))
    assert sequences(events) == [3, 7]
    assert [event.is_history for event in events if isinstance(event, Said)] == [True, True]
    assert not any(isinstance(event, Missed) for event in events)
    assert standing.place == "1.9"


def test_a_welcome_that_breaks_off_is_as_if_it_had_not_been() -> None:
    standing = Standing()
    assert take(standing, "resumed", {"epoch": "1", "cacheID": 9, "recovered": False, "reason": "new"}) == []
    assert take(standing, "bulk_chat_messages", {"messages": [payload(3)]}) == []
    standing.disconnected()
    assert standing.place == "new"
    assert sequences(welcome(standing, 9, lost="new", history=(3, 7))) == [3, 7]


def test_who_comes_back_gets_what_it_missed_and_nothing_twice() -> None:
    standing = Standing("1.5")
    take(standing, "resumed", {"epoch": "1", "cacheID": 9, "recovered": True})
    assert sequences(take(standing, "chat_message", payload(5))) == []
    assert sequences(take(standing, "chat_message", payload(7))) == [7]
    assert standing.place == "1.7"
    standing.disconnected()
    take(standing, "resumed", {"epoch": "1", "cacheID": 9, "recovered": True})
    assert sequences(take(standing, "chat_message", payload(7))) == []
    assert sequences(take(standing, "chat_message", payload(8))) == [8]
    take(standing, "connected_users", {"users": []})
    assert standing.place == "1.9"


def test_a_loss_is_told_before_the_history_that_is_news() -> None:
    events = welcome(Standing("1.5"), 900, lost="expired", history=(4, 5, 6, 800))
    assert isinstance(events[0], Missed)
    assert sequences(events) == [6, 800]


def test_another_log_begins_anew() -> None:
    standing = Standing("1.500")
    events = welcome(standing, 3, epoch="2", lost="other_log", history=(1, 2))
    assert events[0] == Missed("other_log")
    assert sequences(events) == [1, 2]
    assert standing.place == "2.3"


def test_a_loss_in_the_middle_moves_the_place_at_once() -> None:
    standing = Standing()
    welcome(standing, 5, lost="new")
    lost = take(standing, "resumed", {"epoch": "1", "cacheID": 40, "recovered": False, "reason": "expired"})
    assert lost == [Missed("expired")]
    assert sequences(take(standing, "chat_message", payload(41))) == [41]


def test_amendments_have_a_place_of_their_own() -> None:
    standing = Standing()
    welcome(standing, 5, lost="new")
    assert take(standing, "message_edited", {"cacheID": 3, "message": "x", "sequence": 6}) == [Edited(3, "x")]
    assert take(standing, "message_edited", {"cacheID": 3, "message": "x", "sequence": 6}) == []
    assert take(standing, "message_deleted", {"cacheID": 3, "sequence": 7}) == [Deleted(3)]
    assert standing.place == "1.7"


def test_where_a_stopping_node_says_that_all_stand_is_believed() -> None:
    standing = Standing()
    welcome(standing, 5, lost="new")
    take(standing, "reconnect", {"resume": "1.30", "after_ms": 5})
    assert standing.place == "1.30"


def test_what_is_not_known_is_passed_on() -> None:
    standing = Standing()
    welcome(standing, 5, lost="new")
    assert take(standing, "weather", {"sunny": True}) == [Told("weather", {"sunny": True})]


@pytest.mark.parametrize("text", ["", "[]", '{"type": 3}', '{"type": "chat_message", "payload": {}}'])
def test_what_is_no_frame_is_refused(text: str) -> None:
    with pytest.raises(UnexpectedFrame):
        Standing().take(read_frame(text))


@given(st.integers(1, 40), st.lists(st.integers(0, 40), max_size=8))
def test_however_often_the_line_breaks_each_message_comes_once_and_in_order(last: int, breaks: list[int]) -> None:
    """A server that resends from the place the client names, and may send a little from before it as well."""
    standing, heard = Standing("1.0"), list[int]()
    for after in [*breaks, last]:
        place = int(standing.place.split(".")[1])
        heard += sequences(take(standing, "resumed", {"epoch": "1", "cacheID": last, "recovered": True}))
        for sequence in range(max(1, place - 2), min(last, place + after) + 1):
            heard += sequences(take(standing, "chat_message", payload(sequence)))
        standing.disconnected()
    assert heard == list(range(1, int(standing.place.split(".")[1]) + 1))
    assert heard[-1:] == [last]
