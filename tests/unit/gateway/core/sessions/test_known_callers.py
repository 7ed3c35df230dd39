"""What a process remembers of tokens is bounded, and forgotten the moment it may be wrong."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.sessions.known_callers import KnownCallers
from gateway.core.sessions.principal import Principal


def principal(session: str = "s", record: str = "ann", collection: str = "users") -> Principal:
    return Principal(
        record_id=record,
        collection_id=collection,
        collection_name=collection,
        username=record,
        roles=frozenset(),
        client_id="",
        session_id=session,
        generation=1,
        issued_at=0,
        expires_at=100,
    )


def believed(known: KnownCallers, token: str, who: Principal) -> None:
    known.believe(known.put(token, who), who, until=10, epoch=known.epoch)


def until(known: KnownCallers, token: str) -> float | None:
    entry = known.get(token)
    return entry.until if entry else None


def test_a_verified_token_is_not_yet_believed() -> None:
    known = KnownCallers(10)
    known.put("a", principal())
    assert until(known, "a") == 0
    assert known.get("b") is None


def test_ending_a_session_forgets_all_of_its_tokens_and_no_other() -> None:
    known = KnownCallers(10)
    for token, session in (("a1", "a"), ("a2", "a"), ("b1", "b")):
        believed(known, token, principal(session))
    known.forget_session("a")
    assert (known.get("a1"), known.get("a2"), until(known, "b1")) == (None, None, 10)


def test_a_banned_record_is_forgotten_in_its_collection_or_in_all() -> None:
    known = KnownCallers(10)
    for collection in ("users", "devices"):
        believed(known, collection, principal(collection, "ann", collection))
    believed(known, "other", principal("other", "bob"))
    known.forget_record("ann", "users")
    assert (known.get("users"), until(known, "devices")) == (None, 10)
    known.forget_record("ann")
    assert (known.get("devices"), until(known, "other")) == (None, 10)


def test_an_answer_that_a_notice_has_overtaken_is_not_believed() -> None:
    known = KnownCallers(10)
    entry, epoch = known.put("a", principal()), known.epoch
    known.forget_session("another")
    known.believe(entry, principal(), until=10, epoch=epoch)
    assert until(known, "a") == 0


def test_what_was_forgotten_while_it_was_asked_for_stays_forgotten() -> None:
    known = KnownCallers(10)
    entry, epoch = known.put("a", principal()), known.epoch
    known.forget_session("s")
    known.believe(entry, principal(), until=10, epoch=epoch)
    assert known.get("a") is None
    assert entry.until == 0


def test_after_a_gap_everybody_is_asked_for_again_and_no_signature_is_checked_twice() -> None:
    known = KnownCallers(10)
    believed(known, "a", principal())
    known.doubt_all()
    assert until(known, "a") == 0


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 5), st.integers(0, 3), st.sampled_from("pgsrdcaw"))))
def test_nothing_is_left_behind_and_the_size_holds(steps: list[tuple[int, int, int, str]]) -> None:
    known = KnownCallers(5)
    for token, session, record, step in steps:
        match step:
            case "p":
                known.put(str(token), principal(f"{session}-{record}", str(record)))
            case "g":
                known.get(str(token))
            case "s":
                known.forget_session(f"{session}-{record}")
            case "r":
                known.forget_record(str(record))
            case "c":
                known.confirm(f"{session}-{record}", doubts=known.doubts)
            case "a":
                known.doubt_record(str(record))
                assert not any(known.is_confirmed(f"{each}-{record}") for each in range(6))
            case "w":
                known.doubt_tokens()
                assert not known._confirmed
            case _:
                known.drop(str(token))
        assert len(known) <= 5
        assert sum(map(len, known._tokens.values())) == len(known)
        assert all(known._tokens.values())
        assert all(known._sessions.values())
        assert {each for sessions in known._sessions.values() for each in sessions} == set(known._tokens)
        assert known._confirmed <= set(known._tokens)


def test_a_session_stays_confirmed_while_any_token_of_it_is_known() -> None:
    known = KnownCallers(10)
    known.put("old", principal())
    known.confirm("s", doubts=known.doubts)
    known.put("new", principal())
    known.drop("old")
    assert known.is_confirmed("s")
    known.doubt_record("bob")
    assert known.is_confirmed("s")
    known.drop("new")
    known.put("new", principal())
    assert not known.is_confirmed("s")


def test_what_was_asked_before_a_doubt_confirms_nothing() -> None:
    known = KnownCallers(10)
    known.put("a", principal())
    for doubt in (lambda: known.doubt_record("ann"), known.doubt_tokens):
        before = known.doubts
        doubt()
        known.confirm("s", doubts=before)
        assert not known.is_confirmed("s")


def test_the_one_that_was_not_seen_for_longest_makes_room() -> None:
    known = KnownCallers(2)
    known.put("a", principal("a"))
    known.put("b", principal("b"))
    known.get("a")
    known.put("c", principal("c"))
    assert known.get("b") is None
    assert known.get("a")
