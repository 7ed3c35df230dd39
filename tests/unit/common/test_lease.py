"""Candidates for one lease, over a register with compare-and-set, a network that loses and delays, and clocks that
disagree."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.core.errors import InvalidRequest
from common.core.lease import UNREADABLE, Candidate, Claim, Look, Rest, Seen, Terms, Write, epoch_of

TERMS = Terms()
CLAIM = Claim(holder="other", ttl_ms=3000)


@dataclass
class Register:
    """What a key-value bucket does with one key. Revisions grow over deletions."""

    claim: Claim | None = None
    revision: int = 0

    def write(self, claim: Claim | None, expected: int) -> int | None:
        if expected != self.revision:
            return None
        self.claim, self.revision = claim, self.revision + 1
        return self.revision


@dataclass
class Process:
    """A candidate with a clock of its own: `rate` is how fast it runs, `offset` what it shows at the beginning."""

    candidate: Candidate
    rate: float
    offset: float
    paused_until: float = 0.0
    cut_off_until: float = 0.0
    epochs: list[int] = field(default_factory=list[int])

    def clock(self, at: float) -> float:
        return self.offset + at * self.rate

    def at(self, clock: float) -> float:
        return (clock - self.offset) / self.rate


class World:
    """Everything that happens, in order of true time. `draw` decides what the network does to each message."""

    def __init__(self, processes: list[Process], draw: Callable[[], tuple[float, float, bool]]) -> None:
        self.now = 0.0
        self.register = Register()
        self.processes = processes
        self.draw = draw
        self.order = count()
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.epochs: list[int] = []
        self.handovers: list[float] = []
        for process in processes:
            self.later(0.0, lambda process=process: self.step(process))

    def later(self, at: float, event: Callable[[], None]) -> None:
        heapq.heappush(self.events, (max(at, self.now), next(self.order), event))

    def run(self, until: float) -> None:
        while self.events and self.events[0][0] <= until:
            self.now, _, event = heapq.heappop(self.events)
            event()
            holders = [one.candidate.me for one in self.processes if one.candidate.holds(one.clock(self.now))]
            assert len(holders) <= 1, f"{holders} at {self.now}"

    def delete(self, revision: int) -> None:
        self.register.write(None, revision)

    def step(self, process: Process) -> None:
        if self.now < process.paused_until:
            self.later(process.paused_until, lambda: self.step(process))
            return
        clock = process.clock(self.now)
        match process.candidate.next(clock):
            case Rest(until):
                self.later(process.at(until) + 1e-6, lambda: self.step(process))
            case Look():
                self.send(process, lambda: Seen(self.register.claim, self.register.revision), self.looked)
            case Write(revision):
                claim = process.candidate.claim()
                self.send(process, lambda: self.register.write(claim, revision), self.wrote)

    def send(self, process: Process, carry_out: Callable[[], object], answered: Callable[..., None]) -> None:
        sent_at = process.clock(self.now)
        there, back, lost = self.draw()
        lost_on_the_way = self.now < process.cut_off_until
        deadline = self.now + 1.0
        done = False

        def arrive() -> None:
            result = carry_out()
            if not lost:
                self.later(self.now + back, lambda: answer(result))

        def answer(result: object) -> None:
            nonlocal done
            if done:
                return
            if self.now < process.paused_until:
                self.later(process.paused_until, lambda: answer(result))
                return
            done = True
            answered(process, result, sent_at)
            self.step(process)

        def give_up() -> None:
            nonlocal done
            if done:
                return
            if self.now < process.paused_until:
                self.later(process.paused_until, give_up)
                return
            done = True
            process.candidate.unknown(process.clock(self.now))
            self.step(process)

        if not lost_on_the_way:
            self.later(self.now + there, arrive)
        self.later(deadline, give_up)

    def looked(self, process: Process, seen: Seen, _: float) -> None:
        process.candidate.looked(seen, process.clock(self.now))

    def wrote(self, process: Process, revision: int | None, sent_at: float) -> None:
        clock, held_before = process.clock(self.now), process.candidate.holds(process.clock(self.now))
        if revision is None:
            process.candidate.refused(clock)
            return
        process.candidate.written(revision, sent_at, clock)
        if not held_before and process.candidate.holds(clock):
            assert not self.epochs or process.candidate.epoch_revision > self.epochs[-1]
            self.epochs.append(process.candidate.epoch_revision)
            self.handovers.append(self.now)


def world_of(rates: list[float], draw: Callable[[], tuple[float, float, bool]]) -> World:
    processes = [Process(Candidate(f"p{n}", TERMS), rate, 1000.0 * n) for n, rate in enumerate(rates)]
    return World(processes, draw)


DRIFT = TERMS.margin_seconds / TERMS.ttl_seconds * 0.45
"""How far each clock may be off the true rate, so that no two are apart by more than the margin allows."""
rates_of_clocks = st.lists(st.sampled_from([1 - DRIFT, 1.0, 1 + DRIFT]), min_size=2, max_size=4)
delays = st.one_of(st.just(0.0), st.floats(0, 0.05), st.floats(0, 6))
disturbances = st.tuples(
    st.floats(0, 40), st.integers(0, 3), st.floats(0, 15), st.sampled_from(["pause", "release", "cut off"])
)


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_two_never_hold_at_once_whatever_the_network_and_the_clocks_do(data: st.DataObject) -> None:
    fates = data.draw(st.lists(st.tuples(delays, delays, st.booleans()), min_size=1, max_size=60))
    turn = count()
    world = world_of(data.draw(rates_of_clocks), lambda: fates[next(turn) % len(fates)])
    for at, which, seconds, what in data.draw(st.lists(disturbances, max_size=6)):
        process = world.processes[which % len(world.processes)]

        def disturb(process: Process = process, seconds: float = seconds, what: str = what) -> None:
            if what == "pause":
                process.paused_until = world.now + seconds
            elif what == "cut off":
                process.cut_off_until = world.now + seconds
            elif (revision := process.candidate.released()) is not None:
                world.later(world.now + seconds / 3, lambda: world.delete(revision))

        world.later(at, disturb)
    world.run(40.0)


@pytest.mark.parametrize("back", [0.0, 0.5, 0.9])
def test_the_slowest_clock_has_given_up_before_the_fastest_takes_over(back: float) -> None:
    """At each moment at which a holder can be cut off, with answers that take their time."""
    for tenths in range(50, 80):
        world = world_of([1 - DRIFT, 1 + DRIFT], lambda: (0.0, back, False))
        world.run(tenths / 10)
        for process in world.processes:
            if process.candidate.holds(process.clock(world.now)):
                process.cut_off_until = 20.0
        world.run(20.0)


@given(st.floats(0, 60), st.floats(0.001, 0.15))
@settings(max_examples=60, deadline=None)
def test_a_lease_whose_holder_dies_is_held_again_within_its_time(dies_at: float, delay: float) -> None:
    world = world_of([1.0, 1.0, 1.0], lambda: (delay, delay, False))
    world.run(5.0 + dies_at)
    (holder,) = [one for one in world.processes if one.candidate.holds(one.clock(world.now))]
    holder.paused_until = float("inf")
    world.processes.remove(holder)
    died_at = world.now
    world.run(died_at + 5.0)
    assert any(one.candidate.holds(one.clock(world.now)) for one in world.processes)
    assert world.handovers[-1] - died_at < TERMS.ttl_seconds + TERMS.look_seconds + 9 * delay + 0.01


def test_the_first_to_come_holds_at_once() -> None:
    candidate = Candidate("me", TERMS)
    assert candidate.next(0) == Look()
    candidate.looked(Seen(None, 7), 0.1)
    assert candidate.next(0.1) == Write(7)
    candidate.written(8, sent_at=0.1, now=0.2)
    assert candidate.holds(0.2)
    assert candidate.epoch_revision == 8
    assert candidate.next(0.2) == Rest(1.1)


def test_a_holder_counts_from_before_it_sent() -> None:
    candidate = holding(sent_at=10.0, now=12.0)
    assert candidate.holds(12.49)
    assert not candidate.holds(12.5)


def test_an_answer_that_comes_too_late_makes_no_holder() -> None:
    candidate = Candidate("me", TERMS)
    candidate.looked(Seen(None, 0), 0)
    candidate.written(1, sent_at=0, now=9)
    assert not candidate.holds(9)
    candidate.looked(Seen(candidate.claim(), 1), 9)
    assert candidate.next(9) == Write(1)  # nobody works under a claim of ours: it is replaced at once


def test_a_renewal_keeps_the_epoch_and_a_new_claim_raises_it() -> None:
    candidate = holding(sent_at=0, now=0)
    candidate.written(2, sent_at=1, now=1)
    assert candidate.epoch_revision == 1
    candidate.written(9, sent_at=20, now=20)
    assert candidate.epoch_revision == 9


def test_a_claim_of_another_is_waited_out_from_when_it_was_read() -> None:
    candidate = Candidate("me", TERMS)
    candidate.looked(Seen(CLAIM, 4), 10.0)
    candidate.looked(Seen(CLAIM, 4), 12.9)
    assert candidate.next(12.95) == Rest(13.0)
    assert candidate.next(13.0) == Write(4)


def test_a_renewal_by_another_starts_the_wait_again() -> None:
    candidate = Candidate("me", TERMS)
    candidate.looked(Seen(CLAIM, 4), 10.0)
    candidate.looked(Seen(CLAIM, 5), 12.9)
    assert candidate.next(13.0) == Rest(13.4)


def test_the_longer_of_the_two_times_counts() -> None:
    candidate = Candidate("me", TERMS)
    candidate.looked(Seen(Claim(holder="other", ttl_ms=20_000), 4), 0)
    candidate.looked(Seen(Claim(holder="other", ttl_ms=20_000), 4), 19.9)
    assert candidate.next(19.95) == Rest(20.0)


def test_a_claim_that_cannot_be_read_is_respected_for_a_minute() -> None:
    candidate = Candidate("me", TERMS)
    candidate.looked(Seen(UNREADABLE, 4), 0)
    candidate.looked(Seen(UNREADABLE, 4), 59.9)
    assert candidate.next(59.95) == Rest(60.0)


def test_a_holder_that_sees_another_claim_holds_no_more() -> None:
    candidate = holding(sent_at=0, now=0)
    candidate.refused(1)
    assert candidate.next(1) == Look()
    candidate.looked(Seen(CLAIM, 2), 1.1)
    assert not candidate.holds(1.1)


def test_a_holder_goes_on_from_a_renewal_whose_answer_was_lost() -> None:
    candidate = holding(sent_at=0, now=0)
    candidate.unknown(1.0)
    assert candidate.next(1.0) == Rest(1.1)
    assert candidate.next(1.1) == Look()
    candidate.looked(Seen(candidate.claim(), 2), 1.2)
    assert candidate.next(1.2) == Write(2)
    assert candidate.holds_until == 2.5


def test_a_look_that_failed_is_not_repeated_at_once() -> None:
    candidate = Candidate("me", TERMS)
    candidate.unknown(5.0)
    assert candidate.next(5.0) == Rest(5.1)
    assert candidate.next(5.1) == Look()


def test_what_is_released_is_held_no_more_and_may_be_deleted() -> None:
    candidate = holding(sent_at=0, now=0)
    assert candidate.released() == 1
    assert not candidate.holds(0)
    assert candidate.released() is None


def test_a_change_makes_a_candidate_look_and_a_holder_not() -> None:
    waiting = Candidate("me", TERMS)
    waiting.looked(Seen(CLAIM, 4), 0)
    waiting.changed(0.2)
    assert waiting.next(0.2) == Look()
    holder = holding(sent_at=0, now=0)
    holder.changed(0.2)
    assert holder.next(0.2) == Rest(1.0)


@pytest.mark.parametrize(
    "times",
    [
        {"margin_seconds": 3.0},
        {"margin_seconds": 0.0},
        {"renew_seconds": 2.5},
        {"renew_seconds": 0.0},
        {"look_seconds": 0.0},
        {"ttl_seconds": 61.0},
        {"ttl_seconds": float("nan")},
    ],
)
def test_times_that_do_not_fit_are_refused(times: dict[str, float]) -> None:
    with pytest.raises(InvalidRequest, match="_seconds"):
        Terms(**times)


@given(st.integers(0, 2**40), st.integers(0, 2**40), st.integers(0, 10**9))
def test_an_epoch_grows_with_each_revision_and_each_new_register(revision: int, more: int, seconds: int) -> None:
    born = 1_800_000_000.0
    assert epoch_of(born, revision + more + 1) > epoch_of(born, revision)
    writes_a_second = 1000
    assert epoch_of(born + seconds + 1, 1) > epoch_of(born, min(revision, seconds * writes_a_second + 1))
    assert epoch_of(born, revision) < 2**63


def holding(*, sent_at: float, now: float) -> Candidate:
    candidate = Candidate("me", TERMS)
    candidate.looked(Seen(None, 0), sent_at)
    candidate.written(1, sent_at=sent_at, now=now)
    return candidate
