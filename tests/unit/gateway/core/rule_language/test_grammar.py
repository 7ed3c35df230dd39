"""Rules and filters are read as PocketBase reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.rule_language.grammar import (
    MAX_COMPARISONS,
    Comparison,
    Group,
    Member,
    comparisons_of,
    parse_client_filter,
    parse_rule,
)
from gateway.core.rule_language.tokens import Call, Identifier, Number, Text, Unparsable


def only(text: str) -> Comparison:
    (comparison,) = comparisons_of(parse_rule(text))
    return comparison


@pytest.mark.parametrize("operator", ["=", "!=", ">", ">=", "<", "<=", "~", "!~"])
@pytest.mark.parametrize("prefix", ["", "?"])
def test_every_operator_is_known(operator: str, prefix: str) -> None:
    assert only(f"a{prefix}{operator}1") == Comparison(Identifier("a"), prefix + operator, Number("1"))


def test_both_quotes_hold_the_other_one_and_a_backslash_shields_their_own() -> None:
    assert only("""'a"b' = "a'b" """) == Comparison(Text('a"b'), "=", Text("a'b"))
    assert only(r"'it\'s' = 'a\\'") == Comparison(Text("it's"), "=", Text(r"a\\"))


def test_paths_modifiers_and_aliases_are_one_identifier() -> None:
    text = "@collection.notes:one.post.author:lower ?= @request.auth.id"
    assert only(text).left == Identifier("@collection.notes:one.post.author:lower")


def test_a_call_has_arguments_and_may_end_in_a_comma() -> None:
    call = Call("strftime", (Text("%Y"), Identifier("day"), Text("+1 day")))
    assert only("strftime('%Y', day // a comment\n, '+1 day',) = '2020'").left == call


def test_groups_and_joins_make_the_tree() -> None:
    comparison = Comparison(Identifier("a"), "=", Number("1"))
    inner = Group((Member("&&", comparison), Member("||", comparison)))
    assert parse_rule("a=1 && (a=1 || a=1)") == Group((Member("&&", comparison), Member("&&", inner)))


def test_comments_end_with_their_line() -> None:
    assert len(list(comparisons_of(parse_rule("a=1 // && b=2\n&& c=3 //")))) == 2


def test_a_group_takes_the_place_of_what_was_begun_as_in_pocketbase() -> None:
    assert [item.left for item in comparisons_of(parse_rule("a = (b=1) (c=2)"))] == [Identifier("b"), Identifier("c")]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "// nothing",
            "()",
            "a",
            "a=",
            "=1",
            "a 1",
            "a=1 b=2",
            "a=1 &&",
            "&& a=1",
            "a=1 & b=2",
            "a=1 ||| b=2",
        ),
        *(
            "a==1",
            "a=>1",
            "a? =1",
            "a=1.",
            "a=.5",
            "a=--1",
            "a=-",
            "a=1e5",
            "a='x",
            "a=\"x'",
            "(a=1",
            "a=1)",
            "a.=1",
            "@=1",
        ),
        *(
            "a=1 / b",
            "é=1",
            "a\r=1",
            "f(a b)=1",
            "f(,a)=1",
            "f(a,,b)=1",
            "f(a",
            "f(f(f(f(1))))=1",
            "f(1, f(2, f(3, f(4))))=1",
            "f (1)=1",
            "a=1;b=2",
        ),
        *("a=1\0", "(a=1 // )\n)", "&& ||", "a=1 && && b=2"),
    ],
)
def test_what_pocketbase_cannot_read_is_not_read_here(text: str) -> None:
    with pytest.raises(Unparsable):
        parse_rule(text)


def test_limits_hold() -> None:
    parse_rule("&&".join(["a=1"] * MAX_COMPARISONS))
    too_much = ("&&".join(["a=1"] * (MAX_COMPARISONS + 1)), "(" * 1700 + "a=1" + ")" * 1700, "a='" + "é" * 40000 + "'")
    for text in too_much:
        with pytest.raises(Unparsable):
            parse_rule(text)
    parse_client_filter("a='" + "x" * 3496 + "'")
    with pytest.raises(Unparsable):
        parse_client_filter("a='" + "x" * 3497 + "'")


@given(st.text(st.sampled_from("()'\"\\/&|=!<>~?@#_.:,-1a \n\0"), max_size=400))
def test_any_text_is_read_or_refused_and_never_worse(text: str) -> None:
    try:
        tree = parse_rule(text)
    except Unparsable:
        return
    assert list(comparisons_of(tree))
