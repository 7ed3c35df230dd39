from typing import Any

from natsync.core.state.bans import BANNED, Ban, Bans, barred, to_ban, to_bans, to_row

ROW: dict[str, Any] = {"id": "n1", "user": "u1", "oidc_subject": "sub-1", "active": True}


def having(*bans: Ban) -> Bans:
    return to_bans([{**to_row(ban), "id": "b"} for ban in bans])


def test_a_ban_is_read_as_it_was_written() -> None:
    ban = Ban("u1", "c1", 5, "spam", "b1")
    assert to_ban({**to_row(ban), "id": "b1"}) == ban


def test_a_ban_reaches_every_row_its_subject_stands_for() -> None:
    for subject in ("n1", "u1", "sub-1"):
        assert having(Ban(subject)).over(ROW, 0)
    assert having(Ban("somebody else")).over(ROW, 0) is None
    assert having(Ban("")).over({"id": "n2", "user": "", "oidc_subject": ""}, 0) is None


def test_a_ban_ends_when_its_time_is_up() -> None:
    bans = having(Ban("u1", until=100))
    assert bans.over(ROW, 99.9)
    assert bans.over(ROW, 100) is None
    assert having(Ban("u1")).over(ROW, 2**40)


def test_of_two_bans_the_one_that_still_holds_counts() -> None:
    assert having(Ban("u1", "c1", until=1), Ban("u1", "c2", until=100)).over(ROW, 50)


def test_a_pardon_without_a_collection_ends_all_bans_of_that_subject_alone() -> None:
    bans = having(Ban("u1"), Ban("u1", "c1"), Ban("u2"))
    assert bans.without("u1", "").by_place.keys() == {("u2", "")}
    assert bans.without("u1", "c1").by_place.keys() == {("u1", ""), ("u2", "")}


def test_rows_of_banned_users_are_switched_off_and_the_others_left_alone() -> None:
    other = {"id": "n2", "user": "u2", "active": True}
    seen = barred([ROW, other], Bans().having(Ban("u1")), 0)
    assert seen == [{**ROW, "active": False, BANNED: True}, other]
    assert ROW["active"]
    assert barred([ROW], Bans(), 0) == [ROW]
