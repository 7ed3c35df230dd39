from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.sessions.grants import ClaimNames, Grants, grants_of_claims, highest_in, tenant_in, texts_in

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def test_claims_may_stand_inside_others_or_have_dots_in_their_names() -> None:
    claims = {
        "realm_access": {"roles": ("b", "a")},
        "https://acme.example/tenant": "acme",
        "app": {"level": (1, 4)},
    }
    names = ClaimNames(tenant="https://acme.example/tenant", clearance="app.level")
    assert grants_of_claims(claims, names, "iss") == Grants(("a", "b"), "acme", 4, "iss")
    assert grants_of_claims({"realm_access": "x", "app": None}, names, "iss") == Grants(provider="iss")


@pytest.mark.parametrize("value", ["", " acme", "a\r\nb", "ü", "a" * 129, 7, None, ["acme"], "-a", "a/b"])
def test_a_tenant_is_plain_text_or_none(value: Any) -> None:
    assert tenant_in(value) == ""
    assert tenant_in("acme-1.eu") == "acme-1.eu"


@pytest.mark.parametrize(
    ("value", "highest"),
    [(3, 3), ([1, 5, 2], 5), (2.0, 2), (2.5, 0), ("9", 0), (True, 0), ([], 0), (-1, 0), (2**40, 0), (float("inf"), 0)],
)
def test_the_highest_of_whole_numbers_counts(value: Any, highest: int) -> None:
    assert highest_in(value) == highest


@given(JSON)
def test_whatever_a_claim_holds_nothing_breaks_and_nothing_is_made_up(value: Any) -> None:
    assert all(text for text in texts_in(value))
    assert tenant_in(value) in ("", value)
    assert highest_in(value) >= 0
