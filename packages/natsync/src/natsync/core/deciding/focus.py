"""Which accounts a few changed rows concern, so that a pass need not look at all of them. A sweep does."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TypeAlias

from natsync.core.collections.rows import Row, text
from natsync.core.state.bans import BANNED, barred, subjects_of, to_bans
from natsync.core.state.desired import Table
from natsync.core.state.ledger import Entries, Entry
from natsync.core.state.verbs import KINDS

Rows: TypeAlias = Mapping[str, Mapping[str, Row]]
"""By collection and id."""
Changed: TypeAlias = Mapping[str, Collection[str]]
"""Ids of rows by collection."""


def concerned(changed: Changed, before: Rows, after: Rows, entries: Entries) -> frozenset[str]:
    """Record ids of accounts. `before` and `after` are the rows as they were and as they are."""
    found: set[str] = set()
    for collection, ids in changed.items():
        for id in ids:
            rows = [row for rows in (before, after) if (row := rows.get(collection, {}).get(id))]
            found |= set(accounts_of(collection, id, rows, entries))
            if collection == "nats_roles":
                found |= holders(id, after, entries)
            if collection == "natsync_bans":
                found |= banned(rows, after, entries)
            if collection == "nats_actions":
                found |= targets(rows, after, entries)
    return frozenset(found | importers(found, changed, after, entries) - {""})


def accounts_of(collection: str, id: str, rows: Iterable[Row], entries: Entries) -> Iterator[str]:
    if collection == "nats_accounts":
        yield id
    elif collection in ("nats_users", "nats_account_exports", "nats_account_imports"):
        yield from (text(row, "account_id") for row in rows)
    if collection == "nats_users" and (entry := entries.get("user", id)):
        yield entry.account


def holders(role: str, after: Rows, entries: Entries) -> set[str]:
    """Accounts in which somebody holds the role, or did."""
    users = {text(row, "account_id") for row in after["nats_users"].values() if row.get("role_id") == role}
    return users | {scope.account for scope in entries.of_kind("scope") if scope.record.endswith(f".{role}")}


def banned(bans: Iterable[Row], after: Rows, entries: Entries) -> set[str]:
    """Accounts of those whom a ban may mean."""
    subjects = {text(ban, "subject") for ban in bans}
    users = [row for row in after["nats_users"].values() if not subjects.isdisjoint(subjects_of(row))]
    return {account for row in users for account in accounts_of("nats_users", row["id"], [row], entries)}


def targets(actions: Iterable[Row], after: Rows, entries: Entries) -> set[str]:
    found: set[str] = set()
    for action in actions:
        collection, record = text(action, "collection"), text(action, "record")
        if collection in KINDS:
            row = after[collection].get(record)
            found |= set(accounts_of(collection, record, [row] if row else [], entries))
    return found


def importers(found: Collection[str], changed: Changed, after: Rows, entries: Entries) -> set[str]:
    """Of accounts that are new, or export something else than before."""
    if not changed.keys() & {"nats_accounts", "nats_account_exports"}:
        return set()
    exporters = [entry for id in found if (entry := entries.get("account", id))]
    names = {*found, *(entry.public_key for entry in exporters)}
    return {text(row, "account_id") for row in after["nats_account_imports"].values() if text(row, "account") in names}


def table_of(rows: Rows, focus: frozenset[str] | None, entries: Entries, now: float) -> Table:
    """All rows; or those that concern the accounts in `focus`, and those that their users are to move to.

    Users that are banned are switched off in it.
    """
    found = narrowed(rows, focus, entries)
    return replace(found, users=barred(found.users, to_bans(rows["natsync_bans"].values()), now))


def narrowed(rows: Rows, focus: frozenset[str] | None, entries: Entries) -> Table:
    if focus is None:
        return Table(
            accounts=list(rows["nats_accounts"].values()),
            roles=list(rows["nats_roles"].values()),
            users=list(rows["nats_users"].values()),
            exports=list(rows["nats_account_exports"].values()),
            imports=list(rows["nats_account_imports"].values()),
        )
    users = [row for row in rows["nats_users"].values() if touches(row, focus, entries)]
    wider = focus | {text(row, "account_id") for row in users}
    return Table(
        accounts=[row for id in wider if (row := rows["nats_accounts"].get(id))],
        roles=list(rows["nats_roles"].values()),
        users=[row for row in rows["nats_users"].values() if touches(row, wider, entries)] if wider > focus else users,
        exports=list(rows["nats_account_exports"].values()),
        imports=[row for row in rows["nats_account_imports"].values() if row.get("account_id") in wider],
        focus=wider,
    )


def touches(user: Row, focus: frozenset[str], entries: Entries) -> bool:
    if user.get("account_id") in focus:
        return True
    entry = entries.get("user", user["id"])
    return entry is not None and entry.account in focus


def refreshed(table: Table, rows: Mapping[tuple[str, str], Row]) -> Table:
    """With rows as they stand since they were written, by collection and id."""
    if not rows:
        return table

    def fresh(collection: str, found: Iterable[Row]) -> list[Row]:
        return [overlaid(row, rows.get((collection, row["id"]))) for row in found]

    return replace(table, accounts=fresh("nats_accounts", table.accounts), users=fresh("nats_users", table.users))


def overlaid(row: Row, fresh: Row | None) -> Row:
    if fresh is None:
        return row
    return {**fresh, "active": False, BANNED: True} if row.get(BANNED) else fresh


def entries_of(entries: Entries, table: Table, rows: Rows, changed_users: Collection[str]) -> Entries:
    """What a pass over the table needs of the ledger. Accounts are all there: others import from them.

    Of users those in the table, and those that have no row any more; never one whose row is merely not looked at.
    """
    if table.focus is None:
        return entries
    focus, users, everybody = table.focus, {row["id"] for row in table.users}, rows["nats_users"]

    def is_needed(entry: Entry) -> bool:
        if entry.kind == "scope":
            return entry.account in focus
        if entry.kind != "user" or entry.record in users:
            return True
        return entry.record not in everybody and (entry.account in focus or entry.record in changed_users)

    return Entries({place: entry for place, entry in entries.by_place.items() if is_needed(entry)})
