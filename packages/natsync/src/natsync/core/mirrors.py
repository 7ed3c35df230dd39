"""What a row is to show: copies of the ledger and how far the row has come. Only differences are written."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from natsync.core.desired import Desired, account_warnings, role_warnings
from natsync.core.ledger import Entries, Entry
from natsync.core.rows import Row

Fields: TypeAlias = dict[str, Any]

TOKEN_BYTES_ADVISED = 3400
ACCOUNT_KEYS = (
    "public_key",
    "private_key",
    "seed",
    "signing_public_key",
    "signing_private_key",
    "signing_seed",
)
USER_KEYS = ("public_key", "private_key", "seed")


@dataclass(frozen=True, slots=True)
class Status:
    state: str
    remark: str = ""

    @property
    def fields(self) -> Fields:
        return {"sync_status": self.state, "sync_error": self.remark}


def advised(warnings: list[str]) -> Status:
    return Status("synced", f"warning: {'; '.join(warnings)}" if warnings else "")


def account_fields(id: str, desired: Desired, entries: Entries, pending: Mapping[str, str]) -> Fields:
    """`pending` says why an account is not known to be on the servers as wanted."""
    account, entry = desired.accounts[id], entries.get("account", id) or Entry("account", id)
    keys = {name: getattr(entry, name) for name in ACCOUNT_KEYS}
    status = account_status(id, desired, pending).fields
    if id in pending:
        return {**keys, **status}
    cleared: Fields = {"rotate_keys": False} if account.rotate and entry.handled else {}
    return {**keys, "jwt": entry.jwt if account.active else "", **cleared, **status}


def account_status(id: str, desired: Desired, pending: Mapping[str, str]) -> Status:
    account = desired.accounts[id]
    if id in pending:
        return Status("pending", pending[id])
    if account.limits is None:
        return Status("error", account.fault)
    if not account.active:
        return Status("inactive", "active is false: the account is not on the servers")
    return advised(account_warnings(account.limits))


def role_fields(id: str, desired: Desired) -> Fields:
    if reason := desired.refused.get(("nats_roles", id)):
        return Status("error", reason).fields
    return advised(role_warnings(desired.roles[id].limits)).fields


def user_fields(
    id: str, desired: Desired, entries: Entries, pending: Mapping[str, str], creds_of: Callable[[Entry], str]
) -> Fields:
    entry = entries.get("user", id) or Entry("user", id)
    wanted = desired.users.get(id)
    if wanted and wanted.account in pending:
        return Status("pending", "its account is not on the servers yet").fields
    keys = {name: getattr(entry, name) for name in USER_KEYS}
    if id in desired.suspended:
        status = Status("inactive", "active is false: no credentials")
        return {**keys, "jwt": "", "creds_file": "", **status.fields}
    creds = creds_of(entry) if entry.jwt else ""
    cleared: Fields = {"regenerate": False} if wanted and wanted.regenerate and entry.handled else {}
    return {**keys, "jwt": entry.jwt, "creds_file": creds, **cleared, **user_status(id, desired, entry).fields}


def user_status(id: str, desired: Desired, entry: Entry) -> Status:
    if reason := desired.refused.get(("nats_users", id)):
        return Status("error", reason)
    wanted = desired.users[id]
    if not desired.accounts[wanted.account].active:
        return Status("inactive", "its account is inactive")
    warnings = role_warnings(wanted.limits)
    if len(entry.jwt) > TOKEN_BYTES_ADVISED:
        warnings.append(f"the token has {len(entry.jwt)} bytes; servers refuse logins beyond about 3,900")
    return advised(warnings)


def differences(row: Row, fields: Fields) -> Fields:
    return {name: value for name, value in fields.items() if row.get(name) != value}
