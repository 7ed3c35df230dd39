"""What a reader of the record feed knows, and when it has to doubt."""

from hypothesis import given
from hypothesis import strategies as st

from common.core.record_feed import Alive, Changed, FeedHeartbeat, FeedReader, RecordEvent, fingerprint


def event(sequence: int, epoch: str = "a") -> RecordEvent:
    return RecordEvent(
        epoch=epoch, sequence=sequence, collection="posts", collection_id="pbc_1", id="x", action="update"
    )


def heartbeat(sequence: int, epoch: str = "a", schema: str = "s") -> FeedHeartbeat:
    return FeedHeartbeat(epoch=epoch, sequence=sequence, schema=schema)


def run(reader: FeedReader, message: RecordEvent | FeedHeartbeat) -> str:
    meaning = reader.accept(message)
    assert isinstance(meaning, Alive)
    return meaning.run


def test_an_unbroken_feed_is_one_run() -> None:
    reader = FeedReader()
    first = run(reader, heartbeat(0))
    for number in (1, 2, 3):
        assert reader.accept(event(number)) == Changed(event(number))
    assert run(reader, heartbeat(3)) == first


def test_a_lost_event_in_the_middle_is_another_run() -> None:
    reader = FeedReader()
    first = run(reader, heartbeat(0))
    reader.accept(event(2))
    assert run(reader, heartbeat(2)) != first


def test_a_lost_last_event_is_another_run() -> None:
    reader = FeedReader()
    first = run(reader, heartbeat(0))
    assert run(reader, heartbeat(1)) != first


def test_another_epoch_is_another_run_and_so_is_the_first_again() -> None:
    reader = FeedReader()
    runs = [run(reader, heartbeat(0, epoch)) for epoch in ("a", "b", "a")]
    assert len(set(runs)) == 3


def test_what_the_bus_may_have_lost_is_another_run() -> None:
    reader = FeedReader()
    first = run(reader, heartbeat(0))
    reader.miss()
    assert run(reader, heartbeat(0)) != first


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_whatever_is_lost_the_next_heartbeat_tells(arrives: list[bool]) -> None:
    reader = FeedReader()
    first = run(reader, heartbeat(0))
    for number, is_heard in enumerate(arrives, start=1):
        if is_heard:
            reader.accept(event(number))
    assert (run(reader, heartbeat(len(arrives))) == first) == all(arrives)


def test_the_fingerprint_tells_definitions_and_not_their_order() -> None:
    one, other = {"id": "a", "listRule": ""}, {"id": "b", "listRule": None}
    assert fingerprint([one, other]) == fingerprint([other, one])
    assert fingerprint([one]) != fingerprint([{**one, "listRule": None}])
