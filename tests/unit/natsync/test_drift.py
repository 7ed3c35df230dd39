from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natsync.core import claims, desired, drift
from natsync.core.desired import Desired
from natsync.core.drift import Mint, Plan
from natsync.core.keys import KeyKind, KeyPair
from natsync.core.ledger import REMOVED, Entries, Entry, by_place, to_entry, to_row
from natsync.core.revocations import is_cut, next_issue, with_cuts

NOW = 1_000_000
OPERATOR = KeyPair(KeyKind.OPERATOR, b"\x01" * 32)
SIGNER = KeyPair(KeyKind.ACCOUNT, b"\x02" * 32)
UNLIMITED = dict.fromkeys(("max_connections", "max_subscriptions", "max_data", "max_payload"), -1)


def account(id: str = "a1", **fields: Any) -> dict[str, Any]:
    return {"id": id, "name": id, "active": True, **UNLIMITED, **fields}


def role(**fields: Any) -> dict[str, Any]:
    return {"id": "r1", "name": "r", **UNLIMITED, **fields}


def user(id: str = "u1", **fields: Any) -> dict[str, Any]:
    row = {"id": id, "nats_username": id, "account_id": "a1", "role_id": "r1", "active": True}
    return {**row, **fields}


def wanted(**rows: list[dict[str, Any]]) -> Desired:
    return desired.of(**{"accounts": [account()], "roles": [role()], "users": [user()], **rows})


def operator() -> Entry:
    return Entry("operator", "operator", signing_public_key=OPERATOR.public_key)


def keyed(entry: Entry) -> Entry:
    return replace(entry, public_key=f"{entry.kind}-{entry.record}", signing_public_key=SIGNER.public_key)


def said(mint: Mint) -> Entry:
    issuer = SIGNER if mint.entry.kind == "user" else OPERATOR
    entry = mint.entry
    token = claims.encode(mint.body, subject=entry.public_key, name=mint.name, issuer=issuer, issued_at=mint.issued_at)
    return replace(entry, jwt=token, content=mint.content, last_iat=mint.issued_at)


def settle(
    target: Desired, entries: Entries, observed: dict[str, str], now: int = NOW
) -> tuple[Entries, dict[str, str]]:
    """Carry a plan out the way reconcile does, with servers that take everything."""
    entries = entries.having(keyed(entry) for entry in drift.keyless(target, entries))
    entries = entries.having(drift.settled(target, entries))
    plan = drift.plan(target, entries, observed, now)
    published = [said(mint) for mint in plan.publish]
    removed = [replace(entry, state=REMOVED, content="") for entry in plan.remove]
    entries = entries.having([*plan.record, *published, *removed]).without(plan.forget)
    entries = entries.having(said(mint) for mint in plan.issue)
    gone = {entry.public_key for entry in plan.remove}
    after = {**observed, **{entry.public_key: entry.jwt for entry in published}}
    return entries, {key: token for key, token in after.items() if key not in gone}


@pytest.fixture
def settled() -> tuple[Entries, dict[str, str]]:
    return settle(wanted(), Entries(by_place([operator()])), {})


def plan(target: Desired, state: tuple[Entries, dict[str, str]], now: int = NOW) -> Plan:
    return drift.plan(target, *state, now)


State = tuple[Entries, dict[str, str]]


def test_once_settled_nothing_is_to_do(settled: State) -> None:
    assert plan(wanted(), settled).is_empty
    assert plan(wanted(), settled, now=NOW + 1000).is_empty


def test_a_deleted_user_is_revoked_before_it_is_forgotten(settled: State) -> None:
    found = plan(wanted(users=[]), settled)
    (mint,) = found.publish
    assert mint.body["revocations"] == {"user-u1": NOW}
    assert [entry.record for entry in found.forget] == ["u1"]
    after = settle(wanted(users=[]), *settled)
    assert plan(wanted(users=[]), after).is_empty


def test_a_user_that_comes_back_within_the_second_is_issued_after_its_cutoff(settled: State) -> None:
    suspended = settle(wanted(users=[user(active=False)]), *settled)
    (mint,) = plan(wanted(), suspended).issue
    assert mint.issued_at == NOW + 1
    assert plan(wanted(), settle(wanted(), *suspended)).is_empty


def test_a_cutoff_covers_tokens_dated_ahead_of_the_clock(settled: State) -> None:
    entries, observed = settled
    ahead = replace(entries.by_place["user", "u1"], last_iat=NOW + 50)
    (mint,) = plan(wanted(users=[]), (entries.having([ahead]), observed)).publish
    assert mint.body["revocations"] == {"user-u1": NOW + 50}


def test_moving_a_user_revokes_it_where_it_was(settled: State) -> None:
    both = wanted(accounts=[account(), account("a2")], users=[user(account_id="a2")])
    entries, observed = settled
    entries = entries.having(keyed(entry) for entry in drift.keyless(both, entries))
    found = drift.plan(both, entries, observed, NOW)
    revoked = {mint.entry.record: mint.body.get("revocations") for mint in found.publish}
    assert revoked == {"a1": {"user-u1": NOW}, "a2": None}
    (mint,) = found.issue
    assert mint.body["issuer_account"] == "account-a2"


def test_moving_there_and_back_ends_with_a_token_that_counts(settled: State) -> None:
    both = [account(), account("a2")]
    away = settle(wanted(accounts=both, users=[user(account_id="a2")]), *settled)
    entries, _ = settle(wanted(accounts=both), *away)
    entry, home = entries.by_place["user", "u1"], entries.by_place["account", "a1"]
    assert not is_cut(home.revocations, entry.public_key, entry.last_iat)


def test_narrowing_revokes_what_was_issued_before_and_widening_does_not(settled: State) -> None:
    narrower = plan(wanted(roles=[role(publish_permissions='["a"]')]), settled)
    (mint,) = narrower.publish
    assert mint.body["revocations"] == {"user-u1": NOW}
    assert narrower.issue[0].issued_at == NOW + 1
    wider = plan(wanted(roles=[role(publish_permissions='["a", ">"]')]), settled)
    assert (wider.publish, len(wider.issue)) == ((), 1)


def test_an_older_token_on_the_servers_is_answered_with_a_newer_one(settled: State) -> None:
    entries, observed = settled
    for tampered in ({}, dict.fromkeys(observed, "stale")):
        (mint,) = drift.plan(wanted(), entries, tampered, NOW).publish
        assert mint.issued_at == NOW + 1


def test_a_clock_set_back_does_not_set_tokens_back(settled: State) -> None:
    entries, _ = settled
    (mint,) = drift.plan(wanted(), entries, {}, NOW - 500).publish
    assert mint.issued_at == NOW + 1


def test_an_account_that_is_gone_is_removed_and_again_if_it_comes_back(settled: State) -> None:
    nothing = wanted(accounts=[], users=[])
    entries, observed = settle(nothing, *settled)
    assert observed == {}
    assert drift.plan(nothing, entries, observed, NOW).is_empty
    risen = {"account-a1": "any"}
    assert [entry.record for entry in drift.plan(nothing, entries, risen, NOW).remove] == ["a1"]


def test_an_inactive_account_leaves_the_servers_and_still_learns_who_is_cut(settled: State) -> None:
    off = wanted(accounts=[account(active=False)], users=[])
    entries, observed = settle(off, *settled)
    assert observed == {}
    (mint,) = drift.plan(wanted(users=[]), entries, observed, NOW + 5).publish
    assert mint.body["revocations"] == {"user-u1": NOW}


def test_a_refused_user_keeps_what_it_has(settled: State) -> None:
    assert plan(wanted(roles=[role(publish_permissions="[")]), settled).is_empty


def test_unreadable_limits_keep_the_last_ones_and_do_not_block_a_revocation(settled: State) -> None:
    (mint,) = plan(wanted(accounts=[account(max_data="x")], users=[]), settled).publish
    assert mint.body["limits"]["data"] == -1
    assert mint.body["revocations"] == {"user-u1": NOW}


def test_a_new_account_with_unreadable_limits_lets_nobody_in() -> None:
    target = wanted(accounts=[account(max_data="x")], users=[])
    entries, _ = settle(target, Entries(by_place([operator()])), {})
    assert claims.read(entries.by_place["account", "a1"].jwt)["nats"]["limits"]["conn"] == 0


def test_a_trigger_is_carried_out_once_until_it_is_seen_cleared(settled: State) -> None:
    entries, _ = settled
    raised = wanted(accounts=[account(rotate_keys=True)])
    (entry,) = drift.rotations(raised, entries)
    handled = entries.having([replace(entry, handled="rotate_keys")])
    assert drift.rotations(raised, handled) == []
    assert drift.settled(raised, handled) == []
    (cleared,) = drift.settled(wanted(), handled)
    assert cleared.handled == ""


def test_regenerating_issues_once(settled: State) -> None:
    raised = wanted(users=[user(regenerate=True)])
    (mint,) = plan(raised, settled).issue
    assert mint.issued_at == NOW + 1
    assert plan(raised, settle(raised, *settled)).is_empty


def test_rotation_reissues_every_active_user(settled: State) -> None:
    target = wanted(users=[user(), user("u2"), user("u3", active=False)])
    entries, observed = settle(target, *settled)
    rotated = replace(entries.by_place["account", "a1"], signing_public_key="ANEW")
    found = drift.plan(target, entries.having([rotated]), observed, NOW)
    assert found.publish[0].body["signing_keys"] == ["ANEW"]
    assert {mint.entry.record for mint in found.issue} == {"u1", "u2"}


def test_the_platforms_own_accounts_are_never_removed() -> None:
    own = [keyed(Entry("account", record)) for record in ("SYS", "PLATFORM")]
    found = drift.plan(wanted(accounts=[], users=[]), Entries(by_place([operator(), *own])), {}, NOW)
    assert found.remove == ()
    assert [mint.entry.record for mint in found.publish] == ["PLATFORM"]


edits = st.lists(
    st.sampled_from(
        [
            wanted(),
            wanted(users=[]),
            wanted(users=[user(active=False)]),
            wanted(users=[user(regenerate=True)]),
            wanted(accounts=[account(active=False)]),
            wanted(accounts=[], users=[]),
            wanted(accounts=[account(), account("a2")], users=[user(account_id="a2")]),
            wanted(roles=[role(publish_permissions='["a"]')]),
            wanted(roles=[role(publish_permissions="[")]),
        ]
    ),
    max_size=8,
)


@given(edits, st.lists(st.integers(-3, 3), min_size=8, max_size=8))
def test_any_history_settles_in_one_pass_and_a_wanted_user_holds_a_token_that_counts(
    history: list[Desired], ticks: list[int]
) -> None:
    state: State = (Entries(by_place([operator()])), {})
    now = NOW
    for target, tick in zip([*history, wanted()], [*ticks, 0], strict=False):
        now += tick
        state = settle(target, *state, now)
        state = (state[0].having(drift.settled(target, state[0])), state[1])
        assert drift.plan(target, *state, now).is_empty
    entries, observed = settle(wanted(), *state, now)
    entry, home = entries.by_place["user", "u1"], entries.by_place["account", "a1"]
    assert not is_cut(
        claims.read(observed[home.public_key])["nats"].get("revocations", {}), entry.public_key, entry.last_iat
    )


def test_a_cutoff_never_moves_back() -> None:
    assert with_cuts({"U": 5}, {"U": 3, "V": 1}) == {"U": 5, "V": 1}
    assert next_issue(1, last=4, ledger={"U": 9}, public_key="U") == 10
    assert next_issue(20, last=4, ledger={}, public_key="U") == 20


def test_an_entry_survives_its_row() -> None:
    entry = replace(keyed(Entry("user", "u1")), id="x", revocations={"U": 1}, last_iat=3)
    assert to_entry({**to_row(entry), "id": "x"}) == entry
    assert to_entry({**to_row(entry), "id": "x", "revocations": None}).revocations == {}
