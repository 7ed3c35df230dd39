"""A PocketBase row to a record, or the reason it is refused. A bad row is set aside; it never stops the others."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias, TypeVar

from natsync.core.claims.account_claims import AccountLimits, Export, ExportKind, Import
from natsync.core.claims.user_claims import Permissions, ResponsePermission, UserLimits
from natsync.core.validation import permissions

Row: TypeAlias = Mapping[str, Any]
T = TypeVar("T")

MAX_LIMIT = 2**53  # beyond this JSON numbers lose digits on their way through PocketBase
LATEST_SECONDS = 2**40
NOTHING = Permissions()


class RowRefused(ValueError):
    """The row cannot be carried out; the message is shown on it."""


@dataclass(frozen=True, slots=True)
class Account:
    """`limits` is None when they cannot be read; `fault` then says why."""

    id: str
    name: str
    active: bool
    limits: AccountLimits | None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Role:
    """`permissions` as they stand on the row, without defaults."""

    id: str
    name: str
    permissions: Permissions
    limits: UserLimits


@dataclass(frozen=True, slots=True)
class User:
    """`permissions` are its own, beside its role's. `expires_at` is in Unix seconds; 0 leaves it to the default.

    `fault` says why these cannot be read; whose user it is and whether it is active always can.
    """

    id: str
    name: str
    account: str
    role: str
    active: bool
    permissions: Permissions = NOTHING
    bearer: bool = False
    expires_at: int = 0
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Offer:
    """An export of an account."""

    id: str
    account: str
    export: Export


@dataclass(frozen=True, slots=True)
class Use:
    """An import of an account; its exporter is named by public key or by record id."""

    id: str
    account: str
    imported: Import


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
    return Account(row["id"], account_name(text(row, "name")), row.get("active") is True, limits, fault)


def to_role(row: Row) -> Role:
    """Raises RowRefused or BadPermissions."""
    response = None
    if row.get("allow_response") is True:
        most, seconds = limit(row, "allow_response_max"), limit(row, "allow_response_ttl")
        response = ResponsePermission(max_messages=most or 1, seconds=seconds)
    return Role(
        id=row["id"],
        name=text(row, "name"),
        permissions=lists(row, response),
        limits=UserLimits(
            subscriptions=limit(row, "max_subscriptions"),
            data=limit(row, "max_data"),
            payload=limit(row, "max_payload"),
        ),
    )


def to_user(row: Row) -> User:
    """Never refused: a user whose lists cannot be read must still be cut off when it is suspended or moved."""
    own, expires_at, fault = NOTHING, 0, ""
    try:
        own, expires_at = lists(row, None), moment(row, "jwt_expires_at")
    except (RowRefused, permissions.BadPermissions) as error:
        fault = str(error)
    return User(
        id=row["id"],
        name=text(row, "nats_username") or row["id"],
        account=text(row, "account_id"),
        role=text(row, "role_id"),
        active=row.get("active") is True,
        permissions=own,
        bearer=row.get("bearer_token") is True,
        expires_at=expires_at,
        fault=fault,
    )


def to_offer(row: Row) -> Offer:
    """Raises RowRefused."""
    export = Export(
        subject=text(row, "subject"),
        kind=export_kind(row),
        name=text(row, "name"),
        token_required=row.get("token_req") is True,
        response_type=text(row, "response_type"),
        response_milliseconds=max(0, limit(row, "response_threshold")),
        account_token_position=max(0, limit(row, "account_token_position")),
        advertise=row.get("advertise") is True,
        allow_trace=row.get("allow_trace") is True,
    )
    return Offer(row["id"], text(row, "account_id"), export)


def to_use(row: Row) -> Use:
    """Raises RowRefused."""
    imported = Import(
        subject=text(row, "subject"),
        account=text(row, "account").strip(),
        kind=export_kind(row),
        name=text(row, "name"),
        local_subject=text(row, "local_subject"),
        token=text(row, "token").strip(),
        share=row.get("share") is True,
        allow_trace=row.get("allow_trace") is True,
    )
    return Use(row["id"], text(row, "account_id"), imported)


def export_kind(row: Row) -> ExportKind:
    kind = text(row, "type")
    if kind not in ("stream", "service"):
        raise RowRefused("type must be stream or service")
    return kind


def lists(row: Row, response: ResponsePermission | None) -> Permissions:
    def subjects(field: str, *, queues: bool = False) -> tuple[str, ...]:
        return permissions.read_subjects(list_text(row, field), field, queues=queues)

    return Permissions(
        publish=subjects("publish_permissions"),
        subscribe=subjects("subscribe_permissions", queues=True),
        publish_deny=subjects("publish_deny_permissions"),
        subscribe_deny=subjects("subscribe_deny_permissions", queues=True),
        response=response,
    )


def list_text(row: Row, field: str) -> str:
    """A list may stand in a text field, or in a JSON field that PocketBase gives as a list."""
    value: object = row.get(field)
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value)


def limit(row: Row, field: str) -> int:
    """-1 (or anything below) is unlimited, 0 disabled. Raises RowRefused unless it is a whole number of sane size."""
    value: object = row.get(field, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1 or value > MAX_LIMIT:
        raise RowRefused(f"{field} must be a whole number up to {MAX_LIMIT}")
    return max(int(value), -1) if value > -MAX_LIMIT else -1


def moment(row: Row, field: str) -> int:
    """A date as PocketBase writes it (`2026-01-31 12:00:00.000Z`), in Unix seconds; 0 for none. Raises RowRefused."""
    written = text(row, field).strip()
    if not written:
        return 0
    try:
        seconds = int(datetime.fromisoformat(written).timestamp())
    except (ValueError, OverflowError) as error:
        raise RowRefused(f"{field} is no date") from error
    if not 0 < seconds < LATEST_SECONDS:
        raise RowRefused(f"{field} is out of range")
    return seconds


def text(row: Row, field: str) -> str:
    value: object = row.get(field)
    return value if isinstance(value, str) else ""


def account_name(name: str) -> str:
    """The name as it stands in the token: lower case, with underscores, nothing else."""
    return re.sub(r"[^a-z0-9_]", "", re.sub(r"[ -]", "_", name.lower())) or "unnamed_account"
