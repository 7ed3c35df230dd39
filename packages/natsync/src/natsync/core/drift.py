"""Wanted against observed, to the actions that close the gap, in the order in which they are safe.

Accounts come first, because they carry the revocations; then what is to be forgotten; then users' new tokens,
which are shown only once their account is seen on the servers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from natsync.core import permissions
from natsync.core.claims import (
    AccountClaims,
    AccountLimits,
    BadToken,
    Body,
    UserClaims,
    account_body,
    content_hash,
    read,
    user_body,
)
from natsync.core.desired import Desired, WantedUser
from natsync.core.ledger import REMOVED, Entries, Entry
from natsync.core.revocations import Ledger, is_cut, next_issue, with_cuts
from natsync.core.rows import Account

PLATFORM = "PLATFORM"
SYSTEM = "SYS"
BUILT_IN = frozenset({PLATFORM, SYSTEM})


@dataclass(frozen=True, slots=True)
class Mint:
    """Sign `body` for `entry` and keep the token, then (an account's) publish and verify it."""

    entry: Entry
    body: Body
    content: str
    name: str
    issued_at: int


@dataclass(frozen=True, slots=True)
class Plan:
    publish: tuple[Mint, ...]
    record: tuple[Entry, ...]
    remove: tuple[Entry, ...]
    forget: tuple[Entry, ...]
    issue: tuple[Mint, ...]

    @property
    def is_empty(self) -> bool:
        return not (self.publish or self.record or self.remove or self.forget or self.issue)


def keyless(desired: Desired, entries: Entries) -> list[Entry]:
    """Entries that are to be made, without their keys."""
    accounts = [
        Entry(kind="account", record=account.id, name=account.name)
        for account in desired.accounts.values()
        if entries.get("account", account.id) is None
    ]
    users = [
        Entry(kind="user", record=user.id, name=user.name)
        for user in desired.users.values()
        if entries.get("user", user.id) is None
    ]
    return [*accounts, *users]


def rotations(desired: Desired, entries: Entries) -> list[Entry]:
    """Accounts that are to get a new signing key; one whose trigger was carried out already is not among them."""
    found = [entries.get("account", account.id) for account in desired.accounts.values() if account.rotate]
    return [entry for entry in found if entry and not entry.handled]


def settled(desired: Desired, entries: Entries) -> list[Entry]:
    """Entries whose trigger is seen cleared, so that the next one counts."""
    raised = {("account", account.id) for account in desired.accounts.values() if account.rotate}
    raised |= {("user", user.id) for user in desired.users.values() if user.regenerate}
    raised |= {("user", user.id) for user in desired.suspended.values() if user.regenerate}
    refused = {("user", id) for collection, id in desired.refused if collection == "nats_users"}
    return [
        replace(entry, handled="")
        for place, entry in entries.by_place.items()
        if entry.handled and place not in raised | refused
    ]


def plan(desired: Desired, entries: Entries, observed: Mapping[str, str], now: int) -> Plan:
    """`observed` maps the public keys of the accounts on the servers to their tokens."""
    cut = cuts(desired, entries, now)
    publish: list[Mint] = []
    record: list[Entry] = []
    remove: list[Entry] = []
    for entry in entries.of_kind("account"):
        account = desired.accounts.get(entry.record)
        if entry.record in BUILT_IN or account is None:
            remove += to_remove(entry, observed)
            continue
        after = replace(entry, revocations=with_cuts(entry.revocations, cut.get(entry.record, {})))
        if account.active:
            publish += to_publish(account, after, issuer_of(entries), observed, now)
        else:
            record += [after] if after != entry else []
            remove += [after] if entry.public_key in observed else []
    publish += platform(entries, observed, now)
    ledgers = {mint.entry.record: mint.entry.revocations for mint in publish} | {
        e.record: e.revocations for e in record
    }
    issue = to_issue(desired, entries, ledgers, now)
    return Plan(tuple(publish), tuple(record), tuple(remove), tuple(gone_users(desired, entries)), tuple(issue))


def to_remove(entry: Entry, observed: Mapping[str, str]) -> list[Entry]:
    """An account whose row is gone, until it is off the servers; and again should it come back."""
    if entry.record in BUILT_IN or (entry.state == REMOVED and entry.public_key not in observed):
        return []
    return [entry]


def issuer_of(entries: Entries) -> str:
    operator = entries.get("operator", "operator")
    return operator.signing_public_key if operator else ""


def to_publish(account: Account, entry: Entry, issuer: str, observed: Mapping[str, str], now: int) -> list[Mint]:
    body = account_body(
        AccountClaims(
            signing_keys=[entry.signing_public_key],
            limits=account.limits or last_limits(entry),
            revocations=entry.revocations,
        )
    )
    return unless_said(
        Mint(entry, body, content_hash(name=account.name, issuer=issuer, body=body), account.name, now), observed
    )


def platform(entries: Entries, observed: Mapping[str, str], now: int) -> list[Mint]:
    entry = entries.get("account", PLATFORM)
    if entry is None:
        return []
    body = platform_body(entry)
    content = content_hash(name=PLATFORM, issuer=issuer_of(entries), body=body)
    return unless_said(Mint(entry, body, content, PLATFORM, now), observed)


def platform_body(entry: Entry) -> Body:
    limits = AccountLimits(disk_storage=-1, memory_storage=-1)
    return account_body(
        AccountClaims(signing_keys=[entry.signing_public_key], limits=limits, revocations=entry.revocations)
    )


def unless_said(mint: Mint, observed: Mapping[str, str]) -> list[Mint]:
    """A token the servers lack is minted anew, never sent again: they take identical bytes for no news."""
    entry = mint.entry
    if mint.content == entry.content and observed.get(entry.public_key) == entry.jwt:
        return []
    issued_at = max(mint.issued_at, entry.last_iat + 1)
    return [replace(mint, entry=replace(entry, state=""), issued_at=issued_at)]


def last_limits(entry: Entry) -> AccountLimits:
    """What was published before the row's limits became unreadable; for a new account nothing at all."""
    limits = said(entry).get("limits")
    if limits is None:
        return AccountLimits(connections=0, subscriptions=0, data=0, payload=0)
    return AccountLimits(
        connections=limits["conn"],
        subscriptions=limits["subs"],
        data=limits["data"],
        payload=limits["payload"],
        disk_storage=limits["disk_storage"],
        memory_storage=limits["mem_storage"],
    )


def said(entry: Entry) -> dict[str, Any]:
    try:
        return read(entry.jwt)["nats"]
    except BadToken:
        return {}


def cuts(desired: Desired, entries: Entries, now: int) -> dict[str, dict[str, int]]:
    """Public keys to be revoked, and since when, by the record of the account that has to say so."""
    found: dict[str, dict[str, int]] = {}
    for entry in entries.of_kind("user"):
        account = entries.get("account", entry.account)
        if account is None or not entry.jwt:
            continue
        cutoff = cutoff_of(entry, desired, entries, now)
        if cutoff is not None and not is_cut(account.revocations, entry.public_key, entry.last_iat):
            found.setdefault(entry.account, {})[entry.public_key] = cutoff
    return found


def cutoff_of(entry: Entry, desired: Desired, entries: Entries, now: int) -> int | None:
    if ("nats_users", entry.record) in desired.refused:
        return None
    wanted = desired.users.get(entry.record)
    if wanted is None or wanted.account != entry.account:
        return max(now, entry.last_iat)
    account = entries.get("account", wanted.account)
    if account is None:
        return None
    content, body = user_content(wanted, account)
    narrower = content != entry.content and permissions.narrows(said(entry), body)
    return entry.last_iat if narrower else None


def gone_users(desired: Desired, entries: Entries) -> list[Entry]:
    refused = {id for collection, id in desired.refused if collection == "nats_users"}
    known = desired.users.keys() | desired.suspended.keys() | refused
    return [entry for entry in entries.of_kind("user") if entry.record not in known]


def to_issue(desired: Desired, entries: Entries, ledgers: Mapping[str, Ledger], now: int) -> list[Mint]:
    mints: list[Mint] = []
    for wanted in desired.users.values():
        entry, account = entries.get("user", wanted.id), entries.get("account", wanted.account)
        if entry is None or account is None:
            continue
        ledger = ledgers.get(wanted.account, account.revocations)
        content, body = user_content(wanted, account)
        again = wanted.regenerate and not entry.handled
        if content == entry.content and not again and not is_cut(ledger, entry.public_key, entry.last_iat):
            continue
        issued_at = next_issue(now, last=entry.last_iat, ledger=ledger, public_key=entry.public_key)
        after = replace(entry, account=wanted.account, handled="regenerate" if wanted.regenerate else "")
        mints.append(Mint(after, body, content, wanted.name, issued_at))
    return mints


def user_content(wanted: WantedUser, account: Entry) -> tuple[str, Body]:
    body = user_body(UserClaims(wanted.permissions, wanted.limits), account=account.public_key)
    return content_hash(name=wanted.name, issuer=account.signing_public_key, body=body), body
