from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natsync.core.claims.user_claims import Permissions, ResponsePermission, UserClaims, UserLimits, user_rights
from natsync.core.state.rights import Defaults, exceeds, merged

subjects = st.lists(st.sampled_from(["a", "b", "c.>"]), max_size=3, unique=True).map(tuple)
limits = st.sampled_from([-1, 0, 1, 7])
responses = st.none() | st.builds(ResponsePermission, st.sampled_from([-1, 1, 5]), st.sampled_from([-1, 0, 2]))
claims = st.builds(
    UserClaims,
    st.builds(Permissions, subjects, subjects, subjects, subjects, responses),
    st.builds(UserLimits, limits, limits, limits),
    bearer_token=st.booleans(),
)


def body(**changed: Any) -> dict[str, Any]:
    permissions = {name: changed.pop(name) for name in list(changed) if name in Permissions.__dataclass_fields__}
    return user_rights(UserClaims(Permissions(**permissions), **changed))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"publish": ("a", "b")}, {"publish": ("a",)}),
        ({"subscribe": ("a",)}, {"subscribe": ("b",)}),
        ({}, {"publish": ("a",)}),
        ({}, {"publish_deny": ("a",)}),
        ({"subscribe_deny": ("a",)}, {"subscribe_deny": ("a", "b")}),
        ({"response": ResponsePermission(5, 1)}, {"response": ResponsePermission(1, 1)}),
        ({"response": ResponsePermission(-1, 1)}, {"response": ResponsePermission(9, 1)}),
        ({"response": ResponsePermission(1, 1)}, {}),
        ({"limits": UserLimits(payload=5)}, {"limits": UserLimits(payload=4)}),
        ({"limits": UserLimits()}, {"limits": UserLimits(subscriptions=9)}),
        ({"bearer_token": True}, {}),
        ({"source_networks": ("10.0.0.0/8",)}, {"source_networks": ("10.1.0.0/16",)}),
    ],
)
def test_what_is_taken_away_is_noticed(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert exceeds(body(**before), body(**after))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"publish": ("a",)}, {"publish": ("b", "a")}),
        ({"publish": (">",)}, {}),
        ({"publish_deny": ("a",)}, {}),
        ({}, {"response": ResponsePermission(1, 1)}),
        ({"limits": UserLimits(payload=4)}, {"limits": UserLimits(payload=5)}),
        ({"limits": UserLimits(payload=4)}, {"limits": UserLimits(payload=-1)}),
        ({}, {"bearer_token": True}),
    ],
)
def test_what_is_added_takes_nothing_away(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert not exceeds(body(**before), body(**after))


@given(claims, claims, claims)
def test_exceeding_is_an_order(one: UserClaims, other: UserClaims, third: UserClaims) -> None:
    first, second, last = user_rights(one), user_rights(other), user_rights(third)
    assert not exceeds(first, first)
    if not exceeds(first, second) and not exceeds(second, last):
        assert not exceeds(first, last)


@given(subjects, subjects, subjects, subjects)
def test_both_lists_count_and_denials_win(
    role_allows: tuple[str, ...], own_allows: tuple[str, ...], role_denies: tuple[str, ...], own_denies: tuple[str, ...]
) -> None:
    found = merged(
        Permissions(publish=role_allows, publish_deny=role_denies),
        Permissions(publish=own_allows, publish_deny=own_denies),
        Defaults(),
    )
    assert set(found.publish) == (set(role_allows) | set(own_allows) or {">"})
    assert set(found.publish_deny) == set(role_denies) | set(own_denies)


def test_defaults_count_where_nothing_is_allowed() -> None:
    found = merged(Permissions(), Permissions(), Defaults(publish=("p",), subscribe=("s",)))
    assert (found.publish, found.subscribe) == (("p",), ("s",))
