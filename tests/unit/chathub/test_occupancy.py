"""Who takes up room, and whose share it is that is used up."""

import pytest

from chathub.core.allowance import MOST_NAMES, Allowance
from chathub.core.occupancy import Capacity, Full, Occupancy, TooManyRefusals, TooManySockets

ROOMY = Capacity(
    sockets=100,
    sockets_a_user=10,
    connects_a_second=5,
    connects_a_minute_a_user=4,
    refusals_a_minute_a_network=3,
)


def refused(occupancy: Occupancy, network: str, now: float = 0) -> None:
    occupancy.arrive(network, now)
    occupancy.become_known(network)
    occupancy.refuse(network, now)
    occupancy.depart()


def let_in(occupancy: Occupancy, user: str, now: float = 0, network: str = "home") -> None:
    occupancy.arrive(network, now)
    occupancy.become_known(network)
    occupancy.sit(user, now)


def test_who_is_refused_uses_up_what_his_network_may_be_refused_and_nothing_else() -> None:
    occupancy = Occupancy(ROOMY)
    for _ in range(3):
        refused(occupancy, "attacker")
    with pytest.raises(TooManyRefusals) as caught:
        occupancy.arrive("attacker", 0)
    assert caught.value.retry_seconds == 20
    for number in range(5):
        let_in(occupancy, f"user-{number}")


def test_a_network_may_be_refused_again_bit_by_bit() -> None:
    occupancy = Occupancy(ROOMY)
    for _ in range(3):
        refused(occupancy, "attacker")
    refused(occupancy, "attacker", now=20)
    with pytest.raises(TooManyRefusals):
        occupancy.arrive("attacker", 20)


def test_connects_that_are_not_looked_at_yet_are_bounded_by_network() -> None:
    occupancy = Occupancy(ROOMY)
    for _ in range(5):
        occupancy.arrive("attacker", 0)
    with pytest.raises(Full):
        occupancy.arrive("attacker", 0)
    let_in(occupancy, "ann")
    occupancy.become_known("attacker")
    occupancy.arrive("attacker", 0)


def test_connects_within_a_second_are_counted_of_those_who_are_known() -> None:
    occupancy = Occupancy(ROOMY)
    for number in range(5):
        let_in(occupancy, f"user-{number}")
    with pytest.raises(Full):
        occupancy.arrive("elsewhere", 0)
    let_in(occupancy, "late", now=0.2)


def test_one_user_cannot_use_up_the_connects_of_all() -> None:
    occupancy = Occupancy(ROOMY)
    for _ in range(4):
        let_in(occupancy, "restless")
        occupancy.rise("restless")
        occupancy.depart()
    with pytest.raises(TooManySockets):
        let_in(occupancy, "restless")
    let_in(occupancy, "ann")


def test_a_user_has_so_many_sockets_at_once() -> None:
    occupancy = Occupancy(Capacity(100, 1, 100, 100, 100))
    let_in(occupancy, "ann")
    with pytest.raises(TooManySockets):
        let_in(occupancy, "ann")
    occupancy.rise("ann")
    let_in(occupancy, "ann")


def test_a_node_takes_so_many_sockets() -> None:
    occupancy = Occupancy(Capacity(1, 10, 100, 100, 100))
    let_in(occupancy, "ann")
    with pytest.raises(Full):
        occupancy.arrive("home", 0)
    occupancy.depart()
    occupancy.arrive("home", 0)


def test_the_debt_of_a_flood_that_was_under_way_ends_within_two_minutes() -> None:
    allowance = Allowance(3)
    for _ in range(1000):
        allowance.use("attacker", 0)
    assert allowance.wait("attacker", 0) == 80
    assert allowance.wait("attacker", 80) == 0


@pytest.mark.parametrize("a_minute", [1, 7, 60, 119])
def test_as_many_are_allowed_at_once_as_within_a_minute(a_minute: int) -> None:
    allowance = Allowance(a_minute)
    for _ in range(a_minute):
        assert allowance.wait("ann", 12345.678) == 0
        allowance.use("ann", 12345.678)
    assert allowance.wait("ann", 12345.678) > 0


def test_what_is_remembered_is_bounded() -> None:
    allowance = Allowance(1)
    for number in range(MOST_NAMES + 10):
        allowance.use(str(number), 0)
    assert len(allowance._until) == MOST_NAMES
    assert allowance.wait(str(MOST_NAMES), 0) > 0
