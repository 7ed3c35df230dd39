"""One pass: read everything, compare, and carry out what differs.

What is about to be said is recorded first, then published, then looked up on the servers, and only then shown on
the rows. A pass that is cut short at any point is completed by the next one.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf

import structlog

from common.core.errors import InvalidRequest, NotFound, ServiceError, UpstreamUnavailable
from natsync.adapters.concurrently import each
from natsync.adapters.keyring import Keyring
from natsync.adapters.pocketbase_rows import Listing, PocketBaseRows
from natsync.core import desired as wanting
from natsync.core import drift
from natsync.core.claims import deletion_body, encode
from natsync.core.creds_file import render
from natsync.core.desired import Desired
from natsync.core.drift import Mint, Plan
from natsync.core.keys import KeyPair
from natsync.core.ledger import REMOVED, Entries, Entry
from natsync.core.mirrors import Fields, Status, account_fields, account_status, differences, role_fields, user_fields
from natsync.core.publish_order import waves
from natsync.core.publish_queue import Work
from natsync.publish_accounts import PublishAccounts

logger = structlog.get_logger(__name__)


class NotBootstrapped(UpstreamUnavailable):
    """There is no operator yet."""


@dataclass(frozen=True, slots=True)
class AccountReport:
    id: str
    name: str
    status: Status
    users: int
    suspended: int


@dataclass(slots=True)
class Pass:
    """What one pass did. `pending` says, by account, why it is not known to be on the servers as wanted, and
    `retry_in_seconds` when the first of them is due again.
    """

    published: int = 0
    removed: int = 0
    issued: int = 0
    written: int = 0
    foreign: int = 0
    retry_in_seconds: float = inf
    pending: dict[str, str] = field(default_factory=dict[str, str])
    accounts: list[AccountReport] = field(default_factory=list[AccountReport])


class Reconciler:
    def __init__(self, rows: PocketBaseRows, publisher: PublishAccounts, keyring: Keyring) -> None:
        self._rows = rows
        self._publisher = publisher
        self._keyring = keyring

    async def run(self) -> Pass:
        """Raises ServiceError or SealBroken when the pass as a whole cannot be made."""
        done = Pass()
        listing = await self._rows.read()
        desired = wanting.of(accounts=listing.accounts, roles=listing.roles, users=listing.users)
        try:
            ours = [entry.public_key for entry in listing.entries.of_kind("account")]
            observed = (await self._publisher.observe(ours)).tokens
        except UpstreamUnavailable as error:
            await self._show_waiting(listing, desired, str(error), done)
            raise
        operator = self._operator(listing.entries)
        entries = await self._prepare(desired, listing.entries, done)
        done.foreign = len(observed.keys() - {entry.public_key for entry in entries.of_kind("account")})
        plan = drift.plan(desired, entries, observed, int(time.time()))
        entries = await self._carry_out(plan, entries, operator, done)
        await self._publisher.tidy({*(mint.entry.record for mint in plan.publish), *(e.record for e in plan.remove)})
        done.retry_in_seconds = self._publisher.retry_in_seconds()
        await self._show(listing, desired, entries, done)
        done.accounts = reports(desired, done.pending)
        return done

    def _operator(self, entries: Entries) -> Entry:
        operator = entries.get("operator", "operator")
        if operator is None:
            raise NotBootstrapped("There is no operator; run `natsync bootstrap` first.")
        self._keyring.signer(operator)  # a wrong encryption key must show before anything is written under it
        return operator

    async def _prepare(self, desired: Desired, entries: Entries, done: Pass) -> Entries:
        """Keys for what has none, new signing keys where asked for, triggers seen cleared."""
        changed = [self._keyring.with_keys(entry) for entry in drift.keyless(desired, entries)]
        changed += [
            replace(self._keyring.with_signing_key(entry), handled="rotate_keys")
            for entry in drift.rotations(desired, entries)
        ]
        changed += drift.settled(desired, entries)
        done.written += len(changed)
        return entries.having(await each(self._rows.keep, changed))

    async def _carry_out(self, plan: Plan, entries: Entries, operator: Entry, done: Pass) -> Entries:
        async def publish(mint: Mint) -> Entry:
            return await self._publish(mint, operator, done)

        async def remove(entry: Entry) -> Entry:
            return await self._remove(entry, operator, done)

        done.written += len(plan.record)
        entries = entries.having(await each(self._rows.keep, plan.record))
        for wave in waves(plan.publish, lambda mint: mint.entry.public_key, imported_accounts):
            entries = entries.having(await each(publish, wave))
        removable = [entries.by_place["account", entry.record] for entry in plan.remove]
        entries = entries.having(await each(remove, removable))
        entries = await self._forget(plan.forget, entries, done)
        return await self._issue(plan.issue, entries, done)

    async def _publish(self, mint: Mint, operator: Entry, done: Pass) -> Entry:
        work = Work(mint.entry.record, "publish", mint.content)
        if reason := self._publisher.held(work):
            done.pending[mint.entry.record] = reason
            return mint.entry
        entry = await self._rows.keep(minted(mint, self._keyring.signer(operator)))
        done.written += 1
        try:
            await self._publisher.publish(work, entry.public_key, entry.jwt, before=mint.entry.jwt)
            done.published += 1
        except ServiceError as error:
            logger.warning("account not published", account=entry.record, error=str(error))
            done.pending[entry.record] = str(error)
        return entry

    async def _remove(self, entry: Entry, operator: Entry, done: Pass) -> Entry:
        work = Work(entry.record, "remove")
        if reason := self._publisher.held(work):
            done.pending[entry.record] = reason
            return entry
        signer = self._keyring.signer(operator)
        request = encode(
            deletion_body([entry.public_key]),
            subject=signer.public_key,
            name="natsync",
            issuer=signer,
            issued_at=int(time.time()),
        )
        try:
            await self._publisher.remove(work, entry.public_key, request)
        except ServiceError as error:
            logger.warning("account not removed", account=entry.record, error=str(error))
            done.pending[entry.record] = str(error)
            return entry
        done.removed += 1
        done.written += 1
        return await self._rows.keep(replace(entry, state=REMOVED, content=""))

    async def _forget(self, gone: Sequence[Entry], entries: Entries, done: Pass) -> Entries:
        await each(self._rows.drop, gone)
        done.written += len(gone)
        return entries.without(gone)

    async def _issue(self, mints: Sequence[Mint], entries: Entries, done: Pass) -> Entries:
        async def issue(mint: Mint) -> Entry:
            account = entries.by_place["account", mint.entry.account]
            return await self._rows.keep(minted(mint, self._keyring.signer(account)))

        issued = await each(issue, mints)
        done.issued += len(issued)
        done.written += len(issued)
        return entries.having(issued)

    async def _show(self, listing: Listing, desired: Desired, entries: Entries, done: Pass) -> None:
        def user(id: str) -> Fields:
            return user_fields(id, desired, entries, done.pending, self._creds)

        def account(id: str) -> Fields:
            return account_fields(id, desired, entries, done.pending)

        writes = [("nats_accounts", row["id"], differences(row, account(row["id"]))) for row in listing.accounts]
        writes += [
            ("nats_roles", row["id"], differences(row, role_fields(row["id"], desired))) for row in listing.roles
        ]
        writes += [("nats_users", row["id"], differences(row, user(row["id"]))) for row in listing.users]
        writes = [write for write in writes if write[2]]
        done.written += len(writes)
        await each(self._show_row, writes)

    async def _show_row(self, write: tuple[str, str, Fields]) -> None:
        collection, id, fields = write
        try:
            await self._rows.show(collection, id, fields)
        except (NotFound, InvalidRequest) as error:  # deleted meanwhile, or at odds with a validation of the owner's
            logger.warning("row not written", collection=collection, record=id, error=str(error))

    async def _show_waiting(self, listing: Listing, desired: Desired, reason: str, done: Pass) -> None:
        """Say on rows that were never carried out what they wait for; the others keep what was last true."""
        fields: Fields = {"sync_status": "pending", "sync_error": reason}
        writes = [
            (collection, row["id"], fields)
            for collection, rows in (("nats_accounts", listing.accounts), ("nats_users", listing.users))
            for row in rows
            if not row["sync_status"] and (collection, row["id"]) not in desired.refused
        ]
        done.written += len(writes)
        await each(self._show_row, writes)

    def _creds(self, entry: Entry) -> str:
        return render(entry.jwt, self._keyring.identity(entry).seed)


def minted(mint: Mint, signer: KeyPair) -> Entry:
    entry = mint.entry
    token = encode(mint.body, subject=entry.public_key, name=mint.name, issuer=signer, issued_at=mint.issued_at)
    return replace(entry, name=mint.name, jwt=token, content=mint.content, last_iat=mint.issued_at)


def imported_accounts(mint: Mint) -> list[str]:
    return [imported["account"] for imported in mint.body.get("imports", [])]


def reports(desired: Desired, pending: Mapping[str, str]) -> list[AccountReport]:
    active = Counter(user.account for user in desired.users.values())
    suspended = Counter(user.account for user in desired.suspended.values())
    return [
        AccountReport(id, account.name, account_status(id, desired, pending), active[id], suspended[id])
        for id, account in desired.accounts.items()
    ]
