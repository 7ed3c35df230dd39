"""Brings accounts to every server, sees that they are there and that who was cut off is gone; paces what fails.

system.publish | servers show the very token | cut_connections | its ticket is dropped, or made
"""

import time
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Protocol

import structlog
from prometheus_client import Counter, Gauge, Histogram

from common.core.errors import ServiceError
from natsync.adapters.nats_scatter import NatsAway
from natsync.adapters.nats_system_account import DeletionOff, NatsSystemAccount, NotVerified
from natsync.core.claims.token_codec import id_of
from natsync.core.deciding.publish_queue import QueueTerms, Ticket, Work, after_failure, is_due, outdated
from natsync.core.servers.live_connections import NOBODY_STAYS, scope_of, standing
from natsync.core.servers.servers_said import Observed, Publication
from natsync.cut_connections import Cut, CutConnections

audit = structlog.get_logger("natsync.audit")
logger = structlog.get_logger(__name__)

PUBLICATIONS = Counter(
    "natsync_publications", "Accounts told to the servers, or taken off them.", ("action", "outcome")
)
SECONDS = Histogram("natsync_publication_seconds", "Until every server shows it and who was cut off is gone.")
WAITING = Gauge(
    "natsync_queue", "Accounts that wait to be tried again, and those of them that count as failed.", ("state",)
)


class Queue(Protocol):
    """Where tickets outlive this process."""

    async def read(self) -> list[Ticket]: ...
    async def keep(self, ticket: Ticket) -> Ticket: ...
    async def drop(self, ticket: Ticket) -> None: ...


@dataclass(frozen=True, slots=True)
class AccountStanding:
    """What came of the last time one account was told to the servers.

    `desired` and `verified` are ids of tokens, the latter's being on every server since `verified_at`; that is in
    Unix seconds, 0 is never.
    """

    desired: str = ""
    verified: str = ""
    publication: Publication | None = None
    cut: Cut | None = None
    verified_at: float = 0


NEVER_TOLD = AccountStanding()
NO_TICKET = Ticket("", "", "")


class PublishAccounts:
    """For one pass at a time: `observe`, then `publish` and `remove` as the plan says, then `tidy`."""

    def __init__(
        self,
        system: NatsSystemAccount,
        cutting: CutConnections,
        queue: Queue,
        terms: QueueTerms,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.standings: dict[str, AccountStanding] = {}
        """By the account's record id."""
        self.tickets: dict[str, Ticket] = {}
        """What waits for another try, by the account's record id."""
        self.observed = Observed({})
        self._system = system
        self._cutting = cutting
        self._queue = queue
        self._terms = terms
        self._clock = clock
        self._is_read = False
        self._cleaned_at = clock()

    async def observe(self) -> Observed:
        """What the servers have now. Raises ServiceError."""
        if not self._is_read:
            self.tickets = {ticket.account: ticket for ticket in await self._queue.read()}
            self._is_read = True
        self.observed = await self._system.observed()
        return self.observed

    def forget(self) -> None:
        """Another may have written tickets since."""
        self._is_read = False

    def held(self, work: Work) -> str:
        """Why this is not tried now; the empty text when it is."""
        ticket = self.tickets.get(work.account)
        return "" if ticket is None or is_due(ticket, work, self._clock()) else ticket.error

    def retry_in_seconds(self) -> float:
        """Until the first of what waits is due; infinite when nothing does."""
        due = min((ticket.next_try_at for ticket in self.tickets.values()), default=inf)
        return max(0.0, due - self._clock())

    async def publish(self, work: Work, account: str, token: str, *, before: str) -> AccountStanding:
        """Returns when every server that is there shows the token and nobody is connected whom it cuts off.

        `before` is our own last token for the account, or empty. Raises ServiceError; the work then has a ticket.
        """
        async with self._attempt(work):
            desired = id_of(token)
            publication = await self._system.publish(account, token)
            told = replace(self.standings.get(work.account, NEVER_TOLD), desired=desired, publication=publication)
            self.standings[work.account] = told
            if not publication.is_verified:
                raise NotVerified(publication.shortcoming)
            cut = await self._cut(account, token, before)
            told = replace(told, cut=cut, verified=desired, verified_at=self._clock())
            self.standings[work.account] = told
            servers = publication.by_server
            audit.info("account published", account=work.account, verified=desired, servers=servers, kicked=cut.kicked)
            return told

    async def remove(self, work: Work, account: str, request: str) -> AccountStanding:
        """Returns when no server that is there has the account and nobody is connected to it.

        Raises ServiceError; DeletionOff where accounts can only be locked.
        """
        async with self._attempt(work):
            await self._system.remove(account, request)
            cut = await self._cutting.after_removal(account)
            self.standings[work.account] = told = AccountStanding(cut=cut, verified_at=self._clock())
            audit.info("account removed", account=work.account, kicked=cut.kicked)
            return told

    async def tidy(self, wanted: Collection[str]) -> None:
        """After a pass: `wanted` are the record ids of accounts that still had something to be carried out."""
        done = [ticket for ticket in self.tickets.values() if ticket.account not in wanted]
        now = self._clock()
        if now - self._cleaned_at >= self._terms.cleanup_interval_seconds:
            self._cleaned_at = now
            self.standings = {account: told for account, told in self.standings.items() if told.desired}
            done += outdated(self.tickets.values(), now=now, terms=self._terms)
        for ticket in done:
            await self._drop(ticket)
        WAITING.labels("again").set(sum(not ticket.failed_at for ticket in self.tickets.values()))
        WAITING.labels("failed").set(sum(bool(ticket.failed_at) for ticket in self.tickets.values()))

    def report(self, account: str) -> dict[str, Any]:
        """How far the account of that record id has come, for people; nothing in it is secret."""
        told, ticket = self.standings.get(account, NEVER_TOLD), self.tickets.get(account, NO_TICKET)
        return {
            "desired": told.desired,
            "verified": told.verified,
            "verified_at": told.verified_at,
            "servers": told.publication.by_server if told.publication else {},
            "kicked": told.cut.kicked if told.cut else 0,
            "attempts": ticket.attempts,
            "next_try_at": ticket.next_try_at,
            "failed_at": ticket.failed_at,
            "error": ticket.error,
        }

    async def _cut(self, account: str, token: str, before: str) -> Cut:
        scope = scope_of(self._in_force(account, before), token)
        if scope == "nobody":
            return Cut(account, 0, 0, 0)
        return await self._cutting.after_publication(account, scope, standing(token) or NOBODY_STAYS)

    def _in_force(self, account: str, before: str) -> Collection[str]:
        """Tokens under which somebody may be connected: the last of ours, and what the servers had instead."""
        tokens = [before] if before else []
        return [*tokens, self.observed.tokens[account]] if account in self.observed.tokens else tokens

    @asynccontextmanager
    async def _attempt(self, work: Work) -> AsyncGenerator[None]:
        try:
            with SECONDS.time():
                yield
        except (NatsAway, DeletionOff):
            raise  # nobody was asked, or something else is to be done
        except ServiceError as error:
            PUBLICATIONS.labels(work.action, "failed").inc()
            await self._failed(work, str(error))
            raise
        PUBLICATIONS.labels(work.action, "verified").inc()
        if ticket := self.tickets.get(work.account):
            await self._drop(ticket)

    async def _failed(self, work: Work, error: str) -> None:
        previous = self.tickets.get(work.account)
        ticket = after_failure(previous, work, error, now=self._clock(), terms=self._terms)
        self.tickets[work.account] = ticket
        level = logger.error if ticket.failed_at else logger.warning
        level("account not on the servers", account=work.account, attempts=ticket.attempts, error=error)
        try:
            self.tickets[work.account] = await self._queue.keep(ticket)
        except ServiceError as failure:
            logger.warning("ticket not kept", account=work.account, error=str(failure))

    async def _drop(self, ticket: Ticket) -> None:
        self.tickets.pop(ticket.account, None)
        try:
            if ticket.id:
                await self._queue.drop(ticket)
        except ServiceError as failure:
            logger.warning("ticket not dropped", account=ticket.account, error=str(failure))
