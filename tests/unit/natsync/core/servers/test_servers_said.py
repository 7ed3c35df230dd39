import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natsync.core.servers.servers_said import (
    DIFFERING,
    Publication,
    Roster,
    Server,
    Unreadable,
    active_servers,
    agreed,
    by_server,
    on_some_only,
    read_accounts,
    read_answer,
)

ONE, TWO = Server("ID1", "n1", "c"), Server("ID2", "n2", "c")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def said(server: Server = ONE, **rest: Any) -> bytes:
    return json.dumps({"server": {"id": server.id, "name": server.name, "cluster": server.cluster}, **rest}).encode()


def test_an_answer_names_its_server_and_what_it_says_or_refuses() -> None:
    assert read_answer(said(data=["A"])).data == ["A"]
    refused = read_answer(said(error={"code": 500, "description": "jwt store is full"}))
    assert (refused.server, refused.error) == (ONE, "jwt store is full")
    assert read_answer(said(error={"code": 500})).error == "no reason given"


@pytest.mark.parametrize("payload", [b"", b"+OK", b"[]", b"{}", b'{"server":1}', b'{"server":{"name":"n"}}', b"\xff"])
def test_what_cannot_be_read_proves_nothing(payload: bytes) -> None:
    with pytest.raises(Unreadable):
        read_answer(payload)
    assert by_server([payload, said()]).keys() == {"ID1"}
    assert active_servers([payload]) == 0


@given(JSON | st.dictionaries(st.sampled_from(["server", "data", "error", "statsz"]), JSON))
def test_no_answer_stops_the_reading(value: Any) -> None:
    payload = json.dumps(value).encode()
    by_server([payload])
    active_servers([payload])


def test_the_number_of_servers_is_what_the_one_with_the_widest_view_says() -> None:
    assert active_servers([said(statsz={"active_servers": 1}), said(TWO, statsz={"active_servers": 3})]) == 3


def test_a_silent_server_is_not_waited_for_until_it_is_heard_again() -> None:
    roster = Roster().with_heard(ONE).with_heard(TWO)
    assert roster.present == {"ID1", "ID2"}
    silent = roster.with_silent(["ID2", "unknown"], now=5)
    assert silent.present == {"ID1"}
    assert silent.names(silent.silent) == ("n2",)
    assert silent.with_silent(["ID2"], now=9).silent == {"ID2": 5}
    assert silent.with_heard(TWO).present == {"ID1", "ID2"}


def test_a_server_that_was_started_again_takes_the_place_of_its_former_self() -> None:
    roster = Roster().with_heard(ONE).with_heard(TWO).with_silent(["ID2"], now=1)
    again = roster.with_heard(Server("ID3", "n2", "c"))
    assert (again.present, again.silent) == ({"ID1", "ID3"}, {})


def test_servers_of_one_name_in_different_clusters_are_different_servers() -> None:
    roster = Roster().with_heard(ONE).with_heard(Server("ID9", "n1", "elsewhere"))
    assert roster.present == {"ID1", "ID9"}


def test_who_leaves_or_stays_silent_too_long_is_forgotten() -> None:
    roster = Roster().with_heard(ONE).with_heard(TWO).with_silent(["ID2"], now=5)
    assert roster.without_forgotten(before=5).silent
    assert not roster.without_forgotten(before=5.1).silent
    assert roster.without("ID1").present == frozenset()
    assert roster.without("nobody") is roster


def test_to_hear_who_is_known_changes_nothing() -> None:
    roster = Roster().with_heard(ONE)
    assert roster.with_heard(ONE) is roster


def test_servers_agree_only_when_all_show_the_same_token() -> None:
    assert agreed([b"t", b"t"]) == "t"
    for shown in ([b"t", b"u"], [b"t", b""], [b"", b""], []):
        assert agreed(shown) == DIFFERING


def test_a_list_of_accounts_that_is_none_is_empty() -> None:
    assert read_accounts(read_answer(said(data=["A", "B"]))) == {"A", "B"}
    for value in (None, 5, "A", {"A": 1}):
        assert read_accounts(read_answer(said(data=value))) == frozenset()


def test_what_one_server_lacks_is_on_some_only() -> None:
    assert on_some_only([["A", "B"], ["B"], ["B", "C"]]) == {"A", "C"}
    assert on_some_only([]) == frozenset()


def test_a_publication_counts_only_when_every_server_that_was_there_shows_it() -> None:
    def publication(**changed: Any) -> Publication:
        told: dict[str, Any] = {"asked": ("n1", "n2"), "accepted": ("n1", "n2"), "refused": {}, "showing": 2, **changed}
        return Publication("A", **told)

    assert (publication().is_verified, publication().shortcoming) == (True, "")
    assert not publication(asked=(), showing=0).is_verified
    assert publication(showing=1, lacking=("n2",)).shortcoming == (
        "1 of 2 NATS servers show the token they were given (n2 not)."
    )
    assert "n2 refuses: full" in publication(showing=1, refused={"n2": "full"}).shortcoming
    assert publication(showing=2, refused={"n2": "full"}).is_verified


def test_a_publication_says_of_every_server_how_far_it_has_come() -> None:
    told = Publication(
        "A",
        asked=("n1", "n2", "n3", "n4"),
        accepted=("n1", "n2"),
        refused={"n3": "full"},
        showing=1,
        lacking=("n2",),
        silent=("n5",),
    )
    assert told.by_server == {
        "n1": "accepted",
        "n2": "shows another token",
        "n3": "full",
        "n4": "no answer",
        "n5": "silent",
    }
    verified = Publication("A", asked=("n1",), accepted=(), refused={}, showing=1)
    assert verified.by_server == {"n1": "verified"}
