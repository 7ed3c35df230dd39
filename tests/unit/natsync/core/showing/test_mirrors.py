from dataclasses import replace
from typing import Any

import pytest

from natsync.core.showing import mirrors
from natsync.core.showing.mirrors import CARRYING_OUT, View, Write
from natsync.core.state.bans import BANNED
from natsync.core.tokens.scopes import by_account
from natsync.mint import creds
from tests.natsync_world import KEYRING, World, account, action, export, imported, role, user


@pytest.fixture
def world() -> World:
    settled = World()
    settled.settle()
    return settled


def view(world: World, **changed: Any) -> View:
    decision = world.decide()
    seen = View(
        decision.desired,
        world.entries,
        decision.plan,
        world.now,
        scopes=by_account(world.entries),
        creds_of=lambda entry: creds(KEYRING, entry),
    )
    return replace(seen, **changed)


def user_fields(world: World, **changed: Any) -> dict[str, Any]:
    return mirrors.user_fields(world.users[0], view(world, **changed))


def account_fields(world: World, **changed: Any) -> dict[str, Any]:
    return mirrors.account_fields(world.accounts[0], view(world, **changed))


def test_credentials_are_shown_once_the_account_is_on_the_servers(world: World) -> None:
    shown = user_fields(world)
    assert shown["creds_file"] == creds(KEYRING, world.entry("user", "u1"))
    assert shown["sync_status"] == "synced"
    waiting = user_fields(world, pending={"a1": "NATS is away"})
    assert waiting["sync_status"] == "pending"
    assert not {"creds_file", "jwt"} & waiting.keys()


def test_credentials_that_stand_there_already_are_not_opened_again(world: World) -> None:
    def never(_: object) -> str:
        raise AssertionError("the seed was opened")

    world.users[0] = {**world.users[0], "creds_file": user_fields(world)["creds_file"]}
    assert "creds_file" not in user_fields(world, creds_of=never)


def test_sealed_credentials_are_on_no_row(world: World) -> None:
    assert user_fields(world, creds_of=None)["creds_file"] == ""


@pytest.mark.parametrize("row", [{"active": False}, {"active": False, BANNED: True}])
def test_a_suspended_users_credentials_are_taken_off_the_row(world: World, row: dict[str, Any]) -> None:
    world.users = [user(**row)]
    shown = user_fields(world)
    assert (shown["creds_file"], shown["jwt"], shown["sync_status"]) == ("", "", "inactive")
    assert ("banned" in shown["sync_error"]) == (BANNED in row)


def test_who_was_suspended_by_an_action_is_shown_inactive_whatever_a_patch_says(world: World) -> None:
    world.settle(action("x", "suspend", "u1", "nats_users"), action("y", "suspend"))
    assert user_fields(world)["active"] is False
    assert account_fields(world)["active"] is False
    assert "action" in account_fields(world)["sync_error"]
    assert account_fields(world)["jwt"] == ""


def test_a_refused_user_without_credentials_shows_none_that_someone_wrote_there() -> None:
    world = World(users=[user(role_id="gone")])
    world.settle()
    shown = user_fields(world)
    assert (shown["creds_file"], shown["jwt"], shown["sync_status"]) == ("", "", "error")


def test_an_unfit_user_is_an_error_and_has_no_credentials(world: World) -> None:
    world.roles, world.users = [role(publish_permissions=["{{name()}}"])], [user(nats_username=">")]
    world.settle()
    shown = user_fields(world)
    assert (shown["creds_file"], shown["sync_status"]) == ("", "error")


def test_nothing_shows_that_a_trigger_was_carried_out_before_it_stays_cleared(world: World) -> None:
    for place, fields in ((("account", "a1"), account_fields), (("user", "u1"), user_fields)):
        shown = fields(world, settling=frozenset({place}))
        assert shown["sync_error"] == CARRYING_OUT
        assert not {"jwt", "signing_public_key", "creds_file"} & shown.keys()
    assert user_fields(world, settling=frozenset({("account", "a1")}))["sync_status"] == "pending"


def test_the_revision_does_not_move_beside_a_trigger_that_is_still_to_be_carried_out(world: World) -> None:
    assert account_fields(world)["sync_revision"] == 0
    world.accounts[0]["rotate_keys"] = True
    assert "sync_revision" not in account_fields(world)


def test_all_keys_that_count_are_listed_oldest_first_with_those_of_roles(world: World) -> None:
    world.settle(action("x", "add_signing_key"))
    entry, scope = world.entry("account", "a1"), world.entry("scope", "a1.r1")
    assert account_fields(world)["signing_keys"] == [
        {"public_key": entry.older_keys[0].public_key, "role": ""},
        {"public_key": entry.signing_public_key, "role": ""},
        {"public_key": scope.public_key, "role": "r1"},
    ]


def test_a_zero_is_warned_of_on_a_synced_row(world: World) -> None:
    world.accounts, world.roles = [account(max_connections=0)], [role(max_subscriptions=0)]
    world.settle()
    shown = account_fields(world)
    assert shown["sync_status"] == "synced"
    assert shown["sync_error"] == "warning: max_connections is 0: nobody can connect"
    of_role = mirrors.role_fields(world.roles[0], view(world))
    assert "max_subscriptions is 0" in of_role["sync_error"]
    assert "max_subscriptions is 0" in user_fields(world)["sync_error"]


def test_a_token_too_long_for_the_servers_is_warned_of() -> None:
    long = [f"{number}.{'x' * 50}" for number in range(80)]
    world = World(users=[user(publish_permissions=long)])
    world.settle()
    assert "bytes" in user_fields(world)["sync_error"]


def test_an_expired_token_is_said(world: World) -> None:
    world.users = [user(jwt_expires_at="1970-01-12 00:00:00.000Z")]
    world.settle()
    assert user_fields(world)["sync_error"] == "its token has expired"


def test_exports_and_imports_say_what_became_of_them(world: World) -> None:
    world.accounts.append(account("a2", active=False))
    world.exports = [export(), export("e2", subject=""), export("e3", account_id="a2")]
    world.imports = [imported("i1", account_id="a1", account="gone")]
    world.settle()

    def state(collection: str, row: dict[str, Any], **changed: Any) -> str:
        return mirrors.shared_fields(collection, row, view(world, **changed))["sync_status"]

    assert [state("nats_account_exports", row) for row in world.exports] == ["synced", "error", "inactive"]
    assert state("nats_account_imports", world.imports[0]) == "error"
    assert state("nats_account_exports", world.exports[0], pending={"a1": "away"}) == "pending"


def test_only_differences_are_written_and_only_where_somebody_looked(world: World) -> None:
    def apply(write: Write) -> None:
        rows = {"nats_accounts": world.accounts, "nats_roles": world.roles, "nats_users": world.users}
        next(row for row in rows[write.collection] if row["id"] == write.id).update(write.fields)

    for write in mirrors.writes(world.table, view(world)):
        apply(write)
    assert mirrors.writes(world.table, view(world)) == []
    world.accounts[0]["jwt"] = "mine"
    (write,) = mirrors.writes(world.table, view(world))
    assert write == Write("nats_accounts", "a1", {"jwt": world.entry("account", "a1").jwt})


def test_while_nats_is_away_only_what_was_never_carried_out_says_so() -> None:
    world = World()
    rows = mirrors.waiting(world.table, world.decide().plan, "NATS is away")
    assert {(write.collection, write.id) for write in rows} == {("nats_accounts", "a1"), ("nats_users", "u1")}
    world.settle()
    world.accounts[0]["sync_status"] = world.users[0]["sync_status"] = "synced"
    assert mirrors.waiting(world.table, world.decide().plan, "NATS is away") == []
