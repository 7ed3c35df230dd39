from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natsync.core.claims.user_claims import Permissions, ResponsePermission, TimeRange, UserClaims, UserLimits
from natsync.core.validation.user_validation import MAX_RESTRICTIONS, MAX_SUBJECTS, permission_faults, user_faults
from tests.random_claims import RandomClaims

anything = st.builds(
    UserClaims,
    st.from_type(Permissions),
    st.from_type(UserLimits),
    st.lists(st.text() | st.ip_addresses().map(str)).map(tuple),
    st.lists(st.builds(TimeRange, st.text(), st.text())).map(tuple),
    st.text(),
    st.lists(st.text()).map(tuple),
    st.booleans(),
)


@given(anything, st.booleans())
def test_nothing_breaks_it(claims: UserClaims, templates: bool) -> None:
    assert all(isinstance(fault, str) for fault in user_faults(claims, templates=templates))


@given(st.randoms(use_true_random=False))
def test_what_is_well_made_has_no_fault(random: Random) -> None:
    assert user_faults(RandomClaims(random).user(templates=True), templates=True) == []


@pytest.mark.parametrize(
    ("claims", "fault"),
    [
        (UserClaims(Permissions(publish=("a b",))), "publish: 'a b' has a space"),
        (UserClaims(Permissions(subscribe_deny=("",))), "subscribe_deny: '' is empty"),
        (UserClaims(Permissions(publish=("a.{{name()}}",))), "has a template in it"),
        (UserClaims(Permissions(response=ResponsePermission(2**63))), "response"),
        (UserClaims(Permissions(response=ResponsePermission(1, 1e10))), "response"),
        (UserClaims(limits=UserLimits(payload=-2)), "payload is neither"),
        (UserClaims(limits=UserLimits(subscriptions=2**63)), "subs is neither"),
        (UserClaims(source_networks=("192.0.2.1",)), "no CIDR"),
        (UserClaims(source_networks=("192.0.2.0/255.255.255.0",)), "no CIDR"),
        (UserClaims(source_networks=("192.0.2.0/٣",)), "no CIDR"),
        (UserClaims(source_networks=("192.0.2.0/33",)), "no CIDR"),
        (UserClaims(source_networks=("fe80::%eth0/64",)), "no CIDR"),
        (UserClaims(source_networks=("home",)), "no CIDR"),
        (UserClaims(source_networks=("10.0.0.0/8",) * (MAX_RESTRICTIONS + 1)), "more than"),
        (UserClaims(times=(TimeRange("8:00:00", "9:00:00"),)), "no range"),
        (UserClaims(times=(TimeRange("08:00:00", "24:00:00"),)), "no range"),
        (UserClaims(times=(TimeRange("", ""),)), "no range"),
        (UserClaims(times_location="../etc/passwd"), "no time zone"),
        (UserClaims(times_location="Europe/Berlin\n"), "no time zone"),
        (UserClaims(connection_types=("standard",)), "is none of"),
    ],
)
def test_a_fault_is_named(claims: UserClaims, fault: str) -> None:
    (found,) = user_faults(claims)
    assert fault in found


def test_restrictions_that_servers_know_have_no_fault() -> None:
    claims = UserClaims(
        source_networks=("10.0.0.0/8", "10.1.2.3/8", "::/0"),
        times=(TimeRange("00:00:00", "23:59:59"),),
        times_location="America/Argentina/Buenos_Aires",
        connection_types=("WEBSOCKET", "IN_PROCESS"),
    )
    assert user_faults(claims) == []


def test_a_list_without_end_is_looked_at_to_its_bound_only() -> None:
    faults = list(permission_faults(Permissions(publish=("",) * (MAX_SUBJECTS + 5))))
    assert len(faults) == MAX_SUBJECTS + 1


def test_queue_groups_and_templates_do_not_share_a_list() -> None:
    """A server fills in the list as a whole and then takes what has a space for no subject."""
    mixed = Permissions(subscribe=("{{name()}}.x", "jobs.> workers"))
    assert "queue group" in next(iter(permission_faults(mixed, templates=True)))
    apart = Permissions(publish=("{{name()}}.x",), subscribe=("jobs.> workers",), subscribe_deny=("{{name()}}.x",))
    assert list(permission_faults(apart, templates=True)) == []
