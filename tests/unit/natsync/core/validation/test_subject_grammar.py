from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natsync.core.validation.subject_grammar import (
    collide,
    covers,
    has_wildcards,
    is_literal_token,
    overlap,
    subject_fault,
)


def with_tail(tokens: list[str], tail: bool) -> str:
    return ".".join([*tokens, ">"] if tail else tokens)


patterns = st.builds(with_tail, st.lists(st.sampled_from("ab*"), min_size=1, max_size=3), st.booleans())
LITERALS = [".".join(tokens) for length in range(1, 6) for tokens in product("abz", repeat=length)]


def matches(pattern: str, literal: str) -> bool:
    """As nats-server matches a published subject."""
    mine, theirs = pattern.split("."), literal.split(".")
    if mine[-1] == ">":
        return len(theirs) >= len(mine) and matches(
            ".".join(mine[:-1] or ["*"]), ".".join(theirs[: len(mine) - 1 or 1])
        )
    return len(mine) == len(theirs) and all(m in ("*", t) for m, t in zip(mine, theirs, strict=True))


@given(patterns, patterns)
def test_covering_and_overlapping_are_what_matching_makes_of_them(one: str, other: str) -> None:
    ours = {literal for literal in LITERALS if matches(one, literal)}
    theirs = {literal for literal in LITERALS if matches(other, literal)}
    assert covers(one, other) == (theirs <= ours)
    assert overlap(one, other) == bool(ours & theirs)


@given(patterns, patterns)
def test_what_covers_the_other_collides_with_it(one: str, other: str) -> None:
    assert collide(one, one)
    assert collide(one, other) == collide(other, one)
    assert collide(one, other) or not (covers(one, other) or covers(other, one))


def test_a_tail_under_a_star_collides_as_it_does_on_servers() -> None:
    assert collide("*.*", "a.>")
    assert not covers("*.*", "a.>")
    assert not collide("a.*.c", "a.b.*")


@pytest.mark.parametrize("subject", ["a", "a.b", "*", ">", "a.*.>", "$SYS.>", "é.ü", "a-b_c", "a.{b}"])
def test_proper_subjects_have_no_fault(subject: str) -> None:
    assert subject_fault(subject) == ""


@pytest.mark.parametrize(
    ("subject", "fault"),
    [
        ("", "is empty"),
        ("a b", "has a space in it"),
        ("a\tb", "has a space or control character"),
        ("a\x00", "has a space or control character"),
        ("a..b", "has an empty token"),
        (".a", "has an empty token"),
        (">.a", "has '>' before its end"),
        ("a*", "stand alone"),
        ("x" * 1001, "is too long"),
        ("a.{{name()}}", "has a template in it"),
        ("a.}}", "has a template in it"),
    ],
)
def test_what_is_no_subject_is_told_why(subject: str, fault: str) -> None:
    assert fault in subject_fault(subject)


def test_a_queue_group_may_follow_where_subscriptions_are_listed() -> None:
    assert subject_fault("a.> workers", queues=True) == ""
    for subject in ("a ", "a b c", "a \t"):
        assert "queue group" in subject_fault(subject, queues=True)


@pytest.mark.parametrize("token", ["{{name()}}", "{{subject()}}", "{{account-name()}}", "u-{{tag(team)}}-x"])
def test_templates_that_servers_know_may_stand_in_a_role(token: str) -> None:
    assert subject_fault(f"a.{token}.>", templates=True) == ""


@pytest.mark.parametrize(
    "token",
    ["{{nope()}}", "{{name}}", "{{ name() }}", "{{tag()}}", "{{tag(a.b)}}", "{{name()", "{{{name()}}}", "*{{name()}}"],
)
def test_templates_that_servers_do_not_know_may_not(token: str) -> None:
    assert subject_fault(f"a.{token}", templates=True)


def test_wildcards_are_whole_tokens() -> None:
    assert has_wildcards("a.*.b")
    assert has_wildcards(">")
    assert not has_wildcards("a.b*")


@pytest.mark.parametrize(("text", "literal"), [("bob", True), ("", False), ("a.b", False), ("*", False), (">", False)])
def test_a_literal_token_stands_for_itself_alone(text: str, literal: bool) -> None:
    assert is_literal_token(text) is literal
    assert not is_literal_token(f"{text} x")
    assert not is_literal_token(f"{text}{{{{name()}}}}")
