"""Wanted against observed, to the actions that close the gap, in the order in which they are safe.

Accounts come first, because they carry the revocations; then users' new tokens, which are shown only once their
account is seen on the servers; then what is to be forgotten.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from natsync.core.claims.account_claims import account_body
from natsync.core.claims.token_codec import Body
from natsync.core.collections.rows import Row
from natsync.core.deciding.guard import Guard, Known
from natsync.core.state.built_in import AUTH, BUILT_IN, SYSTEM, auth_body
from natsync.core.state.built_in import PLATFORM as PLATFORM
from natsync.core.state.desired import Desired, Table
from natsync.core.state.ledger import LOCKED, REMOVED, Entries, Entry, Kind
from natsync.core.state.revocations import with_cuts
from natsync.core.tokens import scopes as role_keys
from natsync.core.tokens.account_tokens import (
    Remarks,
    Statement,
    advice,
    known_claims,
    mint_of,
    platform_body,
    sound,
    statements,
    system_body,
    unless_said,
)
from natsync.core.tokens.user_tokens import Mint, Picture, cutoff_of, picture, to_issue
from natsync.core.tokens.user_tokens import said as said

Observed: TypeAlias = Mapping[str, str]
"""Tokens on the servers by the accounts' public keys; one on which servers differ is no token."""

Cuts = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Plan:
    """`publish` accounts, `issue` tokens to users, `record` what changes in the ledger besides, `remove` accounts from
    the servers and `forget` entries. `faults` are rows that were left out, `advice` is for those that were not,
    `halted` says why nothing is done away with.
    """

    publish: tuple[Mint, ...] = ()
    record: tuple[Entry, ...] = ()
    remove: tuple[Entry, ...] = ()
    forget: tuple[Entry, ...] = ()
    issue: tuple[Mint, ...] = ()
    faults: Remarks = field(default_factory=dict[tuple[str, str], str])
    advice: Remarks = field(default_factory=dict[tuple[str, str], str])
    halted: str = ""

    @property
    def is_empty(self) -> bool:
        return not (self.publish or self.record or self.remove or self.forget or self.issue)


@dataclass(frozen=True, slots=True)
class Publishing:
    mints: list[Mint]
    faults: Remarks
    advice: Remarks


@dataclass(frozen=True, slots=True)
class Gone:
    """Entries of ours without a row: what is to be done away with. Nothing of it, when `halted` says why."""

    accounts: tuple[Entry, ...] = ()
    users: tuple[Entry, ...] = ()
    halted: str = ""


def keyless(table: Table, entries: Entries) -> list[Entry]:
    """Entries that rows have not got yet, without their keys."""
    kinds: tuple[tuple[Kind, Iterable[Row]], ...] = (("account", table.accounts), ("user", table.users))
    return [Entry(kind, row["id"]) for kind, rows in kinds for row in rows if entries.get(kind, row["id"]) is None]


def gone(desired: Desired, entries: Entries, guard: Guard | None, known: Known) -> Gone:
    """Without a guard everything may go."""
    accounts = tuple(entry for entry in entries.of_kind("account") if is_gone(entry, desired))
    users = tuple(entry for entry in entries.of_kind("user") if not desired.knows_user(entry.record))
    if guard is None:
        return Gone(accounts, users)
    living = sum(entry.state not in (REMOVED, LOCKED) for entry in accounts)
    reasons: list[str] = []
    if guard.holds_accounts(living, known.accounts):
        reasons.append(f"{living} of {known.accounts} accounts have no row any more")
    if guard.holds_users(len(users), known.users):
        reasons.append(f"{len(users)} of {known.users} users have no row any more")
    if reasons:
        return Gone(halted=f"{' and '.join(reasons)}: nothing is removed until an action allow_removals says so")
    return Gone(accounts, users)


def is_gone(entry: Entry, desired: Desired) -> bool:
    return entry.record not in BUILT_IN and desired.looks_at(entry.record) and entry.record not in desired.accounts


def plan(desired: Desired, entries: Entries, observed: Observed, now: int, leaving: Gone | None = None) -> Plan:
    """`leaving` is what `gone` found; without it everything that has no row is done away with."""
    leaving = leaving or gone(desired, entries, None, Known(0, 0))
    scopes = entries.of_kind("scope")
    orphans = () if leaving.halted else role_keys.orphaned(desired, scopes)
    changed_scopes = role_keys.renewed(desired, scopes)
    at = picture(desired, entries.having(changed_scopes).without(orphans), now)
    cut = revoked(at, cuts(at, leaving))
    at = replace(at, entries=at.entries.having(cut))
    found = statements(at)
    publishing = to_publish(at, found, observed)
    published = {mint.entry.place for mint in publishing.mints}
    switched_off = [at.entries.by_place["account", id] for id in found if not desired.accounts[id].active]
    remove = [entry for entry in switched_off if entry.public_key in observed and not is_settled(entry, observed)]
    remove += [entry for entry in leaving.accounts if not is_settled(entry, observed)]
    return Plan(
        publish=tuple(publishing.mints),
        record=(*changed_scopes, *(entry for entry in cut if entry.place not in published)),
        remove=tuple(remove),
        forget=(*leaving.users, *orphans),
        issue=tuple(to_issue(at, {entry.record: entry.revocations for entry in at.entries.of_kind("account")})),
        faults=publishing.faults,
        advice=publishing.advice,
        halted=leaving.halted,
    )


def is_settled(entry: Entry, observed: Observed) -> bool:
    """Are the servers known to let nobody into an account that is gone?"""
    if entry.state == LOCKED:
        return observed.get(entry.public_key) == entry.jwt
    return entry.state == REMOVED and entry.public_key not in observed


def cuts(at: Picture, leaving: Gone) -> Cuts:
    """Public keys to be revoked, and since when, by the record of the account that has to say so."""
    leavers = {entry.record for entry in leaving.users}
    signers = issuers(at.entries)
    found: dict[str, dict[str, int]] = {}
    for entry in at.entries.of_kind("user"):
        account = at.entries.get("account", entry.account)
        if account is None or not entry.jwt or entry.issuer not in signers[entry.account]:
            continue
        if not at.desired.knows_user(entry.record) and entry.record not in leavers:
            continue
        cutoff = cutoff_of(entry, at)
        if cutoff is not None and account.revocations.get(entry.public_key, -1) < min(cutoff, entry.last_iat):
            found.setdefault(entry.account, {})[entry.public_key] = cutoff
    return found


def issuers(entries: Entries) -> dict[str, set[str]]:
    """Whose signature counts, by the account's record."""
    found = {entry.record: set(entry.signing_public_keys) for entry in entries.of_kind("account")}
    for scope in entries.of_kind("scope"):
        if scope.account in found:
            found[scope.account].add(scope.public_key)
    return found


def revoked(at: Picture, cuts: Cuts) -> list[Entry]:
    found = {record: at.entries.by_place["account", record] for record in cuts}
    return [replace(entry, revocations=with_cuts(entry.revocations, cuts[record])) for record, entry in found.items()]


def to_publish(at: Picture, found: Mapping[str, Statement], observed: Observed) -> Publishing:
    known = known_claims(at, observed)
    publish = built_in(at, observed)
    faults: dict[tuple[str, str], str] = {}
    advised: dict[tuple[str, str], str] = {}
    for record, each in found.items():
        account, entry = at.desired.accounts[record], at.entries.by_place["account", record]
        claims, left_out = sound(each, entry.public_key, known)
        faults |= left_out
        advised |= advice(each, entry.public_key, known, at.now)
        if account.active:
            publish += unless_said(mint_of(entry, account_body(claims), account.name, at), observed)
    return Publishing(publish, faults, advised)


def built_in(at: Picture, observed: Observed) -> list[Mint]:
    """The accounts without rows; the system's as soon as servers show another token than was last issued for it."""
    mints: list[Mint] = []
    for record, entry in ((record, at.entries.get("account", record)) for record in sorted(BUILT_IN)):
        if entry is None or (record == SYSTEM and observed.get(entry.public_key, entry.jwt) == entry.jwt):
            continue
        mints += unless_said(mint_of(entry, built_in_body(entry, at), record, at), observed)
    return mints


def built_in_body(entry: Entry, at: Picture) -> Body:
    if entry.record == AUTH:
        return auth_body(entry, at.entries, at.desired.defaults.callout)
    return system_body(entry) if entry.record == SYSTEM else platform_body(entry)
