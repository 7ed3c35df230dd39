"""Carries a decision out: the ledger first, then the servers, exporters before who imports from them."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from common.core.errors import ServiceError
from natsync.adapters.concurrently import each
from natsync.adapters.keyring import Keyring
from natsync.adapters.nats_system_account import DeletionOff
from natsync.adapters.pocketbase_rows import PocketBaseRows
from natsync.core.claims.account_claims import account_body
from natsync.core.claims.operator_claims import deletion_body
from natsync.core.claims.token_codec import content_hash, encode
from natsync.core.deciding.decision import Decision, dropped, writes
from natsync.core.deciding.publish_order import waves
from natsync.core.deciding.publish_queue import Work
from natsync.core.showing.pass_report import Pass
from natsync.core.state.ledger import LOCKED, REMOVED, Entries, Entry
from natsync.core.tokens.account_tokens import lockout_claims
from natsync.core.tokens.user_tokens import Mint
from natsync.mint import Minting, minted
from natsync.publish_accounts import PublishAccounts

logger = structlog.get_logger(__name__)

ACCOUNTS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Recorded:
    """The ledger as it is stored now, and what is to be published of it."""

    entries: Entries
    publish: Sequence[Mint]


class CarryOut:
    """For one decision: `record`, then `publish` and `remove`."""

    def __init__(self, rows: PocketBaseRows, publisher: PublishAccounts, keyring: Keyring, done: Pass) -> None:
        self.told: dict[str, str | None] = {}
        """What servers show now of the accounts that were told: None is gone, and the empty text nothing certain."""
        self._rows = rows
        self._publisher = publisher
        self._keyring = keyring
        self._done = done

    async def record(self, decision: Decision, stored: Entries, *, is_away: bool) -> Recorded:
        """Raises ServiceError or SealBroken. Nothing is said before all of it is stored."""
        plan, minting = decision.plan, Minting(self._keyring, decision.entries)
        due = [mint for mint in plan.publish if not self._held(mint, is_away=is_away)]
        entries = decision.entries.having(await asyncio.to_thread(minted, minting, due, plan.issue))
        changed = writes(stored, entries)
        kept = await self._rows.store(changed)
        gone = dropped(stored, plan.forget)
        await self._rows.drop(gone)
        self._done.written += len(changed) + len(gone)
        self._done.issued += len(plan.issue)
        return Recorded(entries.having(kept), due)

    def _held(self, mint: Mint, *, is_away: bool) -> bool:
        reason = "" if is_away else self._publisher.held(work_of(mint))
        if reason:
            self._done.pending[mint.entry.record] = reason
        return bool(reason)

    async def publish(self, recorded: Recorded) -> None:
        begun = time.monotonic()

        async def tell(mint: Mint) -> None:
            entry = recorded.entries.by_place[mint.entry.place]
            if await self._told(work_of(mint), entry, before=mint.entry.jwt):
                self._done.published += 1

        for wave in waves(recorded.publish, lambda mint: mint.entry.public_key, imported_accounts):
            await each(tell, wave, at_once=ACCOUNTS_AT_ONCE)
        self._done.publish_seconds = time.monotonic() - begun

    async def remove(self, decision: Decision, recorded: Recorded) -> Entries:
        """The ledger once the accounts that are to go are gone, or locked. Raises SealBroken or ServiceError."""
        minting = Minting(self._keyring, recorded.entries)
        operator = recorded.entries.by_place["operator", "operator"]

        async def take_off(entry: Entry) -> Entry:
            return await self._removed(recorded.entries.by_place[entry.place], operator, minting)

        after = await each(take_off, decision.plan.remove)
        kept = await self._rows.store(writes(recorded.entries, recorded.entries.having(after)))
        self._done.written += len(kept)
        return recorded.entries.having(kept)

    async def _removed(self, entry: Entry, operator: Entry, minting: Minting) -> Entry:
        work = removal_of(entry)
        if reason := self._publisher.held(work):
            self._done.pending[entry.record] = reason
            return entry
        await self._rows.confirm()
        try:
            await self._publisher.remove(work, entry.public_key, self._removal(entry, operator))
        except DeletionOff:
            return await self._locked(entry, operator, minting)
        except ServiceError as error:
            self._failed(entry, error)
            return entry
        self.told[entry.public_key] = None
        self._done.removed += 1
        return replace(entry, state=REMOVED, content="")

    def _removal(self, entry: Entry, operator: Entry) -> str:
        signer = self._keyring.signer(operator)
        body = deletion_body([entry.public_key])
        return encode(body, subject=signer.public_key, name="natsync", issuer=signer, issued_at=int(time.time()))

    async def _locked(self, entry: Entry, operator: Entry, minting: Minting) -> Entry:
        """Where servers may not forget accounts they are told one that lets nobody in."""
        now = max(int(time.time()), entry.last_iat + 1)
        body, name, issuer = account_body(lockout_claims(now)), entry.name or entry.record, operator.signing_public_key
        content = content_hash(name=name, issuer=issuer, body={**body, "revocations": {}})
        mint = Mint(entry, body, content, name, issuer, now)
        (locked,) = await self._rows.store([replace(minting.account(mint), state=LOCKED)])
        if await self._told(work_of(mint), locked, before=entry.jwt):
            self._done.removed += 1
        return locked

    async def _told(self, work: Work, entry: Entry, *, before: str) -> bool:
        await self._rows.confirm()
        try:
            await self._publisher.publish(work, entry.public_key, entry.jwt, before=before)
        except ServiceError as error:
            self._failed(entry, error)
            return False
        self.told[entry.public_key] = entry.jwt
        return True

    def _failed(self, entry: Entry, error: ServiceError) -> None:
        logger.warning("account not carried out", account=entry.record, error=str(error))
        self._done.pending[entry.record] = str(error)
        self.told[entry.public_key] = ""


def work_of(mint: Mint) -> Work:
    return Work(mint.entry.record, "publish", mint.content)


def removal_of(entry: Entry) -> Work:
    return Work(entry.record, "remove")


def imported_accounts(mint: Mint) -> list[str]:
    return [imported["account"] for imported in mint.body.get("imports", [])]
