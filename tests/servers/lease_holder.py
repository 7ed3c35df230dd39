"""A process that wants a lease and writes under it.

It says `wants`, `held <epoch>`, `wrote <revision>`, `refused` and `left`. With `deceived` its clock stands still once
it holds, so that it believes in its lease as a process does that was stopped between looking at the clock and writing.
"""

import asyncio
import itertools
import sys
import time

from common.adapters.nats_bus import open_bus
from common.adapters.nats_fenced import open_fenced
from common.adapters.nats_leases import STEADY, Lease, Leases
from common.core.errors import StaleLease
from common.core.lease import Terms
from common.core.messages import Message

WRITE_SECONDS = 0.02
QUICK = Terms(ttl_seconds=1.0, renew_seconds=0.3, margin_seconds=0.2, look_seconds=0.2)
SAID = "SAID"
"""Before each word, so that it is told from log lines."""


class Counted(Message, frozen=True):
    by: str
    number: int


class Watch:
    """A clock that can be stopped."""

    def __init__(self) -> None:
        self._stopped_at: float | None = None

    def __call__(self) -> float:
        return STEADY() if self._stopped_at is None else self._stopped_at

    def stop(self) -> None:
        self._stopped_at = STEADY()


def say(*words: object) -> None:
    print(SAID, time.monotonic(), *words, flush=True)  # noqa: T201 - by which the test learns of it


async def work(url: str, bucket: str, name: str, *, deceived: bool, terms: Terms) -> None:
    clock = Watch()
    async with open_bus(url, name=name) as bus:
        await bus.ready()
        say("wants")
        leases = Leases(bus, holder=name, terms=terms, clock=clock)

        async def count(lease: Lease) -> None:
            say("held", lease.epoch)
            if deceived:
                clock.stop()
            values = await open_fenced(bus, bucket, Counted, lease)
            for number in itertools.count():
                try:
                    say("wrote", await values.put("count", Counted(by=name, number=number)))
                except StaleLease:
                    say("refused")
                    raise
                await asyncio.sleep(WRITE_SECONDS)

        try:
            await leases.run_as_leader(bucket, count)
        finally:
            say("left")


if __name__ == "__main__":
    options = sys.argv[4:]
    asyncio.run(work(*sys.argv[1:4], deceived="deceived" in options, terms=QUICK if "quick" in options else Terms()))
