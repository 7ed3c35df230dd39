from common.core.notices import SessionRevoked, Told, UserBanned, UserPardoned
from natsync.core.servers.notices import outcome


def test_the_last_word_on_a_user_counts() -> None:
    ban, pardon = Told(UserBanned(subject="u1"), 1), Told(UserPardoned(subject="u1"), 2)
    assert outcome([ban, pardon]).users == (pardon,)
    assert outcome([pardon, ban]).users == (ban,)


def test_a_pardon_without_a_collection_ends_the_bans_in_every_one_and_of_that_user_alone() -> None:
    bans = [Told(UserBanned(subject="u1", collection_id=name), 1) for name in ("", "c1", "c2")]
    other = Told(UserBanned(subject="u2"), 1)
    pardon = Told(UserPardoned(subject="u1"), 2)
    assert set(outcome([*bans, other, pardon]).users) == {other, pardon}


def test_a_pardon_in_one_collection_leaves_the_others() -> None:
    bans = [Told(UserBanned(subject="u1", collection_id=name), 1) for name in ("c1", "c2")]
    pardon = Told(UserPardoned(subject="u1", collection_id="c1"), 2)
    assert set(outcome([*bans, pardon]).users) == {bans[1], pardon}


def test_sessions_are_told_once_each() -> None:
    ended = [Told(SessionRevoked(session_id=name), at) for at, name in enumerate(("s1", "s2", "s1"))]
    assert outcome(ended).ended == {"s1": ended[2], "s2": ended[1]}
