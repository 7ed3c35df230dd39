"""May this use pass, and if not, when? The state and the time come in, the state and the answer go out.

`adapters/rate_limit.lua` does the same on Valkey; one suite of tests holds both to each other.

The books of one key hold *runs*: (stamp, uses), the stamp being that of the run's last use. A use joins the last run
as long as that holds fewer than R = `run` uses, or was stamped at this very moment; else it begins a run. A run counts
until its stamp is `every` old, and a use passes while the books, it included, hold at most C = `capacity`.

*Never more than C in any window of `every`.* Take the last use that passed in the window. Every earlier one in the
window is less than `every` old and its run's stamp no older than itself, so all were on the books: at most C.
With R = 1 the books are exact and C is the limit L. Otherwise C = L + (R - 1), R - 1 being at most L / 20.

*Who keeps to L is never refused.* Runs follow each other in time, so at most one of those counted holds uses that left
the window, and at most R - 1 of them, since its last use has not. Who made at most L - 1 uses in the window therefore
finds at most L - 1 + R - 1 < C on the books.

*Leases.* A process may take up to B = `lease_budget` uses, less what others hold, to admit locally for a twentieth of
`every`. A lease is on the books from when it is granted until it is settled, and unsettled until `every` after its
end. Settling strikes out what was not used and stamps the rest with that moment (or the lease's end, if earlier), which
no use of it is later than; so the first proof holds as it stands. For the second, the books may also hold B uses that
nobody made yet and B that were made before the window and stamped in it, for these were of leases open as the window
began. Hence C = L + (R - 1) + 2B, still at most L + L / 20. A process that dies with a lease keeps it open: it costs
budget, never anybody's limit.

*Clocks.* A stamp later than now means that the clock was set back. It becomes now: uses count for at least `every`, and
for at most `every` after the clock's return.
"""

from typing import Literal, NamedTuple, TypeAlias

import msgspec

from common.core.rate_limit_rule import Terms

Outcome: TypeAlias = Literal["allowed", "limited", "penalised"]

MAX_LEASES = 64
"""Leases that one key's books list; further processes take uses singly."""


class Run(NamedTuple):
    stamp_us: int
    uses: int


class Lease(NamedTuple):
    owner: int
    until_us: int
    uses: int


class Books(NamedTuple):
    """All that is known of one key. Runs and refusals are in order of their stamps."""

    runs: tuple[Run, ...] = ()
    refused: tuple[Run, ...] = ()
    leases: tuple[Lease, ...] = ()
    penalised_until_us: int = 0


class Ask(msgspec.Struct, frozen=True, gc=False):
    """One question to the counters: `cost` uses now, and up to `want` more on lease to `owner`.

    `settle_until_us` names a lease of the owner that ends herewith, of which `settle_unused` uses were not made.
    """

    key: bytes
    terms: Terms
    cost: int = 1
    want: int = 0
    owner: int = 0
    settle_until_us: int = 0
    settle_unused: int = 0


class Answer(msgspec.Struct, frozen=True, gc=False):
    """`now_us` is the counters' clock; `retry_us` is 0 when allowed; a lease was granted if `granted` is not 0."""

    outcome: Outcome
    remaining: int
    retry_us: int
    reset_us: int
    granted: int
    lease_until_us: int
    now_us: int


def decide(books: Books, ask: Ask, now_us: int) -> tuple[Books, Answer]:
    """The very same books come back when there is nothing to write down."""
    terms = ask.terms
    healed = heal(books, terms, now_us)
    current = forget(healed, terms, now_us)
    live = settle(current, ask, now_us)
    unwritten = books if healed is books and live is current else live
    if live.penalised_until_us > now_us:
        return unwritten, penalised(live.penalised_until_us - now_us, now_us)
    if ask.cost and uses_of(live) + ask.cost > terms.capacity:
        return refuse(live, unwritten, ask, now_us)
    if not ask.cost:
        return unwritten, passed(live, terms, now_us)
    return admit(live, ask, now_us)


def heal(books: Books, terms: Terms, now_us: int) -> Books:
    """Bring back what lies in the future, where only a clock that was set back can have put it."""
    last_lease_us, last_penalty_us = now_us + terms.lease_us, now_us + terms.penalty_us
    if not (
        (books.runs and books.runs[-1].stamp_us > now_us)
        or (books.refused and books.refused[-1].stamp_us > now_us)
        or any(lease.until_us > last_lease_us for lease in books.leases)
        or books.penalised_until_us > last_penalty_us
    ):
        return books
    return Books(
        tuple(Run(min(run.stamp_us, now_us), run.uses) for run in books.runs),
        tuple(Run(min(run.stamp_us, now_us), run.uses) for run in books.refused),
        tuple(Lease(lease.owner, min(lease.until_us, last_lease_us), lease.uses) for lease in books.leases),
        min(books.penalised_until_us, last_penalty_us),
    )


def forget(books: Books, terms: Terms, now_us: int) -> Books:
    horizon_us = now_us - terms.every_us
    return Books(
        since(books.runs, horizon_us),
        since(books.refused, horizon_us),
        tuple(lease for lease in books.leases if lease.until_us > horizon_us),
        books.penalised_until_us,
    )


def since(runs: tuple[Run, ...], horizon_us: int) -> tuple[Run, ...]:
    for index, run in enumerate(runs):
        if run.stamp_us > horizon_us:
            return runs[index:]
    return ()


def settle(books: Books, ask: Ask, now_us: int) -> Books:
    """End the lease that the ask names. An unknown one was forgotten already, or counts as used to the end."""
    for index, lease in enumerate(books.leases):
        if (lease.owner, lease.until_us) == (ask.owner, ask.settle_until_us):
            made = max(0, lease.uses - ask.settle_unused)
            runs = append(books.runs, Run(min(now_us, lease.until_us), made), ask.terms.run)
            return books._replace(runs=runs, leases=books.leases[:index] + books.leases[index + 1 :])
    return books


def append(runs: tuple[Run, ...], new: Run, size: int) -> tuple[Run, ...]:
    if not new.uses:
        return runs
    if runs and (runs[-1].stamp_us >= new.stamp_us or runs[-1].uses + new.uses <= size):
        last = runs[-1]
        return (*runs[:-1], Run(max(last.stamp_us, new.stamp_us), last.uses + new.uses))
    return (*runs, new)


def append_refused(runs: tuple[Run, ...], new: Run, size: int) -> tuple[Run, ...]:
    """A run of refusals keeps its first stamp: it may be forgotten early, but nobody is penalised for old ones."""
    if runs and (runs[-1].stamp_us >= new.stamp_us or runs[-1].uses + new.uses <= size):
        return (*runs[:-1], Run(runs[-1].stamp_us, runs[-1].uses + new.uses))
    return (*runs, new)


def uses_of(books: Books) -> int:
    return sum(run.uses for run in books.runs) + sum(lease.uses for lease in books.leases)


def admit(live: Books, ask: Ask, now_us: int) -> tuple[Books, Answer]:
    terms = ask.terms
    after = live._replace(runs=append(live.runs, Run(now_us, ask.cost), terms.run))
    granted = lease_of(after, ask)
    if not granted:
        return after, passed(after, terms, now_us)
    until_us = now_us + terms.lease_us
    after = after._replace(leases=(*after.leases, Lease(ask.owner, until_us, granted)))
    return after, passed(after, terms, now_us, granted, until_us)


def lease_of(books: Books, ask: Ask) -> int:
    """Half of the budget that is left, so that the next process finds some too."""
    if not ask.want or len(books.leases) >= MAX_LEASES:
        return 0
    budget = ask.terms.lease_budget - sum(lease.uses for lease in books.leases)
    return max(0, min(ask.want, (budget + 1) // 2, ask.terms.capacity - uses_of(books)))


def refuse(live: Books, unwritten: Books, ask: Ask, now_us: int) -> tuple[Books, Answer]:
    """Attempts count towards `max_uses`; those that only the tolerance let pass do not."""
    terms = ask.terms
    used = uses_of(live)
    if not terms.max_uses:
        return unwritten, limited(live, used, ask, now_us)
    tolerated = terms.capacity - terms.ceiling
    attempts = used - tolerated + sum(run.uses for run in live.refused) + ask.cost
    if attempts > terms.max_uses:
        penalty = live._replace(refused=(), penalised_until_us=now_us + terms.penalty_us)
        return penalty, penalised(terms.penalty_us, now_us)
    refused = append_refused(live.refused, Run(now_us, ask.cost), terms.refused_run)
    return live._replace(refused=refused), limited(live, used, ask, now_us)


def passed(books: Books, terms: Terms, now_us: int, granted: int = 0, lease_until_us: int = 0) -> Answer:
    remaining = max(0, terms.ceiling - uses_of(books))
    return Answer("allowed", remaining, 0, next_free_us(books, terms, now_us), granted, lease_until_us, now_us)


def limited(books: Books, used: int, ask: Ask, now_us: int) -> Answer:
    terms = ask.terms
    retry_us = room_us(books, used + ask.cost - terms.capacity, terms, now_us)
    return Answer("limited", max(0, terms.ceiling - used), retry_us, next_free_us(books, terms, now_us), 0, 0, now_us)


def penalised(left_us: int, now_us: int) -> Answer:
    return Answer("penalised", 0, left_us, left_us, 0, 0, now_us)


def next_free_us(books: Books, terms: Terms, now_us: int) -> int:
    return books.runs[0].stamp_us + terms.every_us - now_us if books.runs else terms.every_us


def room_us(books: Books, needed: int, terms: Terms, now_us: int) -> int:
    """Until so many uses have left the window; `every` when they are not all in runs, or more than there can be."""
    for run in books.runs:
        needed -= run.uses
        if needed <= 0:
            return run.stamp_us + terms.every_us - now_us
    return terms.every_us
