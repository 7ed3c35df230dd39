"""Who of the nats-servers is there, and asking all of them at once.

One that does not answer is waited for once. From then on it counts as silent, holds nobody up, and is asked every
second whether it is back; what it missed is then found by the next pass.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
from prometheus_client import Gauge

from common.adapters.companion import accompanied
from common.core import subjects
from common.core.errors import ServiceError, UpstreamUnavailable
from natsync.adapters.nats_failover import FailoverConnection, nothing
from natsync.adapters.nats_scatter import Enough, Patience, Scatter
from natsync.core.servers.server_choice import ConnectionTerms, Timeouts
from natsync.core.servers.servers_said import (
    Answer,
    Roster,
    Unreadable,
    active_servers,
    as_object,
    by_server,
    read_server,
)

logger = structlog.get_logger(__name__)

SERVERS = Gauge("natsync_nats_servers", "Servers that answer, and those that did and no longer do.", ("state",))

STRAGGLER_SECONDS = 2.0
"""What one server may take longer than the one before it. One that lacks an account's exporter takes close to this."""
PROMPT_SECONDS = 0.25
"""The same where there is nothing to wait for. Who takes longer is asked whether it is there at all."""
ROLL_CALL = Patience(seconds=2, straggler_seconds=PROMPT_SECONDS)
SILENT_PROBE_SECONDS = 1.0
FORGET_SECONDS = 150.0
"""After so long without a word nats-server itself takes another server for gone."""


class NatsServers:
    """`changed` is called when a server may know something else than it did: it came, came back, or was told."""

    def __init__(self, connection: FailoverConnection, timeouts: Timeouts) -> None:
        self.changed: Callable[[], None] = nothing
        self.connection = connection
        self.roster = Roster()
        self.publishing = Patience(timeouts.publish_seconds, STRAGGLER_SECONDS)
        self.requesting = Patience(timeouts.request_seconds, STRAGGLER_SECONDS)
        self.prompt = Patience(timeouts.request_seconds, PROMPT_SECONDS)
        self._active = 0
        self._discovered: Scatter | None = None
        self._discovering = asyncio.Lock()
        connection.heard = self._heard
        connection.opened = self._opened

    async def ask(self, subject: str, payload: bytes, enough: Enough, patience: Patience) -> list[bytes]:
        """Raises NatsAway, NoResponders or Forbidden."""
        return await self.connection.scatter.gather(subject, payload, enough, patience)

    async def tell_all(self, subject: str, payload: bytes) -> dict[str, Answer]:
        """The answers by server id. Of those who are not among them it is not known what they did."""
        answers = await self._gathered(subject, payload, self.publishing)
        if self.roster.present - answers.keys():
            await self.call_roll()
        return answers

    async def ask_all(self, subject: str, payload: bytes = b"") -> dict[str, Answer]:
        """The answers by server id, one of each that is there. Raises UpstreamUnavailable where one is missing."""
        answers = await self._gathered(subject, payload, self.prompt)
        if self.roster.present - answers.keys():
            await self.call_roll()
            answers |= await self._gathered(subject, payload, self.requesting) if self.unheard(answers) else {}
        if unheard := self.unheard(answers):
            raise UpstreamUnavailable(f"NATS server {unheard[0]} does not answer {subject}.")
        return answers

    async def ask_anonymous(self, subject: str, payload: bytes = b"") -> list[bytes]:
        """As many answers as there are servers, which do not say whose they are. Raises UpstreamUnavailable."""
        wanted = len(await self.present())

        def enough(answers: Sequence[bytes]) -> bool:
            return len(answers) >= wanted

        answers = await self.ask(subject, payload, enough, self.prompt)
        if len(answers) < wanted:
            await self.call_roll()
            wanted = len(self.roster.present)
        if len(answers) < wanted:
            answers = await self.ask(subject, payload, enough, self.requesting)
        if len(answers) < wanted:
            raise UpstreamUnavailable(f"Of {wanted} NATS servers {len(answers)} answer {subject}.")
        return answers

    @property
    def is_single(self) -> bool:
        """There is one server, and it knows of no other that might be asked in its place."""
        return len(self.roster.servers) == 1 and self._active <= 1

    async def present(self) -> frozenset[str]:
        """Ids of the servers to be waited for; never empty."""
        if self._is_known():
            return self.roster.present
        async with self._discovering:
            if not self._is_known():
                scatter = self.connection.scatter
                await self.call_roll()
                self._discovered = scatter
        return self.roster.present

    def _is_known(self) -> bool:
        return self._discovered is self.connection.scatter and bool(self.roster.present)

    def unheard(self, answered: Collection[str]) -> tuple[str, ...]:
        """Names of servers that are there and not among those who answered."""
        return self.roster.names(self.roster.present - frozenset(answered))

    async def _gathered(self, subject: str, payload: bytes, patience: Patience) -> dict[str, Answer]:
        present = await self.present()

        def enough(answers: Sequence[bytes]) -> bool:
            if len(answers) < len(present):
                return False
            return len(present) == 1 or by_server(answers).keys() >= present

        return by_server(await self.ask(subject, payload, enough, patience))

    async def call_roll(self) -> None:
        """Find out who is there. Raises UpstreamUnavailable when nobody is."""
        known = self.roster.servers.keys()

        def enough(answers: Sequence[bytes]) -> bool:
            return len(answers) >= active_servers(answers) and by_server(answers).keys() >= known

        payloads = await self.ask(subjects.SYSTEM_PING, b"", enough, ROLL_CALL)
        answers = by_server(payloads)
        if not answers:
            raise UpstreamUnavailable("No NATS server answers.")
        self._active = active_servers(payloads)
        for answer in answers.values():
            self._note(self.roster.with_heard(answer.server))
        now = asyncio.get_running_loop().time()
        missed = self.roster.present - answers.keys()
        if missed:
            logger.warning("NATS servers do not answer", servers=self.roster.names(missed))
        self._keep(self.roster.with_silent(missed, now).without_forgotten(now - FORGET_SECONDS))

    async def watch(self) -> None:
        """Loop: those who fell silent are asked whether they are back."""
        while True:
            await asyncio.sleep(SILENT_PROBE_SECONDS)
            if not self.roster.silent:
                continue
            try:
                await self.call_roll()
            except ServiceError as error:
                logger.debug("silent servers not asked", error=str(error))

    def _opened(self) -> None:
        for subject in subjects.SYSTEM_EVENTS:
            self.connection.scatter.listen(subject)
        self.changed()

    def _heard(self, subject: str, payload: bytes) -> None:
        if subject.endswith(".SHUTDOWN"):
            self._keep(self.roster.without(subject.split(".")[2]))
        elif subject.endswith(".STATSZ"):
            try:
                server = read_server(as_object(payload))
            except Unreadable:
                return
            self._note(self.roster.with_heard(server))
        else:
            self.changed()

    def _note(self, roster: Roster) -> None:
        came = roster.present - self.roster.present
        self._keep(roster)
        if came:
            logger.info("NATS servers are there", servers=roster.names(came))
            self.changed()

    def _keep(self, roster: Roster) -> None:
        self.roster = roster
        SERVERS.labels("present").set(len(roster.present))
        SERVERS.labels("silent").set(len(roster.silent))


@asynccontextmanager
async def open_servers(
    addresses: Sequence[str], creds: Path, terms: ConnectionTerms, timeouts: Timeouts
) -> AsyncGenerator[NatsServers]:
    """It is handed over before it is connected, and connects for ever."""
    connection = FailoverConnection(addresses, creds, terms)
    servers = NatsServers(connection, timeouts)
    async with accompanied(connection.run()), accompanied(servers.watch()):
        yield servers
