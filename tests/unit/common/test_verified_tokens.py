"""What is remembered of verified tokens, and what ends it."""

from typing import Any

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from common.core.identity import Identity
from common.core.verified_tokens import Revocations, VerifiedTokens


def identity(
    subject: str = "ann",
    *,
    issuer: str = "https://id.example",
    session: str | None = None,
    exp: int = 100,
    **claims: Any,
) -> Identity:
    return Identity(issuer, subject, subject, "ChatClient", frozenset(), session, exp, claims)


def test_an_entry_ends_with_its_token_and_its_leeway_or_after_its_age() -> None:
    verified = VerifiedTokens(max_entries=10, max_age_seconds=60)
    verified.put(b"a", identity(exp=30), now=0, leeway_seconds=5)
    verified.put(b"b", identity(exp=1000), now=0)
    assert (verified.get(b"a", 34.9) is None, verified.get(b"a", 35)) == (False, None)
    assert (verified.get(b"b", 59.9) is None, verified.get(b"b", 60)) == (False, None)


def test_an_expired_token_is_not_remembered_and_expired_ones_make_room() -> None:
    verified = VerifiedTokens(max_entries=10, max_age_seconds=60)
    verified.put(b"a", identity(exp=30), now=30)
    assert len(verified) == 0
    for number in range(5):
        verified.put(bytes([number]), identity(exp=30), now=0)
    verified.put(b"new", identity(exp=1000), now=50)
    assert len(verified) == 1


def test_nothing_is_remembered_where_nothing_may_be() -> None:
    verified = VerifiedTokens(max_entries=0, max_age_seconds=60)
    verified.put(b"a", identity(), now=0)
    assert len(verified) == 0


def test_a_change_of_keys_ends_the_issuer_s_entries_alone() -> None:
    verified = VerifiedTokens(max_entries=10, max_age_seconds=60)
    verified.put(b"a", identity(), now=0)
    verified.put(b"b", identity(issuer="https://other.example"), now=0)
    verified.forget_issuer("https://id.example")
    assert (verified.get(b"a", 1), verified.get(b"b", 1) is None) == (None, False)


class Remembering(RuleBasedStateMachine):
    """Against a plain list of all that was ever put."""

    def __init__(self) -> None:
        super().__init__()
        self.verified = VerifiedTokens(max_entries=4, max_age_seconds=20)
        self.put: dict[bytes, tuple[float, Identity]] = {}
        self.now = 0.0

    @rule(seconds=st.floats(0, 15))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(digest=st.binary(min_size=1, max_size=1), life=st.integers(-5, 40))
    def remember(self, digest: bytes, life: int) -> None:
        told = identity(exp=int(self.now) + life)
        self.verified.put(digest, told, now=self.now)
        if told.expires_at > self.now:
            self.put[digest] = (self.now, told)

    @invariant()
    def nothing_is_answered_that_was_not_put_or_is_over(self) -> None:
        assert len(self.verified) <= 4
        for digest, (since, told) in self.put.items():
            found = self.verified.get(digest, self.now)
            assert found is None or (found is told and self.now < min(told.expires_at, since + 20))


TestRemembering = Remembering.TestCase
TestRemembering.settings = hypothesis_settings(max_examples=50, deadline=None)


def test_a_session_is_revoked_until_its_time_is_over() -> None:
    revocations = Revocations()
    revocations.revoke_session("s1", until=50, now=0)
    assert revocations.covers(identity(session="s1"), 49)
    assert not revocations.covers(identity(session="s1"), 50)
    assert not revocations.covers(identity(session="s2"), 1)
    assert not revocations.covers(identity(), 1)


def test_a_subject_is_revoked_for_what_was_issued_before() -> None:
    revocations = Revocations()
    revocations.revoke_subject("ann", issued_before=10, until=50, now=10)
    assert revocations.covers(identity(iat=9), 11)
    assert revocations.covers(identity(), 11)
    assert not revocations.covers(identity(iat=10), 11)
    assert not revocations.covers(identity("bob", iat=9), 11)
    revocations.revoke_subject("ann", issued_before=5, until=20, now=11)
    assert revocations.covers(identity(iat=9), 49)
    revocations.pardon_subject("ann")
    revocations.pardon_subject("nobody")
    assert not revocations.covers(identity(iat=9), 11)
    assert len(revocations) == 0


@given(st.lists(st.tuples(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), st.integers(1, 30)), max_size=80))
def test_revocations_are_bounded_and_the_newest_is_always_kept(told: list[tuple[str, int]]) -> None:
    revocations = Revocations(max_entries=5)
    for now, (name, seconds) in enumerate(told):
        revocations.revoke_session(name, until=now + seconds, now=now)
        revocations.revoke_subject(name, issued_before=now, until=now + seconds, now=now)
        assert len(revocations) <= 5
        assert len(revocations._issued_before) <= 5
        assert revocations.covers(identity(name, iat=now - 1), now)
