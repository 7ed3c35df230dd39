from dataclasses import replace
from typing import Any

import pytest

from natsync.core.claims import AccountLimits, Export, Import, Permissions, ResponsePermission
from natsync.core.collections.rows import RowRefused, account_name, to_account, to_offer, to_role, to_use, to_user
from natsync.core.state import desired
from natsync.core.state.desired import Table
from natsync.core.state.ledger import Entries


def account(**fields: Any) -> dict[str, Any]:
    return {"id": "a1", "name": "Acme", "active": True, **fields}


def role(**fields: Any) -> dict[str, Any]:
    return {"id": "r1", "name": "role", **fields}


def user(**fields: Any) -> dict[str, Any]:
    return {"id": "u1", "nats_username": "ann", "account_id": "a1", "role_id": "r1", "active": True, **fields}


@pytest.mark.parametrize(
    ("given", "meant"), [(-1, -1), (-7, -1), (-1e300, -1), (0, 0), (5, 5), (5.0, 5), (2**53, 2**53)]
)
def test_limits_are_unlimited_below_zero_disabled_at_zero_and_as_given_above(given: float, meant: int) -> None:
    assert to_account(account(max_connections=given)).limits == AccountLimits(meant, 0, 0, 0, 0, 0)


@pytest.mark.parametrize("given", [1.5, 1e300, float("inf"), float("nan"), "5", None, True, [1]])
def test_an_unreadable_limit_is_said_and_the_account_stays(given: object) -> None:
    read = to_account(account(max_data=given))
    assert read.limits is None
    assert "max_data" in read.fault


@pytest.mark.parametrize(
    ("name", "spelt"),
    [("Acme Corp", "acme_corp"), ("a-b.c", "a_bc"), ("", "unnamed_account"), ("日本", "unnamed_account")],
)
def test_an_accounts_name_is_made_plain(name: str, spelt: str) -> None:
    assert account_name(name) == spelt


def test_a_user_without_a_name_goes_by_its_id() -> None:
    assert to_user(user(nats_username="")).name == "u1"


def test_a_date_is_read_as_pocketbase_writes_it() -> None:
    assert to_user(user(jwt_expires_at="2030-01-01 00:00:00.000Z")).expires_at == 1893456000
    assert to_user(user(jwt_expires_at="")).expires_at == 0


@pytest.mark.parametrize("written", ["soon", "0001-01-01 00:00:00.000Z", "1969-01-01 00:00:00Z"])
def test_a_date_that_is_none_is_said_and_the_user_stays(written: str) -> None:
    read = to_user(user(jwt_expires_at=written))
    assert "jwt_expires_at" in read.fault
    assert (read.account, read.active) == ("a1", True)


def test_lists_may_stand_in_text_or_in_json() -> None:
    for written in ('["a", "b"]', ["a", "b"]):
        assert to_user(user(publish_permissions=written)).permissions == Permissions(publish=("a", "b"))
    nothing: tuple[object, ...] = ("", None, [], "null", "[]")
    for empty in nothing:
        assert to_user(user(publish_permissions=empty)).permissions == Permissions()


@pytest.mark.parametrize("written", ["[", {"a": 1}, 5, [1], '["a b"]'])
def test_lists_that_cannot_be_read_are_said(written: object) -> None:
    assert "publish_permissions" in to_user(user(publish_permissions=written)).fault


@pytest.mark.parametrize(
    ("most", "seconds", "meant"),
    [(0, 0, ResponsePermission(1, 0)), (-1, -1, ResponsePermission(-1, -1)), (3, 5, ResponsePermission(3, 5))],
)
def test_a_role_may_let_its_users_answer(most: int, seconds: int, meant: ResponsePermission) -> None:
    row = role(allow_response=True, allow_response_max=most, allow_response_ttl=seconds)
    assert to_role(row).permissions.response == meant
    assert to_role({**row, "allow_response": False}).permissions.response is None


def test_an_export_and_an_import_are_read_field_by_field() -> None:
    row = {"id": "e1", "account_id": "a1", "subject": "s.*", "type": "service", "name": "n", "token_req": True}
    more = {"response_type": "Stream", "response_threshold": 20, "account_token_position": 2, "advertise": True}
    assert to_offer({**row, **more}).export == Export(
        subject="s.*",
        kind="service",
        name="n",
        token_required=True,
        response_type="Stream",
        response_milliseconds=20,
        account_token_position=2,
        advertise=True,
    )
    row = {"id": "i1", "account_id": "a1", "account": " A ", "subject": "s", "type": "stream", "local_subject": "l"}
    assert to_use(row).imported == Import(subject="s", account="A", local_subject="l")
    for parse in (to_offer, to_use):
        with pytest.raises(RowRefused, match="stream or service"):
            parse({**row, "type": "queue"})


def wanted(**rows: list[dict[str, Any]]) -> desired.Desired:
    table = Table(accounts=[account()], roles=[role()], users=[user()])
    changed: dict[str, Any] = dict(rows)
    return desired.of(replace(table, **changed), Entries({}))


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ({"accounts": []}, "account_id names no account"),
        ({"users": [user(account_id="")]}, "account_id is empty"),
        ({"roles": []}, "role_id names no role"),
        ({"users": [user(role_id="")]}, "role_id is empty"),
        ({"roles": [role(publish_permissions="[")]}, "its role is refused: publish_permissions is not JSON"),
        ({"roles": [role(max_data="x")]}, "its role is refused: max_data"),
        ({"users": [user(subscribe_deny_permissions="[")]}, "subscribe_deny_permissions is not JSON"),
    ],
)
def test_a_user_that_cannot_be_made_is_refused_with_the_reason(rows: dict[str, Any], reason: str) -> None:
    found = wanted(**rows)
    assert found.refused["nats_users", "u1"].startswith(reason)
    assert not found.users
    assert "u1" in found.undecided


def test_an_inactive_user_is_suspended_whatever_else_is_wrong_with_it() -> None:
    found = wanted(accounts=[], roles=[], users=[user(active=False, role_id="gone", publish_permissions="[")])
    assert "u1" in found.suspended
    assert not found.refused


def test_only_who_has_something_of_its_own_gets_a_token_of_its_own() -> None:
    assert wanted().users["u1"].own is None
    assert wanted(users=[user(jwt_expires_at="2030-01-01")]).users["u1"].own is None
    for own in ({"bearer_token": True}, {"publish_permissions": ["a"]}, {"subscribe_deny_permissions": ["a"]}):
        assert wanted(users=[user(**own)]).users["u1"].own


def test_what_both_name_is_too_much_for_one_token() -> None:
    many = [f"s{number}" for number in range(300)]
    more = [f"t{number}" for number in range(300)]
    found = wanted(roles=[role(publish_permissions=many)], users=[user(publish_permissions=more)])
    assert "more than" in found.refused["nats_users", "u1"]
    assert not found.users
