"""A PocketBase row to a record, or the reason it is refused. A bad row is set aside; it never stops the others."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from natsync.core import permissions
from natsync.core.claims import AccountLimits, Permissions, UserLimits

Row: TypeAlias = Mapping[str, Any]
T = TypeVar("T")

MAX_LIMIT = 2**53  # beyond this JSON numbers lose digits on their way through PocketBase


class RowRefused(ValueError):
    """The row cannot be carried out; the message is shown on it."""


@dataclass(frozen=True, slots=True)
class Account:
    """`limits` is None when they cannot be read; `fault` then says why."""

    id: str
    name: str
    active: bool
    rotate: bool
    limits: AccountLimits | None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Role:
    id: str
    name: str
    permissions: Permissions
    limits: UserLimits


@dataclass(frozen=True, slots=True)
class User:
    id: str
    name: str
    account: str
    role: str
    active: bool
    regenerate: bool


def sift(rows: Iterable[Row], parse: Callable[[Row], T]) -> tuple[dict[str, T], dict[str, str]]:
    """Records by id, and reasons of refusal by id."""
    good: dict[str, T] = {}
    refused: dict[str, str] = {}
    for row in rows:
        try:
            good[row["id"]] = parse(row)
        except (RowRefused, permissions.BadPermissions) as error:
            refused[row["id"]] = str(error)
    return good, refused


def to_account(row: Row) -> Account:
    """Never refused: an account whose limits cannot be read must still be able to cut users off."""
    limits, fault = None, ""
    try:
        limits = AccountLimits(
            connections=limit(row, "max_connections"),
            subscriptions=limit(row, "max_subscriptions"),
            data=limit(row, "max_data"),
            payload=limit(row, "max_payload"),
            disk_storage=limit(row, "max_jetstream_disk_storage"),
            memory_storage=limit(row, "max_jetstream_memory_storage"),
        )
    except RowRefused as error:
        fault = str(error)
    return Account(
        id=row["id"],
        name=account_name(text(row, "name")),
        active=row.get("active") is True,
        rotate=row.get("rotate_keys") is True,
        limits=limits,
        fault=fault,
    )


def to_role(row: Row) -> Role:
    """Raises RowRefused or BadPermissions."""
    return Role(
        id=row["id"],
        name=text(row, "name"),
        permissions=permissions.of_role(text(row, "publish_permissions"), text(row, "subscribe_permissions")),
        limits=UserLimits(
            subscriptions=limit(row, "max_subscriptions"),
            data=limit(row, "max_data"),
            payload=limit(row, "max_payload"),
        ),
    )


def to_user(row: Row) -> User:
    return User(
        id=row["id"],
        name=text(row, "nats_username") or row["id"],
        account=text(row, "account_id"),
        role=text(row, "role_id"),
        active=row.get("active") is True,
        regenerate=row.get("regenerate") is True,
    )


def limit(row: Row, field: str) -> int:
    """-1 (or anything below) is unlimited, 0 disabled. Raises RowRefused unless it is a whole number of sane size."""
    value: object = row.get(field, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1 or value > MAX_LIMIT:
        raise RowRefused(f"{field} must be a whole number up to {MAX_LIMIT}")
    return max(int(value), -1) if value > -MAX_LIMIT else -1


def text(row: Row, field: str) -> str:
    value: object = row.get(field)
    return value if isinstance(value, str) else ""


def account_name(name: str) -> str:
    """The name as it stands in the token: lower case, with underscores, nothing else."""
    return re.sub(r"[^a-z0-9_]", "", re.sub(r"[ -]", "_", name.lower())) or "unnamed_account"
