"""What a row is to show: copies of the ledger and how far the row has come. Only differences are written."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from natsync.core.collections.rows import Row
from natsync.core.deciding.drift import Plan
from natsync.core.state.bans import BANNED
from natsync.core.state.desired import Desired, Table, WantedUser
from natsync.core.state.ledger import Entries, Entry
from natsync.core.state.verbs import is_asking
from natsync.core.tokens.scopes import role_of
from natsync.core.validation.lints import permission_lints, token_lints, user_limit_lints

Fields: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Write:
    """Fields of a row that people edit too."""

    collection: str
    id: str
    fields: Fields


IDENTITY = ("public_key", "private_key", "seed")
SIGNING = ("signing_public_key", "signing_private_key", "signing_seed")
CARRYING_OUT = "what was asked for is being carried out"


@dataclass(frozen=True, slots=True)
class Status:
    state: str
    remark: str = ""

    @property
    def fields(self) -> Fields:
        return {"sync_status": self.state, "sync_error": self.remark}


def advised(*advice: str) -> Status:
    said = "; ".join(each for each in advice if each)
    return Status("synced", f"warning: {said}" if said else "")


@dataclass(frozen=True, slots=True)
class View:
    """What a pass has come to. `pending` says by account why it is not known to be on the servers as wanted.

    `settling` are the entries whose triggers were cleared a moment ago: until it is certain that these stay cleared,
    nothing shows that they were carried out. `scopes` are the keys of roles by account. `creds_of` gives the text of a
    .creds file; None where rows show none.
    """

    desired: Desired
    entries: Entries
    plan: Plan
    now: int
    pending: Mapping[str, str] = field(default_factory=dict[str, str])
    settling: frozenset[tuple[str, str]] = frozenset()
    scopes: Mapping[str, list[Entry]] = field(default_factory=dict[str, list[Entry]])
    creds_of: Callable[[Entry], str] | None = None

    def unfinished(self, account: str) -> str:
        if account in self.pending:
            return self.pending[account]
        return CARRYING_OUT if ("account", account) in self.settling else ""


def account_fields(row: Row, view: View) -> Fields:
    id = row["id"]
    account, entry = view.desired.accounts[id], view.entries.by_place["account", id]
    identity: Fields = {name: getattr(entry, name) for name in IDENTITY}
    if reason := view.unfinished(id):
        return {**identity, **Status("pending", reason).fields}
    return {
        **identity,
        **{name: getattr(entry, name) for name in SIGNING},
        "signing_keys": shown_keys(entry, view.scopes.get(id, [])),
        "revocations": dict(entry.revocations),
        "jwt": entry.jwt if account.active else "",
        **switch("nats_accounts", row, entry),
        **account_status(id, view).fields,
    }


def shown_keys(entry: Entry, scopes: Iterable[Entry]) -> list[dict[str, str]]:
    """Oldest first; then the keys that only sign users of one role."""
    return [
        *({"public_key": key, "role": ""} for key in entry.signing_public_keys),
        *({"public_key": scope.public_key, "role": role_of(scope)} for scope in sorted(scopes, key=role_of)),
    ]


def switch(collection: str, row: Row, entry: Entry) -> Fields:
    """What an action said of the row's `active`, and how many orders were carried out on it."""
    off: Fields = {"active": False} if entry.suspended else {}
    return off if is_asking(collection, row, entry) else {**off, "sync_revision": entry.revision}


def account_status(id: str, view: View) -> Status:
    account, entry = view.desired.accounts[id], view.entries.get("account", id)
    if reason := view.unfinished(id):
        return Status("pending", reason)
    if account.limits is None:
        return Status("error", account.fault)
    if entry and entry.suspended:
        return Status("inactive", "suspended by an action: the account is not on the servers")
    if not account.active:
        return Status("inactive", "active is false: the account is not on the servers")
    return advised(view.plan.advice.get(("nats_accounts", id), ""), entry.remark if entry else "")


def role_fields(row: Row, view: View) -> Fields:
    id = row["id"]
    if reason := view.desired.refused.get(("nats_roles", id)):
        return Status("error", reason).fields
    template = view.desired.templates[id]
    return advised(*user_limit_lints(template.limits), *permission_lints(template.permissions)).fields


def user_fields(row: Row, view: View) -> Fields:
    """Nothing while its account or itself is on the way: what it shows was true, and new credentials come later."""
    id = row["id"]
    entry = view.entries.by_place["user", id]
    wanted = view.desired.users.get(id)
    if ("user", id) in view.settling:
        return Status("pending", CARRYING_OUT).fields
    if wanted and view.unfinished(wanted.account):
        return Status("pending", "its account is not on the servers yet").fields
    shown: Fields = {name: getattr(entry, name) for name in IDENTITY} | switch("nats_users", row, entry)
    status = user_status(row, entry, view).fields
    if id in view.desired.suspended:
        return {**shown, "jwt": "", "creds_file": "", **status}
    return {**shown, "jwt": entry.jwt, **shown_creds(row, entry, view), **status}


def shown_creds(row: Row, entry: Entry, view: View) -> Fields:
    """The digest tells, without opening the seed, that the right text stands there."""
    if not entry.jwt or view.creds_of is None:
        return {"creds_file": ""}
    shown: object = row.get("creds_file")
    if isinstance(shown, str) and entry.creds_digest == digest(shown):
        return {}
    return {"creds_file": view.creds_of(entry)}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def user_status(row: Row, entry: Entry, view: View) -> Status:
    id = row["id"]
    if reason := view.desired.refused.get(("nats_users", id)):
        return Status("error", reason)
    wanted = view.desired.users.get(id)
    if wanted is None:
        return Status("inactive", f"{why_suspended(row, entry)}: no credentials")
    if not view.desired.accounts[wanted.account].active:
        return Status("inactive", "its account is inactive")
    if 0 < entry.expires_at <= view.now:
        return Status("inactive", "its token has expired")
    return advised(*user_lints(wanted, view.desired), *token_lints(entry.jwt), entry.remark)


def why_suspended(row: Row, entry: Entry) -> str:
    if row.get(BANNED):
        return "banned"
    return "suspended by an action" if entry.suspended else "active is false"


def user_lints(wanted: WantedUser, desired: Desired) -> list[str]:
    claims = wanted.own or desired.templates[wanted.role]
    own = permission_lints(wanted.own.permissions) if wanted.own else []
    return [*user_limit_lints(claims.limits), *own]


def shared_fields(collection: str, row: Row, view: View) -> Fields:
    """Of an export or import."""
    place, account = (collection, row["id"]), str(row.get("account_id") or "")
    if reason := view.desired.refused.get(place) or view.plan.faults.get(place):
        return Status("error", reason).fields
    if reason := view.unfinished(account):
        return Status("pending", "its account is not on the servers yet").fields
    if account in view.desired.accounts and not view.desired.accounts[account].active:
        return Status("inactive", "its account is inactive").fields
    return advised(view.plan.advice.get(place, "")).fields


def differences(row: Row, fields: Fields) -> Fields:
    return {name: value for name, value in fields.items() if row.get(name) != value}


def writes(table: Table, view: View) -> list[Write]:
    """All that differs, of the rows that were looked at."""
    shown: tuple[tuple[str, Iterable[Row], Callable[[Row], Fields]], ...] = (
        ("nats_accounts", table.accounts, lambda row: account_fields(row, view)),
        ("nats_roles", table.roles, lambda row: role_fields(row, view)),
        ("nats_users", table.users, lambda row: user_fields(row, view)),
        ("nats_account_exports", table.exports, lambda row: shared_fields("nats_account_exports", row, view)),
        ("nats_account_imports", table.imports, lambda row: shared_fields("nats_account_imports", row, view)),
    )
    found = [
        Write(collection, row["id"], differences(row, fields_of(row)))
        for collection, rows, fields_of in shown
        for row in rows
        if is_looked_at(collection, row, view)
    ]
    return [write for write in found if write.fields]


def is_looked_at(collection: str, row: Row, view: View) -> bool:
    """Roles and exports are read with every pass; what is said of an export is only known with its account."""
    return collection != "nats_account_exports" or view.desired.looks_at(str(row.get("account_id") or ""))


def waiting(table: Table, plan: Plan, reason: str) -> list[Write]:
    """While NATS is away: on rows that were never carried out, and on accounts that are to say something else."""
    fields: Fields = {"sync_status": "pending", "sync_error": reason}
    to_be_said = {mint.entry.record for mint in plan.publish}
    rows = [("nats_accounts", row) for row in table.accounts] + [("nats_users", row) for row in table.users]
    found = [
        Write(collection, row["id"], differences(row, fields))
        for collection, row in rows
        if row.get("sync_status") in ("", None, "pending") or row["id"] in to_be_said
    ]
    return [write for write in found if write.fields]
