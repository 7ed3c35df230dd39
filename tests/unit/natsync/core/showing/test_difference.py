from typing import Any

from natsync.core.showing.difference import Difference, difference
from natsync.core.showing.mirrors import Write
from natsync.core.showing.overview import overview
from natsync.core.showing.plan_text import NOTHING, plan_lines
from tests.natsync_world import World, account, action, role, user


def planned(world: World, *actions: Any, shown: tuple[Write, ...] = ()) -> Difference:
    return difference(world.decide(*actions), world.entries, world.observed, shown)


def settled() -> World:
    world = World()
    world.settle()
    return world


def test_once_settled_there_is_nothing_to_do_and_that_is_said() -> None:
    found = planned(settled())
    assert found.is_empty
    assert plan_lines(found) == [NOTHING]
    assert found.to_dict()["publish"] == ()


def test_what_is_new_is_published_and_issued() -> None:
    world = World()
    found = planned(world)
    (change,) = found.publish
    assert (change.account, change.name, change.why, change.revoked) == ("a1", "a1", ("not on the servers",), ())
    assert [(one.user, one.why) for one in found.issue] == [("u1", "new")]
    lines = plan_lines(found)
    assert lines[0].startswith("publish account a1 (a1) A")
    assert "    not on the servers" in lines
    assert "issue to user u1 (u1) in account a1: new" in lines


def test_of_what_is_known_it_is_said_what_would_be_different_and_who_is_cut_off() -> None:
    world = settled()
    key = world.entry("user", "u1").public_key
    world.accounts = [account(max_connections=7)]
    world.users = []
    found = planned(world)
    (change,) = found.publish
    assert "limits.conn: -1 -> 7" in change.why
    assert change.revoked == (key,)
    assert not any("revocations" in line for line in change.why)
    assert f"    revokes {key}" in plan_lines(found)
    assert "forget user u1" in plan_lines(found)


def test_a_cut_alone_needs_no_other_reason() -> None:
    world = settled()
    world.users = [user(active=False)]
    (change,) = planned(world).publish
    assert (change.why, len(change.revoked)) == ((), 1)


def test_servers_that_differ_or_show_the_same_in_another_token_are_told_of() -> None:
    world = settled()
    key = world.entry("account", "a1").public_key
    world.observed[key] = ""
    assert planned(world).publish[0].why == ("the servers do not all show the same",)
    older = World()
    older.settle()
    world.observed[key] = "no.token.at-all"
    assert planned(world).publish[0].why == ("the servers show another token that says the same",)


def test_removals_and_what_is_left_alone_are_told_with_their_reason() -> None:
    world = settled()
    key = world.entry("account", "a1").public_key
    world.observed["AFOREIGN"] = "x.y.z"
    world.users, world.accounts = [], []
    found = planned(world)
    (gone,) = found.remove
    assert (gone.public_key, gone.why) == (key, ("still on the servers",))
    assert found.foreign == ("AFOREIGN",)
    assert "not ours, left alone: account AFOREIGN" in plan_lines(found)
    del world.observed[key]
    assert planned(world).remove[0].why == ("not known to be gone",)


def test_orders_rows_refusals_and_a_halt_have_a_line_each() -> None:
    world = settled()
    world.roles.append(role("r2", publish_permissions="nonsense"))
    write = Write("nats_accounts", "a1", {"sync_status": "synced", "jwt": "x"})
    found = planned(world, action("x1", "rotate_keys"), shown=(write,))
    lines = plan_lines(found)
    assert "carry out rotate_keys account a1" in lines
    assert "write nats_accounts/a1: jwt, sync_status" in lines
    assert any(line.startswith("set aside nats_roles/r2: ") for line in lines)
    assert [(one.user, one.why) for one in found.issue] == [("u1", "changed")]
    halted = Difference((), (), (), (), (), (), (), (), "too many")
    assert plan_lines(halted) == [NOTHING, "removals are held: too many"]


def test_an_overview_is_settled_once_everybody_is() -> None:
    rows = [account(sync_status="synced"), account("a2", sync_status="error", sync_error="no\nway" + "x" * 99)]
    users = [user(sync_status="synced"), user("u2", sync_status="pending"), user("u3", sync_status="inactive")]
    world = settled()
    found = overview(world.entry("operator", "operator"), rows, users)
    assert not found.is_settled
    head, counted, table, *lines = found.lines
    assert "none" not in head
    assert counted == "users: 3, of them not synced: 1"
    assert table.split() == ["ACCOUNT", "ID", "STATUS", "USERS", "NOT", "SYNCED", "REMARK"]
    assert lines[0].split() == ["a1", "a1", "synced", "3", "1"]
    assert "no way" in lines[1]
    assert overview(world.entry("operator", "operator"), rows[:1], users[:1]).is_settled
    nothing = overview(None, [account(sync_status="")], [])
    assert "bootstrap" in nothing.lines[0]
    assert " new " in nothing.lines[3]
    assert not nothing.is_settled
