"""What one pass comes to, with servers that take everything."""

from dataclasses import replace
from typing import Any

import pytest

from natsync.core.deciding.decision import Terms
from natsync.core.deciding.guard import Guard
from natsync.core.state.ledger import LOCKED, REMOVED, Entry
from natsync.core.state.revocations import next_issue, with_cuts
from natsync.core.state.rights import Defaults
from natsync.core.state.verbs import MAX_REVOCATIONS
from tests.natsync_world import KEYRING, NOW, OPERATOR, World, account, action, export, imported, role, user


@pytest.fixture
def world() -> World:
    settled = World()
    settled.settle()
    return settled


def public_key(world: World, kind: str = "user", record: str = "u1") -> str:
    return world.entry(kind, record).public_key


def revocations(world: World, record: str = "a1") -> dict[str, int]:
    return world.said(record).get("revocations", {})


def test_once_settled_nothing_is_to_do(world: World) -> None:
    assert world.is_idle()
    world.now += 1000
    assert world.is_idle()


def test_no_user_is_signed_by_an_accounts_identity_key(world: World) -> None:
    world.users.append(user("u2", bearer_token=True))
    world.settle()
    identity = public_key(world, "account", "a1")
    assert {given.claims["iss"] for given in world.given}.isdisjoint({identity})


def test_a_deleted_user_is_revoked_before_it_is_forgotten(world: World) -> None:
    gone = public_key(world)
    world.users = []
    decision = world.settle()
    assert revocations(world) == {gone: NOW}
    assert [entry.record for entry in decision.plan.forget] == ["u1"]
    assert world.is_idle()


def test_a_user_that_comes_back_within_the_second_is_issued_after_its_cutoff(world: World) -> None:
    world.users = [user(active=False)]
    world.settle()
    world.users = [user()]
    world.settle()
    assert world.latest().claims["iat"] == NOW + 1
    assert world.rights(world.latest())
    assert world.is_idle()


def test_a_cutoff_covers_tokens_dated_ahead_of_the_clock(world: World) -> None:
    gone = public_key(world)
    world.entries = world.entries.having([replace(world.entry("user", "u1"), last_iat=NOW + 50)])
    world.users = []
    world.settle()
    assert revocations(world) == {gone: NOW + 50}


def test_moving_a_user_revokes_it_where_it_was(world: World) -> None:
    world.accounts.append(account("a2"))
    world.users = [user(account_id="a2")]
    world.settle()
    assert revocations(world, "a1") == {public_key(world): NOW}
    assert revocations(world, "a2") == {}
    assert world.latest().claims["nats"]["issuer_account"] == public_key(world, "account", "a2")


def test_moving_there_and_back_ends_with_a_token_that_counts(world: World) -> None:
    world.accounts.append(account("a2"))
    for home in ("a2", "a1"):
        world.users = [user(account_id=home)]
        world.settle()
    assert world.rights(world.latest())
    assert world.excesses() == []


def test_editing_a_role_changes_what_the_same_credentials_allow(world: World) -> None:
    for subjects in (["a"], ["a", "b"], ["b"]):
        world.roles = [role(publish_permissions=subjects)]
        decision = world.settle()
        assert decision.plan.issue == ()
        rights = world.rights(world.latest())
        assert rights
        assert rights["pub"] == {"allow": subjects}
    assert revocations(world) == {}


def test_a_user_with_lists_of_its_own_is_cut_when_they_narrow_and_not_when_they_widen(world: World) -> None:
    def own(*subjects: str) -> list[dict[str, Any]]:
        return [user(publish_permissions=list(subjects))]

    world.roles = [role(publish_permissions=["r"])]
    world.users = own("a")
    world.settle()
    narrow = world.latest()
    world.users = own("a", "b")
    world.settle()
    wide = world.latest()
    assert world.rights(narrow)
    world.users = own("b")
    world.settle()
    assert (world.rights(narrow), world.rights(wide)) == (None, None)
    assert world.latest().claims["nats"]["pub"] == {"allow": ["r", "b"]}
    assert world.rights(world.latest())


def test_one_that_gets_more_than_its_role_keeps_its_old_credentials_and_one_that_gets_less_does_not(
    world: World,
) -> None:
    world.roles = [role(publish_permissions=["r"])]
    world.settle()
    scoped = world.latest()
    world.users = [user(publish_permissions=["more"])]
    world.settle()
    assert world.rights(scoped)
    world.users = [user(publish_permissions=["more"], publish_deny_permissions=["r"])]
    world.settle()
    assert world.rights(scoped) is None


def test_a_token_of_its_own_that_stayed_in_force_is_cut_once_the_role_allows_less(world: World) -> None:
    world.roles = [role(publish_permissions=["a", "b"])]
    world.users = [user(publish_permissions=["a"])]
    world.settle()
    own = world.latest()
    world.users = [user()]
    world.settle()
    assert world.rights(own)
    world.roles = [role(publish_permissions=["a"])]
    world.settle()
    assert world.rights(own) is None
    assert world.rights(world.latest())
    assert world.is_idle()


def test_another_role_or_name_ends_what_was_issued_before(world: World) -> None:
    world.roles.append(role("r2"))
    for change in ({"role_id": "r2"}, {"role_id": "r2", "nats_username": "other"}):
        before = world.latest()
        world.users = [user(**change)]
        world.settle()
        assert world.rights(before) is None
        assert world.rights(world.latest())


def test_a_name_that_would_widen_a_template_lets_nobody_in(world: World) -> None:
    world.users = [user(nats_username=">")]
    world.settle()
    before = world.latest()
    assert world.rights(before)
    world.roles = [role(publish_permissions=["orders.{{name()}}"])]
    world.settle()
    assert world.rights(before) is None
    assert "{{name()}}" in world.desired().refused["nats_users", "u1"]


def test_templates_are_filled_in_where_a_user_has_a_token_of_its_own(world: World) -> None:
    world.roles = [role(publish_permissions=["orders.{{name()}}"])]
    world.users = [user(bearer_token=True)]
    world.settle()
    assert world.latest().claims["nats"]["pub"] == {"allow": ["orders.u1"]}


def test_an_earlier_expiry_cuts_and_a_later_one_does_not(world: World) -> None:
    unlimited = world.latest()
    world.users = [user(jwt_expires_at="2030-01-01 00:00:00.000Z")]
    world.settle()
    early = world.latest()
    assert world.rights(unlimited) is None
    world.users = [user(jwt_expires_at="2031-01-01 00:00:00.000Z")]
    world.settle()
    assert world.rights(early)


def test_tokens_that_end_by_default_are_renewed_in_time(world: World) -> None:
    world.terms = Terms(Defaults(expiry_seconds=300))
    assert world.is_idle()
    world.settle(action("x", "regenerate", "u1", "nats_users"))
    first = world.latest()
    assert first.claims["exp"] == first.claims["iat"] + 300
    world.now += 150
    assert world.is_idle()
    world.now += 60
    world.settle()
    assert world.latest().claims["exp"] == world.now + 300
    assert world.rights(first)
    assert world.is_idle()


def test_an_older_token_on_the_servers_is_answered_with_a_newer_one(world: World) -> None:
    said = dict(world.observed)
    for tampered in ({}, dict.fromkeys(said, "stale")):
        world.observed = tampered
        (mint,) = world.decide().plan.publish
        assert mint.issued_at == NOW + 1


def test_a_clock_set_back_does_not_set_tokens_back(world: World) -> None:
    world.now, world.observed = NOW - 500, {}
    (mint,) = world.decide().plan.publish
    assert mint.issued_at == NOW + 1


def test_an_account_that_is_gone_is_removed_and_again_if_it_comes_back(world: World) -> None:
    key = public_key(world, "account", "a1")
    world.accounts, world.users = [], []
    world.settle()
    assert world.observed == {}
    assert world.is_idle()
    world.observed = {key: "any"}
    assert [entry.record for entry in world.decide().plan.remove] == ["a1"]


def test_an_account_that_servers_would_not_forget_is_left_as_long_as_they_show_it_locked(world: World) -> None:
    world.accounts, world.users = [], []
    entry = replace(world.entry("account", "a1"), state=LOCKED, jwt="locked")
    world.entries = world.entries.having([entry])
    world.observed = {entry.public_key: "locked"}
    assert world.decide().plan.remove == ()
    for other in ({}, {entry.public_key: ""}, {entry.public_key: "old"}):
        world.observed = other
        assert [found.record for found in world.decide().plan.remove] == ["a1"]


def test_an_inactive_account_leaves_the_servers_and_still_learns_who_is_cut(world: World) -> None:
    gone = public_key(world)
    world.accounts = [account(active=False)]
    world.users = []
    world.settle()
    assert world.observed == {}
    assert world.entry("account", "a1").state == REMOVED
    world.accounts = [account()]
    world.now += 5
    world.settle()
    assert revocations(world) == {gone: NOW}


def test_a_refused_user_keeps_what_it_has_until_it_is_suspended_or_moved(world: World) -> None:
    world.roles = [role(publish_permissions="[")]
    assert world.is_idle()
    world.users = [user(publish_permissions="[")]
    assert world.is_idle()
    world.users = [user(publish_permissions="[", active=False)]
    world.settle()
    assert world.rights(world.latest()) is None


def test_a_role_that_is_gone_while_users_are_in_it_leaves_them_what_they_have(world: World) -> None:
    world.roles = []
    assert world.is_idle()
    assert world.rights(world.latest())


def test_a_role_nobody_can_be_in_any_more_loses_its_key(world: World) -> None:
    scoped = world.latest()
    world.roles, world.users = [role("r2")], [user(role_id="r2")]
    world.settle()
    assert [entry.record for entry in world.entries.of_kind("scope")] == ["a1.r2"]
    assert world.rights(scoped) is None


def test_unreadable_limits_keep_the_last_ones_and_do_not_block_a_revocation(world: World) -> None:
    gone = public_key(world)
    world.accounts, world.users = [account(max_data="x")], []
    world.settle()
    assert world.said()["limits"]["data"] == -1
    assert revocations(world) == {gone: NOW}


def test_a_new_account_with_unreadable_limits_lets_nobody_in() -> None:
    world = World(accounts=[account(max_data="x")], users=[])
    world.settle()
    assert world.said()["limits"]["conn"] == 0


def test_a_bad_export_or_import_is_left_out_with_its_reason_and_blocks_no_revocation(world: World) -> None:
    world.accounts.append(account("a2"))
    world.exports = [export(), export("e2", subject="a..b"), export("e3", type="nonsense")]
    world.imports = [imported(), imported("i2", account="a2"), imported("i3", account="nobody")]
    gone = public_key(world)
    world.users = []
    decision = world.settle()
    assert [each["subject"] for each in world.said()["exports"]] == ["e1.>"]
    assert [each["subject"] for each in world.said("a2")["imports"]] == ["e1.>"]
    assert decision.plan.faults.keys() == {
        ("nats_account_exports", "e2"),
        ("nats_account_imports", "i2"),
        ("nats_account_imports", "i3"),
    }
    assert ("nats_account_exports", "e3") in decision.desired.refused
    assert revocations(world) == {gone: NOW}


def test_an_import_names_its_exporter_by_record_and_is_told_when_nothing_is_exported(world: World) -> None:
    world.accounts.append(account("a2"))
    world.imports = [imported(subject="else.>")]
    decision = world.settle()
    assert world.said("a2")["imports"][0]["account"] == public_key(world, "account", "a1")
    assert "nothing is exported" in decision.plan.advice["nats_account_imports", "i1"]


def test_the_platforms_own_accounts_are_never_removed() -> None:
    world = World(accounts=[], users=[])
    own = [KEYRING.with_keys(Entry("account", record)) for record in ("SYS", "PLATFORM", "AUTH")]
    world.entries = world.entries.having(own)
    decision = world.settle()
    assert decision.plan.remove == ()
    assert [mint.entry.record for mint in decision.plan.publish] == ["AUTH", "PLATFORM"]
    assert world.is_idle()


def test_the_system_account_is_told_again_when_servers_show_another_token() -> None:
    world = World(accounts=[], users=[])
    system = replace(KEYRING.with_keys(Entry("account", "SYS")), jwt="ours")
    world.entries = world.entries.having([system])
    for shown, count in ((system.jwt, 0), ("older", 1)):
        world.observed = {system.public_key: shown}
        assert len(world.decide().plan.publish) == count


def test_a_pass_that_would_do_away_with_most_accounts_or_users_does_not_until_it_is_told_to() -> None:
    world = World(
        accounts=[account(f"a{number}") for number in range(8)],
        users=[user(f"u{number}", account_id=f"a{number % 8}") for number in range(60)],
        terms=Terms(guard=Guard(accounts=5, users=1000, share=0.5)),
    )
    world.settle()
    world.accounts, world.users = world.accounts[:1], world.users[:1]
    decision = world.settle()
    assert decision.plan.remove == decision.plan.forget == ()
    assert "7 of 8 accounts" in decision.plan.halted
    assert "59 of 60 users" in decision.plan.halted
    assert all(map(world.rights, world.given))
    decision = world.settle(action("x", "allow_removals", "", ""))
    assert len(decision.plan.remove) == 7
    assert sum(world.rights(given) is not None for given in world.given) == 1


def test_what_is_halted_still_lets_a_suspension_through() -> None:
    users = [user(f"u{number}") for number in range(50)]
    world = World(users=users, terms=Terms(guard=Guard(users=10)))
    world.settle()
    world.users = [user("u0", active=False)]
    assert world.settle().plan.halted
    assert [given.user for given in world.given if not world.rights(given)] == ["u0"]


def test_a_list_of_revocations_that_grows_too_long_is_emptied_by_a_rotation(world: World) -> None:
    full = {f"U{number}": NOW for number in range(MAX_REVOCATIONS + 1)}
    world.entries = world.entries.having([replace(world.entry("account", "a1"), revocations=full)])
    before = world.latest()
    world.settle()
    assert revocations(world) == {}
    assert world.rights(before) is None
    assert world.rights(world.latest())
    assert world.is_idle()


def test_a_cutoff_never_moves_back() -> None:
    assert with_cuts({"U": 5}, {"U": 3, "V": 1}) == {"U": 5, "V": 1}
    assert next_issue(1, last=4, ledger={"U": 9}, public_key="U") == 10
    assert next_issue(20, last=4, ledger={}, public_key="U") == 20


def test_accounts_are_signed_by_the_operators_signing_key(world: World) -> None:
    (mint,) = World().decide().plan.publish
    assert mint.issuer == OPERATOR.signing_public_key
