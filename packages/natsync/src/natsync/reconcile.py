"""One pass: read what is new, compare, and carry out what differs.

pocketbase_rows | focus | decide | carry_out.record | triggers cleared | carry_out.publish, remove | rows, actions shown

What is about to be said is recorded first, then published, then looked up on the servers, and only then shown on
the rows. A pass that is cut short at any point is completed by the next one, which then reads everything anew.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog

from common.core.errors import UpstreamUnavailable
from natsync.adapters.keyring import Keyring
from natsync.adapters.pocketbase_rows import PocketBaseRows, Rows
from natsync.carry_out import CarryOut, Recorded, removal_of
from natsync.core.claims.token_codec import id_of
from natsync.core.collections.rows import Row
from natsync.core.deciding.decision import Decision, Situation, Terms, decide
from natsync.core.deciding.focus import concerned, entries_of, refreshed, table_of
from natsync.core.deciding.guard import known
from natsync.core.deciding.hints import Hints, news
from natsync.core.showing.audit import decided, published, removed
from natsync.core.showing.difference import Difference, difference
from natsync.core.showing.mirrors import View, Write, differences, waiting, writes
from natsync.core.showing.pass_report import AccountReport, Pass, reports
from natsync.core.state.desired import Table
from natsync.core.state.ledger import Entries
from natsync.core.state.verbs import ALLOW_REMOVALS, to_action
from natsync.core.tokens.scopes import by_account
from natsync.mint import Minting, creds, minted
from natsync.publish_accounts import PublishAccounts
from natsync.show_rows import ShowRows, clearings

audit = structlog.get_logger("natsync.audit")

OPERATOR = "nats_system_operator"
SMALL = 400
"""Of more changed rows a pass reads everything."""


class NotBootstrapped(UpstreamUnavailable):
    """There is no operator yet."""


class NatsAbsent(UpstreamUnavailable):
    """All that could be done without NATS is done, and the rows say what they wait for."""


@dataclass(slots=True)
class Holding:
    """What is known between two passes: rows by collection and id, the ledger, and what servers show.

    `is_blind`: what servers show could not be found out.
    """

    rows: Rows
    entries: Entries
    observed: dict[str, str] = field(default_factory=dict[str, str])
    is_blind: bool = True
    pending: dict[str, str] = field(default_factory=dict[str, str])
    reports: dict[str, AccountReport] = field(default_factory=dict[str, AccountReport])


@dataclass(frozen=True, slots=True)
class Look:
    """What one pass looks at: rows, their part of the ledger, and triggers that were seen to pass away."""

    table: Table
    entries: Entries
    images: list[tuple[str, Row]]

    def covers(self, account: str) -> bool:
        return self.table.focus is None or account in self.table.focus


class Reconciler:
    """`shows_creds`: whether rows show .creds files."""

    def __init__(
        self,
        rows: PocketBaseRows,
        publisher: PublishAccounts,
        keyring: Keyring,
        terms: Terms,
        *,
        shows_creds: bool = True,
    ) -> None:
        self._rows = rows
        self._publisher = publisher
        self._keyring = keyring
        self._terms = terms
        self._show = ShowRows(rows)
        self._creds_of = partial(creds, keyring) if shows_creds else None
        self._holding: Holding | None = None
        self._tidied_at = time.monotonic()

    async def run(self, hints: Hints | None = None) -> Pass:
        """Without hints everything is read. Raises ServiceError or SealBroken when the pass cannot be made."""
        try:
            return await self._run(hints or Hints(whole=True))
        except NatsAbsent:
            raise
        except BaseException:
            self._holding = None
            raise

    def forget(self) -> None:
        """Another may have written since."""
        self._holding = None
        self._publisher.forget()

    async def difference(self) -> Difference:
        """What a pass would do now; nothing is written anywhere. Raises ServiceError or SealBroken."""
        held = Holding(await self._rows.read(), await self._rows.entries())
        self._refuse_without_operator(held.entries)
        if absence := await self._observe(held):
            raise NatsAbsent(absence)
        look = Look(table_of(held.rows, None, held.entries, time.time()), held.entries, [])
        decision = await asyncio.to_thread(self._decide, held, look)
        plan = decision.plan
        said = decision.entries.having(minted(Minting(self._keyring, decision.entries), plan.publish, plan.issue))
        shown = [*clearings(look.table, decision), *writes(look.table, self._view(decision, said, {}))]
        return difference(decision, held.entries, held.observed, shown)

    def standing(self, account: str) -> dict[str, Any]:
        """What is wanted of an account's token, what servers show and what is tried again; nothing in it is secret."""
        found, held = self._publisher.report(account), self._holding
        entry = held.entries.get("account", account) if held else None
        if held is None or entry is None:
            return {**found, "published": ""}
        shown = "" if held.is_blind else held.observed.get(entry.public_key, "")
        desired, published = id_of(entry.jwt), id_of(shown)
        servers: dict[str, str] = found["servers"] if found["desired"] == desired else {}
        if not servers and published == desired:
            servers = dict.fromkeys(self._publisher.observed.servers, "verified")
        return {**found, "desired": desired, "published": published, "servers": servers}

    async def _run(self, hints: Hints) -> Pass:
        done = Pass()
        held, look, absence = await self._read(hints, done)
        self._refuse_without_operator(held.entries)
        decision = await asyncio.to_thread(self._decide, held, look)  # of ten thousand users it takes a second
        carry = CarryOut(self._rows, self._publisher, self._keyring, done)
        recorded = await carry.record(decision, look.entries, is_away=bool(absence))
        remember(held, look, recorded.entries)
        self._audit(held, look, decision, recorded, is_away=bool(absence))
        done.orders, done.halted = len(decision.carried), decision.plan.halted
        cleared = await self._show.clear(held.rows, look.table, decision)
        done.written += len(cleared)
        table = refreshed(look.table, cleared)
        if absence:
            done.written += await self._show.write(held.rows, waiting(table, decision.plan, absence))
            raise NatsAbsent(absence)
        await self._say(held, look, decision, carry, recorded)
        await self._tell(held, Look(table, look.entries, []), decision, done)
        return done

    def _refuse_without_operator(self, entries: Entries) -> None:
        operator = entries.get("operator", "operator")
        if operator is None:
            raise NotBootstrapped("There is no operator; run `natsync bootstrap` first.")
        self._keyring.signer(operator)  # a wrong encryption key must show before anything is written under it

    # What there is

    async def _read(self, hints: Hints, done: Pass) -> tuple[Holding, Look, str]:
        held = self._holding
        changed = news(hints.changed, held.rows) if held else {}
        done.whole = held is None or hints.whole or sum(map(len, changed.values())) > SMALL
        if held is None or done.whole:
            held = Holding(await self._rows.read(), await self._rows.entries())
            absence = await self._observe(held)
            self._holding = held
            return held, self._look(held, None, hints), absence
        rows, held.rows = held.rows, await self._rows.reread(held.rows, changed)
        shown, was_blind = held.observed, held.is_blind
        absence = await self._observe(held) if hints.servers or was_blind else ""
        if (was_blind and not absence) or allows_removals(held.rows):
            return held, self._look(held, None, hints), absence
        focus = concerned(changed, rows, held.rows, held.entries) | moved(shown, held) | held.pending.keys()
        open_actions = {"nats_actions": set(held.rows["nats_actions"])}
        focus |= concerned(open_actions, rows, held.rows, held.entries) | self._show.settled()
        return held, self._look(held, focus, hints), absence

    async def _observe(self, held: Holding) -> str:
        """Why nothing could be observed; then servers are taken to show what was last said."""
        try:
            held.observed, held.is_blind = dict((await self._publisher.observe()).tokens), False
        except UpstreamUnavailable as error:
            held.observed = {entry.public_key: entry.jwt for entry in held.entries.of_kind("account")}
            held.is_blind = True
            return str(error)
        return ""

    def _look(self, held: Holding, focus: frozenset[str] | None, hints: Hints) -> Look:
        table = table_of(held.rows, focus, held.entries, time.time())
        users = hints.changed.get("nats_users", {}).keys()
        return Look(table, entries_of(held.entries, table, held.rows, users), self._show.unknown(hints.images))

    def _decide(self, held: Holding, look: Look) -> Decision:
        actions = [to_action(row) for row in held.rows["nats_actions"].values()]
        situation = Situation(
            table=look.table,
            entries=look.entries,
            observed=held.observed,
            known=known(held.entries),
            actions=sorted(actions, key=lambda action: action.order),
            raised=look.images,
        )
        return decide(situation, self._terms, self._keyring, int(time.time()))

    # What is said and shown

    def _audit(self, held: Holding, look: Look, decision: Decision, recorded: Recorded, *, is_away: bool) -> None:
        leaving = [one for one in decision.plan.remove if not is_away and not self._publisher.held(removal_of(one))]
        lines = [
            *decided(decision, look.entries, held.rows["nats_actions"].values()),
            *published(recorded.publish, recorded.entries, held.observed),
            *removed(leaving, decision),
        ]
        for event, said in lines:
            audit.info(event, **said)

    async def _say(self, held: Holding, look: Look, decision: Decision, carry: CarryOut, recorded: Recorded) -> None:
        await carry.publish(recorded)
        remember(held, look, await carry.remove(decision, recorded))
        for public_key, token in carry.told.items():
            if token is None:
                held.observed.pop(public_key, None)
            else:
                held.observed[public_key] = token
        plan = decision.plan
        still = {ticket for ticket in self._publisher.tickets if not look.covers(ticket)}
        await self._publisher.tidy(
            {*still, *(mint.entry.record for mint in plan.publish), *(entry.record for entry in plan.remove)}
        )

    async def _tell(self, held: Holding, look: Look, decision: Decision, done: Pass) -> None:
        held.pending = {id: why for id, why in held.pending.items() if not look.covers(id)} | done.pending
        view = self._view(decision, held.entries, held.pending)
        done.written += await self._show.write(held.rows, [*writes(look.table, view), *self._operator(held, decision)])
        done.written += await self._show.answer(held.rows, look.table, view)
        self._show.forget_settled(set(decision.desired.accounts))
        self._report(held, decision, view, done)
        await self._tidy(done)

    def _view(self, decision: Decision, entries: Entries, pending: Mapping[str, str]) -> View:
        return View(
            decision.desired,
            entries,
            decision.plan,
            int(time.time()),
            pending=pending,
            settling=self._show.settling(),
            scopes=by_account(entries),
            creds_of=self._creds_of,
        )

    def _operator(self, held: Holding, decision: Decision) -> list[Write]:
        """The one row on which it can be said that nothing is removed."""
        halted = decision.plan.halted
        if decision.desired.focus is not None and not halted:
            return []
        fields = {"sync_status": "error" if halted else "synced", "sync_error": halted}
        found = [Write("nats_system_operator", id, differences(row, fields)) for id, row in held.rows[OPERATOR].items()]
        return [write for write in found if write.fields]

    def _report(self, held: Holding, decision: Decision, view: View, done: Pass) -> None:
        ours = {entry.public_key for entry in held.entries.of_kind("account")}
        done.foreign = len(held.observed.keys() - ours)
        kept = {id: one for id, one in held.reports.items() if id in held.rows["nats_accounts"]}
        held.reports = kept | reports(decision.desired, view)
        done.accounts = list(held.reports.values())
        done.pending = dict(held.pending)
        done.retry_in_seconds = self._publisher.retry_in_seconds()
        done.again_in_seconds = 0 if decision.is_more_asked else self._show.settles_in_seconds()

    async def _tidy(self, done: Pass) -> None:
        if done.whole and time.monotonic() - self._tidied_at >= self._terms.cleanup_interval_seconds:
            self._tidied_at = time.monotonic()
            await self._show.tidy(self._terms.retention_seconds)


def allows_removals(rows: Rows) -> bool:
    """What has no row any more is found by nothing that changed."""
    return any(to_action(row).verb == ALLOW_REMOVALS for row in rows["nats_actions"].values())


def moved(before: Mapping[str, str], held: Holding) -> set[str]:
    """Accounts of which servers show something else than they did."""
    if before is held.observed:
        return set()
    return {
        entry.record
        for entry in held.entries.of_kind("account")
        if before.get(entry.public_key) != held.observed.get(entry.public_key)
    }


def remember(held: Holding, look: Look, entries: Entries) -> None:
    """`entries` take the place of those that were looked at."""
    gone = [entry for place, entry in look.entries.by_place.items() if place not in entries.by_place]
    held.entries = held.entries.without(gone).having(entries.by_place.values())
