from dataclasses import replace
from typing import Any

from natsync.core.claims.keys import KeyKind, KeyPair
from natsync.core.claims.token_codec import encode, id_of
from natsync.core.collections.rows import User
from natsync.core.deciding.decision import Decision
from natsync.core.deciding.drift import Plan
from natsync.core.showing.audit import MOST_USERS, decided, published, removed
from natsync.core.state.desired import Desired
from natsync.core.state.ledger import Entries, Entry, by_place
from natsync.core.state.verbs import Order
from natsync.core.tokens.account_tokens import issuer_of
from natsync.core.tokens.user_tokens import Mint

ACCOUNT = Entry("account", "a1", name="acme", public_key="AACME", revocations={"UOLD": 3})
USER = Entry("user", "u1", account="a1", public_key="UONE", jwt="x.y.z", content="said")


def ledger(*entries: Entry) -> Entries:
    return Entries(by_place(entries))


def decision(entries: Entries, **changed: Any) -> Decision:
    return replace(Decision(Desired(), Plan(), entries), **changed)


def test_an_action_says_who_asked_for_what_and_why_and_a_trigger_what() -> None:
    action = {"id": "x1", "verb": "revoke", "collection": "nats_users", "record": "u1"}
    action |= {"requested_by": "ann", "reason": "lost laptop"}
    by_action = Order("user", "u1", "revoke", "", "action:x1")
    by_trigger = Order("account", "a1", "rotate_keys", "", "rotate_keys@4")
    done = decision(ledger(ACCOUNT), carried={by_action: "", by_trigger: "it is the only key"})
    assert decided(done, ledger(ACCOUNT), [action]) == [
        (
            "order carried out",
            {"verb": "revoke", "user": "u1", "argument": "", "action": "x1", "by": "ann", "reason": "lost laptop"},
        ),
        ("order refused", {"verb": "rotate_keys", "account": "a1", "argument": "", "refused": "it is the only key"}),
    ]


def test_who_is_cut_off_is_named_with_the_reason() -> None:
    stored = ledger(ACCOUNT, USER)
    after = stored.having([replace(ACCOUNT, revocations={"UOLD": 3, "UONE": 9})])
    order = Order("user", "u1", "revoke", "", "revoke@1")
    suspended = Desired(suspended={"u1": User("u1", "one", "a1", "r1", active=False)})
    for changed, why in (
        ({"plan": Plan(forget=(USER,))}, "its row is gone"),
        ({"desired": suspended}, "suspended"),
        ({"carried": {order: ""}}, "revoked"),
        ({}, "its rights are others"),
    ):
        lines = decided(decision(after, **changed), stored, [])
        said = {"account": "a1", "public_key": "UONE", "since": 9, "user": "u1", "why": why}
        assert ("user cut off", said) in lines
    publishing = Plan(publish=(Mint(after.by_place["account", "a1"], {}, "", "acme", "OKEY", 9),))
    assert "user cut off" in dict(decided(decision(stored, plan=publishing), stored, []))
    assert not [event for event, _ in decided(decision(stored), stored, []) if event == "user cut off"]


def test_a_key_that_nobody_holds_is_cut_off_without_a_name() -> None:
    after = ledger(replace(ACCOUNT, revocations={"UOLD": 5}))
    assert decided(decision(after), ledger(ACCOUNT), []) == [
        ("user cut off", {"account": "a1", "public_key": "UOLD", "since": 5})
    ]


def mint(entry: Entry, content: str = "said") -> Mint:
    return Mint(entry, {}, content, "one", "AKEY", 10)


def test_credentials_are_told_of_by_account_and_reason() -> None:
    again, fresh = mint(USER), mint(replace(USER, record="u2"))
    other = mint(USER, content="other")
    rekeyed = mint(replace(USER, public_key="UTWO"))
    for one, why in ((again, "issued anew"), (fresh, "new"), (other, "changed"), (rekeyed, "its key is new")):
        lines = decided(decision(ledger(ACCOUNT), plan=Plan(issue=(one,))), ledger(ACCOUNT, USER), [])
        assert lines == [("credentials issued", {"account": "a1", "why": why, "users": [one.entry.record]})]


def test_of_many_users_there_are_several_lines() -> None:
    mints = tuple(mint(replace(USER, record=f"u{number}", jwt="")) for number in range(MOST_USERS + 1))
    lines = decided(decision(ledger(ACCOUNT), plan=Plan(issue=mints)), ledger(ACCOUNT), [])
    assert [len(said["users"]) for _, said in lines] == [MOST_USERS, 1]


def account_of(connections: int) -> dict[str, Any]:
    return {"type": "account", "version": 2, "limits": {"conn": connections}}


def test_what_servers_are_told_is_named_by_its_id_and_what_is_different_and_never_shown() -> None:
    operator = KeyPair(KeyKind.OPERATOR, b"o" * 32)
    identity = KeyPair(KeyKind.ACCOUNT, b"a" * 32)

    def token(body: dict[str, Any], issued_at: int) -> str:
        return encode(body, subject=identity.public_key, name="acme", issuer=operator, issued_at=issued_at)

    before, body = token(account_of(1), 1), account_of(2)
    entry = Entry("account", "a1", public_key=identity.public_key, jwt=before)
    after = replace(entry, jwt=token(body, 2))
    one = Mint(entry, body, "c", "acme", issuer_of(ledger()), 2)
    (line,) = published([one], ledger(after), {identity.public_key: before})
    said = {"account": "a1", "public_key": identity.public_key, "desired": id_of(after.jwt)}
    assert line == ("account to be published", {**said, "why": ["limits.conn: 1 -> 2"], "revoked": []})
    assert "eyJ" not in str(line)
    for shown, why in (({}, "not on the servers"), ({identity.public_key: ""}, "do not all show the same")):
        ((_, told),) = published([one], ledger(after), shown)
        assert why in told["why"][0]


def test_an_account_is_removed_for_one_of_two_reasons() -> None:
    (line,) = removed([ACCOUNT], decision(ledger()))
    assert line == ("account to be removed", {"account": "a1", "public_key": "AACME", "why": "its row is gone"})
