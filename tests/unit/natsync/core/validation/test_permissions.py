import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natsync.core.validation.permissions import BadPermissions, read_subjects

tokens = st.text(st.characters(categories=["L", "N"], include_characters="_-"), min_size=1, max_size=8)
subjects = st.lists(tokens | st.just("*"), min_size=1, max_size=5).map(".".join)


FIELD = "subscribe_permissions"


@pytest.mark.parametrize("empty", ["", "  ", "[]", "null"])
def test_an_empty_text_names_no_subjects(empty: str) -> None:
    assert read_subjects(empty, FIELD, queues=True) == ()


@given(st.lists(subjects, min_size=1, unique=True))
def test_proper_subjects_are_taken_as_they_are(listed: list[str]) -> None:
    assert read_subjects(json.dumps(listed), FIELD, queues=False) == tuple(listed)
    assert read_subjects(json.dumps([*listed, *listed]), FIELD, queues=False) == tuple(listed)


def test_a_subscription_may_name_a_queue_group_and_a_publication_may_not() -> None:
    assert read_subjects('["jobs.> workers"]', FIELD, queues=True) == ("jobs.> workers",)
    with pytest.raises(BadPermissions, match=FIELD):
        read_subjects('["jobs.> workers"]', FIELD, queues=False)


def test_a_template_may_stand_in_a_subject() -> None:
    assert read_subjects('["users.{{name()}}.>"]', FIELD, queues=False) == ("users.{{name()}}.>",)


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
        '["a.{{nope()}}"]',
        "[" * 100_000,
        json.dumps([f"a.{number}" for number in range(501)]),
    ],
)
def test_what_is_no_list_of_subjects_is_refused_with_the_field_at_fault(text: str) -> None:
    with pytest.raises(BadPermissions, match=FIELD):
        read_subjects(text, FIELD, queues=True)


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    with suppress(BadPermissions):
        read_subjects(text, FIELD, queues=True)
