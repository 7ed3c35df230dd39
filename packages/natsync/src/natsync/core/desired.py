"""Rows to the accounts and users wanted."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from natsync.core.claims import AccountLimits, Permissions, UserLimits
from natsync.core.rows import Account, Role, Row, User, sift, to_account, to_role, to_user


@dataclass(frozen=True, slots=True)
class WantedUser:
    id: str
    name: str
    account: str
    permissions: Permissions
    limits: UserLimits
    regenerate: bool


@dataclass(frozen=True, slots=True)
class Desired:
    """`suspended` users exist and are to have no access. `refused` rows keep what they had, by collection and id."""

    accounts: Mapping[str, Account]
    users: Mapping[str, WantedUser]
    suspended: Mapping[str, User]
    refused: Mapping[tuple[str, str], str]
    roles: Mapping[str, Role]


def of(*, accounts: Iterable[Row], roles: Iterable[Row], users: Iterable[Row]) -> Desired:
    good_accounts, _ = sift(accounts, to_account)
    good_roles, bad_roles = sift(roles, to_role)
    good_users, _ = sift(users, to_user)
    refused = {("nats_roles", id): reason for id, reason in bad_roles.items()}
    refused |= {("nats_accounts", account.id): account.fault for account in good_accounts.values() if account.fault}
    wanted: dict[str, WantedUser] = {}
    suspended: dict[str, User] = {}
    for user in good_users.values():
        if not user.active:
            suspended[user.id] = user
        elif reason := why_not(user, good_accounts, good_roles, bad_roles):
            refused["nats_users", user.id] = reason
        else:
            wanted[user.id] = with_role(user, good_roles[user.role])
    return Desired(good_accounts, wanted, suspended, refused, good_roles)


def why_not(
    user: User, accounts: Mapping[str, Account], roles: Mapping[str, Role], bad_roles: Mapping[str, str]
) -> str:
    if user.account not in accounts:
        return "account_id names no account" if user.account else "account_id is empty"
    if user.role in bad_roles:
        return f"its role is refused: {bad_roles[user.role]}"
    if user.role not in roles:
        return "role_id names no role" if user.role else "role_id is empty"
    return ""


def with_role(user: User, role: Role) -> WantedUser:
    return WantedUser(user.id, user.name, user.account, role.permissions, role.limits, user.regenerate)


def account_warnings(limits: AccountLimits) -> list[str]:
    """Zeros that are legal and hardly ever meant: PocketBase stores 0 where a caller left a number out."""
    warnings: list[str] = []
    if limits.connections == 0:
        warnings.append("max_connections is 0: nobody can connect")
    if limits.subscriptions == 0:
        warnings.append("max_subscriptions is 0: nobody can connect")
    if limits.payload == 0:
        warnings.append("max_payload is 0: only empty messages pass")
    return warnings


def role_warnings(limits: UserLimits) -> list[str]:
    warnings: list[str] = []
    if limits.subscriptions == 0:
        warnings.append("max_subscriptions is 0: its users cannot connect")
    if limits.payload == 0:
        warnings.append("max_payload is 0: its users can send empty messages only")
    return warnings
