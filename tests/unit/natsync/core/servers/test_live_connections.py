from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from natsync.core.claims import AccountClaims, ScopedKey, UserClaims, account_body, encode, user_body
from natsync.core.claims.keys import KeyKind, KeyPair
from natsync.core.servers.live_connections import (
    NOBODY_STAYS,
    LiveConnection,
    Standing,
    count_connections,
    read_connections,
    scope_of,
    standing,
)
from natsync.core.servers.servers_said import Answer, Server

OPERATOR = KeyPair(KeyKind.OPERATOR, b"\x01" * 32)
ACCOUNT = KeyPair(KeyKind.ACCOUNT, b"\x02" * 32)
SIGNER = KeyPair(KeyKind.ACCOUNT, b"\x03" * 32)
USER = KeyPair(KeyKind.USER, b"\x04" * 32)
SERVER = Server("ID1", "n1")
MANY = st.dictionaries(st.sampled_from(["u1", "u2", "*"]), st.integers(0, 9))
KEYS = st.sets(st.sampled_from(["k1", "k2", "k3"]))


def account(*keys: str | ScopedKey, **revocations: int) -> str:
    body = account_body(AccountClaims(signing_keys=keys, revocations=revocations))
    return encode(body, subject=ACCOUNT.public_key, name="a", issuer=OPERATOR, issued_at=1)


def connection(**changed: Any) -> LiveConnection:
    return replace(LiveConnection("ID1", 7, user="u1", issuer="k1", issued_at=5), **changed)


def test_a_connection_stays_while_its_signer_counts_and_it_is_not_cut_off() -> None:
    says = standing(account("k1", u1=4))
    assert says
    assert says.lets_stay(connection())
    assert not says.lets_stay(connection(issued_at=4))
    assert says.lets_stay(connection(user="u2", issued_at=1))
    assert not says.lets_stay(connection(issuer="k2"))
    assert says.lets_stay(connection(issuer=ACCOUNT.public_key))
    assert says.lets_stay(connection(issuer=""))


def test_revoking_everybody_ends_all_that_was_issued_before() -> None:
    says = standing(account("k1", **{"*": 5}))
    assert says
    assert not says.lets_stay(connection())
    assert says.lets_stay(connection(issued_at=6))


def test_a_login_without_a_date_is_cut_by_any_revocation_of_its_user() -> None:
    assert not Standing(frozenset({"k1"}), {"u1": 0}).lets_stay(connection(issued_at=0))
    assert Standing(frozenset({"k1"}), {"u2": 9}).lets_stay(connection(issued_at=0))


def test_an_account_without_signing_keys_lets_nobody_stay() -> None:
    assert standing(account()) == NOBODY_STAYS
    assert not NOBODY_STAYS.lets_stay(connection(issuer=""))


def test_scoped_keys_count_as_signers() -> None:
    says = standing(account(ScopedKey("k1", "role", UserClaims())))
    assert says
    assert says.lets_stay(connection())


def test_only_users_that_are_newly_cut_are_looked_for() -> None:
    before = account("k1", u1=4, u2=4)
    assert scope_of([before], account("k1", u1=4, u2=6, u3=1)) == {"u2", "u3"}
    assert scope_of([before], account("k1", "k2", u1=4, u2=4)) == "nobody"
    assert scope_of([], account("k1", u1=4)) == "nobody"


def test_everybody_is_looked_for_when_a_signer_falls_or_nobody_knows_what_counted_before() -> None:
    assert scope_of([account("k1", "k2")], account("k1")) == "everybody"
    assert scope_of([account("k1")], account()) == "everybody"
    assert scope_of([account("k1")], account("k1", **{"*": 3})) == "everybody"
    for unreadable in ("", "eyJ", "a.b.c"):
        assert scope_of([unreadable], account("k1")) == "everybody"


SAID = st.tuples(KEYS, MANY)
LOGINS = st.builds(
    connection,
    user=st.sampled_from(["u1", "u2"]),
    issuer=st.sampled_from(["k1", "k2", "k3"]),
    issued_at=st.integers(1, 9),
)


@given(SAID, SAID, LOGINS)
def test_whoever_stayed_before_and_may_not_now_is_in_the_scope(
    said: tuple[set[str], dict[str, int]], said_now: tuple[set[str], dict[str, int]], login: LiveConnection
) -> None:
    before, after = account(*said[0], **said[1]), account(*said_now[0], **said_now[1])
    then, now = standing(before), standing(after)
    assert then
    assert now
    if then.lets_stay(login) and not now.lets_stay(login):
        scope = scope_of([before], after)
        assert scope == "everybody" or login.user in scope


def test_connections_are_read_without_keeping_their_tokens() -> None:
    body = user_body(UserClaims(), account=ACCOUNT.public_key)
    token = encode(body, subject=USER.public_key, name="u", issuer=SIGNER, issued_at=77)
    listed = [
        {"cid": 5, "authorized_user": USER.public_key, "issuer_key": SIGNER.public_key, "jwt": token},
        {"cid": 6},
        {"name": "no cid"},
        "nonsense",
    ]
    found = read_connections(Answer(SERVER, {"connections": listed}, ""))
    assert found == [
        LiveConnection("ID1", 5, USER.public_key, SIGNER.public_key, 77),
        LiveConnection("ID1", 6, "", "", 0),
    ]
    assert token not in repr(found)
    assert read_connections(Answer(SERVER, {"connections": None}, "")) == []
    assert read_connections(Answer(SERVER, None, "no such account")) == []


def test_the_signer_is_taken_from_the_token_where_the_server_does_not_name_it() -> None:
    token = encode(user_body(UserClaims(), account="A"), subject=USER.public_key, name="u", issuer=SIGNER, issued_at=1)
    (one,) = read_connections(Answer(SERVER, {"connections": [{"cid": 1, "jwt": token}]}, ""))
    assert one.issuer == SIGNER.public_key


def test_leaf_nodes_count_as_connections() -> None:
    assert count_connections(Answer(SERVER, {"client_connections": 2, "leafnode_connections": 1}, "")) == 3
    assert count_connections(Answer(SERVER, {"expired": True, "client_connections": "many"}, "")) == 0
    assert count_connections(Answer(SERVER, None, "does not exist")) == 0
