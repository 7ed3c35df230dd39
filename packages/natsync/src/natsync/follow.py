"""When a pass is due: at the start, on what is heard of PocketBase and NATS, and on every sweep. One at a time."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field

import structlog

from common.adapters.pocketbase import RealtimeEvent, RecordChange, Resubscribed, StreamLost
from common.core.errors import ServiceError, StaleLease, UpstreamUnavailable
from natsync.core.collections.event_filter import is_heeded
from natsync.core.deciding.hints import Hints
from natsync.core.showing.pass_report import Pass, counts
from natsync.core.state.sealing import SealBroken
from natsync.count_passes import count_pass
from natsync.lead import Lead
from natsync.reconcile import NatsAbsent, Reconciler

logger = structlog.get_logger(__name__)

SHORTEST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 3.0
SWEEP_SHARE = 0.1
"""Of the time: so much of it goes into sweeps at most, however long one takes."""


@dataclass(slots=True)
class Progress:
    """What the last passes came to. Times are Unix seconds; 0 is never.

    `verified` says, by account, when the servers were last seen to agree with what is wanted of it.
    """

    passes: int = 0
    finished_at: float = 0
    seconds: float = 0
    error: str = "no pass has finished yet"
    done: Pass = field(default_factory=Pass)
    verified: dict[str, float] = field(default_factory=dict[str, float])

    async def finished(self) -> None:
        """Health probe: raises until a pass has gone through, and while they fail.

        One account that NATS refuses is no reason to call the whole platform unready; its row says so.
        """
        if self.error:
            raise UpstreamUnavailable(self.error)


@dataclass(frozen=True, slots=True)
class Pace:
    """`heeded` are the events that begin a pass at once; see `core.event_filter`."""

    debounce_seconds: float
    sweep_seconds: float
    heeded: Collection[str] = ()


class Follow:
    def __init__(self, reconciler: Reconciler, lead: Lead, events: AsyncIterator[RealtimeEvent], pace: Pace) -> None:
        self.progress = Progress()
        self._reconciler = reconciler
        self._lead = lead
        self._epoch = 0
        self._events = events
        self._pace = pace
        self._hints = Hints(whole=True)
        self._due = asyncio.Event()
        self._next_sweep = 0.0
        self._backoff = 0.0

    async def listen(self) -> None:
        """Loop: where something changed is looked at; what is said of it is not believed."""
        async for event in self._events:
            match event:
                case RecordChange() if not self._lead.leads:
                    continue  # a term begins with a look at everything
                case RecordChange():
                    self._hints.note(event.collection, event.record, is_deleted=event.action == "delete")
                    if is_heeded(self._pace.heeded, event.collection, event.action):
                        self._due.set()
                case Resubscribed() | StreamLost():
                    self._hints.whole = True
                    self._due.set()

    def hint(self) -> None:
        """The servers may know something else than they did."""
        self._hints.servers = True
        self._due.set()

    def sweep(self) -> None:
        """Everything is to be looked at anew, and soon."""
        self._hints.whole = True
        self._due.set()

    async def work(self) -> None:
        """Loop: a pass whenever one is due. A failing one is tried again, ever less often."""
        while True:
            await self._term()
            await self._pass(self._taken())
            await self._wait_until_due()

    async def _term(self) -> None:
        """Returns once it is for us to reconcile. What was known in an earlier term is not believed."""
        while not self._lead.leads:
            await self._lead.stepped()
            self.progress.error = "" if self._lead.is_standby else self._lead.error or self.progress.error
        term = await self._lead.led()
        if term.epoch != self._epoch:
            self._epoch = term.epoch
            self._reconciler.forget()

    def _taken(self) -> Hints:
        self._due.clear()
        hints = self._hints.taken()
        hints.whole = hints.whole or time.monotonic() >= self._next_sweep
        return hints

    async def _wait_until_due(self) -> None:
        """Hints come while it waits for another reason, too; those of one change fall into one pass."""
        progress = self.progress
        until_sweep = self._next_sweep - time.monotonic()
        waits = (until_sweep, progress.done.retry_in_seconds, progress.done.again_in_seconds)
        try:
            async with asyncio.timeout(self._backoff or max(0.0, min(waits))):
                await self._due.wait()
        except TimeoutError:
            return
        await asyncio.sleep(self._pace.debounce_seconds)

    async def _pass(self, hints: Hints) -> None:
        progress, started = self.progress, time.monotonic()
        try:
            progress.done = await self._reconciler.run(hints)
        except StaleLease as error:
            logger.warning("pass left to another natsync", error=str(error))
        except (ServiceError, SealBroken) as error:
            self._failed(hints, str(error), is_done_here=isinstance(error, NatsAbsent))
            logger.warning("pass failed", error=str(error))
        except Exception as error:
            self._failed(hints, f"internal error: {type(error).__name__}")
            logger.exception("pass failed")
        else:
            self._went_through(started)
        progress.seconds, progress.finished_at = time.monotonic() - started, time.time()
        progress.passes += 1
        count_pass(progress.done, error=progress.error, seconds=progress.seconds)

    def _failed(self, hints: Hints, error: str, *, is_done_here: bool = False) -> None:
        """A pass that only lacked NATS has taken up all that was asked for."""
        self.progress.error = error
        if not is_done_here:
            self._hints.put_back(hints)
        self._backoff = min(max(self._backoff * 2, SHORTEST_BACKOFF_SECONDS), LONGEST_BACKOFF_SECONDS)

    def _went_through(self, started: float) -> None:
        progress, now = self.progress, time.time()
        self._backoff, progress.error = 0.0, ""
        if progress.done.whole:
            took = time.monotonic() - started
            self._next_sweep = time.monotonic() + max(self._pace.sweep_seconds, took / SWEEP_SHARE)
        progress.verified = {
            account.id: progress.verified.get(account.id, 0) if account.id in progress.done.pending else now
            for account in progress.done.accounts
        }
        if progress.done.written:
            logger.info("pass", **counts(progress.done))
