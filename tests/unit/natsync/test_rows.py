from typing import Any

import pytest

from natsync.core import desired
from natsync.core.claims import AccountLimits
from natsync.core.rows import account_name, to_account, to_user


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


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ({"accounts": []}, "account_id names no account"),
        ({"users": [user(account_id="")]}, "account_id is empty"),
        ({"roles": []}, "role_id names no role"),
        ({"users": [user(role_id="")]}, "role_id is empty"),
        ({"roles": [role(publish_permissions="[")]}, "its role is refused: publish_permissions is not JSON"),
        ({"roles": [role(max_data="x")]}, "its role is refused: max_data"),
    ],
)
def test_a_user_that_cannot_be_made_is_refused_with_the_reason(rows: dict[str, Any], reason: str) -> None:
    wanted = desired.of(**{"accounts": [account()], "roles": [role()], "users": [user()], **rows})
    assert wanted.refused["nats_users", "u1"].startswith(reason)
    assert not wanted.users


def test_an_inactive_user_is_suspended_whatever_else_is_wrong_with_it() -> None:
    wanted = desired.of(accounts=[], roles=[], users=[user(active=False, role_id="gone")])
    assert "u1" in wanted.suspended
    assert not wanted.refused


def test_zeros_are_legal_and_warned_of() -> None:
    assert len(desired.account_warnings(AccountLimits(0, 0, 0, 0, 0, 0))) == 3
    assert desired.account_warnings(AccountLimits()) == []
