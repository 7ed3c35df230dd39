import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natsync.core import permissions
from natsync.core.claims import Permissions, UserClaims, UserLimits, user_body
from natsync.core.permissions import BadPermissions, of_role

tokens = st.text(st.characters(categories=["L", "N"], include_characters="_-"), min_size=1, max_size=8)
subjects = st.lists(tokens | st.just("*"), min_size=1, max_size=5).map(".".join)


@pytest.mark.parametrize("empty", ["", "  ", "[]", "null"])
def test_an_empty_role_allows_everything_within_the_account(empty: str) -> None:
    assert of_role(empty, empty) == Permissions((">",), (">", "_INBOX.>"))


@given(st.lists(subjects, min_size=1, unique=True))
def test_proper_subjects_are_taken_as_they_are(listed: list[str]) -> None:
    assert of_role(json.dumps(listed), "").publish == tuple(listed)


def test_a_subscription_may_name_a_queue_group_and_a_publication_may_not() -> None:
    assert of_role("", '["jobs.> workers"]').subscribe == ("jobs.> workers",)
    with pytest.raises(BadPermissions, match="publish_permissions"):
        of_role('["jobs.> workers"]', "")


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "a.b",
        '"a.b"',
        "{}",
        "[1]",
        '[["a"]]',
        '[""]',
        '[" a"]',
        '["a "]',
        '["a b c"]',
        '["a\\tb"]',
        '["a\\u0000"]',
        '["a\\u00a0b"]',
        '["a..b"]',
        '[".a"]',
        '["a."]',
        '[">.a"]',
        '["a>"]',
        '["a.b*"]',
        "[" * 100_000,
        json.dumps([f"a.{number}" for number in range(501)]),
    ],
)
def test_what_is_no_list_of_subjects_is_refused_with_the_field_at_fault(text: str) -> None:
    with pytest.raises(BadPermissions, match="subscribe_permissions"):
        of_role("", text)


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    with suppress(BadPermissions):
        of_role(text, text)


def body(
    publish: tuple[str, ...] = ("a",), subscribe: tuple[str, ...] = ("b",), payload: int = -1
) -> dict[str, object]:
    return user_body(UserClaims(Permissions(publish, subscribe), UserLimits(payload=payload)), account="A")


@pytest.mark.parametrize(
    ("after", "narrower"),
    [
        (body(), False),
        (body(publish=("a", "c")), False),
        (body(publish=("c",)), True),
        (body(subscribe=()), True),
        (body(payload=10), True),
    ],
)
def test_losing_a_subject_or_a_limit_is_narrower(after: dict[str, object], narrower: bool) -> None:
    assert permissions.narrows(body(), after) is narrower


def test_a_raised_limit_is_not_narrower() -> None:
    assert not permissions.narrows(body(payload=10), body(payload=11))
    assert not permissions.narrows(body(payload=10), body(payload=-1))
    assert permissions.narrows(body(payload=10), body(payload=9))
