"""How many sockets a node takes: in all, of one user, and anew within a second.

Who is refused uses up what his network may be refused, and nothing else: the connects within a second are counted once
it is known whose they are, so whoever has no token takes none from those who have one.
"""

import math
from collections import Counter
from dataclasses import dataclass

from chathub.core.allowance import Allowance
from common.core.errors import RateLimited, UpstreamUnavailable


class Full(UpstreamUnavailable):
    """Another node may have room, or this one later."""

    code = "full"


class TooManySockets(RateLimited):
    """Of one user."""


class TooManyRefusals(RateLimited):
    """Of one network."""


@dataclass(frozen=True, slots=True)
class Capacity:
    sockets: int
    sockets_a_user: int
    connects_a_second: int
    connects_a_minute_a_user: int
    refusals_a_minute_a_network: int


class Occupancy:
    def __init__(self, capacity: Capacity) -> None:
        self._capacity = capacity
        self._of_user: Counter[str] = Counter()
        self._unknown: Counter[str] = Counter()
        self._connects = Allowance(capacity.connects_a_minute_a_user)
        self._refusals = Allowance(capacity.refusals_a_minute_a_network)
        self._arriving = 0
        self._left = float(capacity.connects_a_second)
        self._at = -math.inf

    def arrive(self, network: str, now: float) -> None:
        """Before anything is looked at. Whoever arrived must `become_known` and `depart`.

        Raises TooManyRefusals, Full.
        """
        if wait := self._refusals.wait(network, now):
            raise TooManyRefusals("Too many connects from your network were refused.", retry_seconds=math.ceil(wait))
        if self._unknown[network] >= self._capacity.connects_a_second:
            raise Full("Too many connect from your network at once. Try again in a moment.")
        if self._arriving >= self._capacity.sockets:
            raise Full("This node takes no more sockets.")
        self._require_turn(now)
        self._unknown[network] += 1
        self._arriving += 1

    def become_known(self, network: str) -> None:
        """Or be refused: the credentials have been looked at."""
        release(self._unknown, network)

    def refuse(self, network: str, now: float) -> None:
        self._refusals.use(network, now)

    def depart(self) -> None:
        self._arriving -= 1

    def sit(self, user_id: str, now: float) -> None:
        """Raises TooManySockets, Full; else that user must `rise`."""
        if self._of_user[user_id] >= self._capacity.sockets_a_user:
            raise TooManySockets("You have as many sockets here as one may have.", retry_seconds=5)
        if wait := self._connects.wait(user_id, now):
            raise TooManySockets("You connect too often.", retry_seconds=math.ceil(wait))
        self._require_turn(now)
        self._left -= 1
        self._connects.use(user_id, now)
        self._of_user[user_id] += 1

    def rise(self, user_id: str) -> None:
        release(self._of_user, user_id)

    def _require_turn(self, now: float) -> None:
        rate = self._capacity.connects_a_second
        self._left = min(self._left + (now - self._at) * rate, rate)
        self._at = now
        if self._left < 1:
            raise Full("Too many connect at once. Try again in a moment.")


def release(held: Counter[str], name: str) -> None:
    held[name] -= 1
    if not held[name]:
        del held[name]
