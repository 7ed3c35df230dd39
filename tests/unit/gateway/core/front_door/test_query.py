"""A query is read as PocketBase reads it, and has one form."""

from urllib.parse import parse_qsl, quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.front_door.query import MAX_PAIRS, MAX_QUERY_BYTES, MalformedQuery, Query, canonical, parse

names = st.text(st.sampled_from("aBé=&;%+ \n\u2028"), max_size=5)
values = st.text(max_size=8).filter(lambda text: "\0" not in text and text.isprintable())


@pytest.mark.parametrize(
    ("raw", "pairs"),
    [
        (b"", ()),
        (b"a=1&a=2", (("a", "1"),)),
        (b"a=&a=2", (("a", ""),)),
        (b"a", (("a", ""),)),
        (b"a=1=2", (("a", "1=2"),)),
        (b"a+b=c+d", (("a b", "c d"),)),
        (b"%66ilter=x&filter=y", (("filter", "x"),)),
        (b"a=1;b=2&c=3", (("c", "3"),)),
        (b"a=1%3Bb", (("a", "1;b"),)),
        (b"a=%zz&a=1", (("a", "1"),)),
        (b"%zz=1&b=2", (("b", "2"),)),
        (b"a=1%&b=%4&c=%4g", ()),
        (b"&&&a=1&&", (("a", "1"),)),
        (b"=1", (("", "1"),)),
        (b"Filter=1&filter=2", (("Filter", "1"), ("filter", "2"))),
        (b"filter[]=1&a%5B%5D=2", (("filter[]", "1"), ("a[]", "2"))),
        (b"a=x#b", (("a", "x#b"),)),
        (b"a=%26b%3D1", (("a", "&b=1"),)),
        ("a=é".encode(), (("a", "é"),)),
    ],
)
def test_pairs_are_read_as_go_reads_them(raw: bytes, pairs: tuple[tuple[str, str], ...]) -> None:
    assert parse(raw).pairs == pairs


@pytest.mark.parametrize(
    "raw", [b"a=%00", b"%00=1", b"a=\0", b"a=%ff", b"%c3=1", b"a=\xff", b"a=%ed%a0%80", b"a=%c0%af"]
)
def test_what_is_no_text_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedQuery):
        parse(raw)


def test_too_much_is_refused_before_it_is_read() -> None:
    assert len(parse(b"&".join(b"a%d=" % number for number in range(MAX_PAIRS))).pairs) == MAX_PAIRS
    for raw in (b"&".join([b"a=1"] * (MAX_PAIRS + 1)), b"a=" + b"x" * MAX_QUERY_BYTES, b"&" * (MAX_QUERY_BYTES + 1)):
        with pytest.raises(MalformedQuery):
            parse(raw)


@given(st.lists(st.tuples(names, values), max_size=6, unique_by=lambda pair: pair[0]))
def test_what_is_written_is_read_again(pairs: list[tuple[str, str]]) -> None:
    query = Query(tuple(pairs))
    written = query.encoded()
    assert parse(written.encode()) == query
    assert set(written) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~%=&")


@given(st.lists(st.tuples(names, values), max_size=6))
def test_a_strict_reading_of_plain_escapes_agrees(pairs: list[tuple[str, str]]) -> None:
    written = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)
    first = dict(reversed(parse_qsl(written, keep_blank_values=True)))
    assert dict(parse(written.encode()).pairs) == first


@given(st.binary(max_size=60))
def test_whatever_is_read_is_read_the_same_in_its_own_form(raw: bytes) -> None:
    try:
        query = parse(raw)
    except MalformedQuery:
        return
    assert parse(query.encoded().encode()) == query
    form = canonical(query, "list")
    assert canonical(form, "list") == form
    assert {name for name, _ in form.pairs} <= {name for name, _ in query.pairs}


def form(raw: bytes, kind: str = "list", *read_by_rules: str) -> str:
    return canonical(parse(raw), "view" if kind == "view" else "list", read_by_rules).encoded()


def test_order_and_spelling_do_not_matter() -> None:
    assert form(b"sort=-a&filter=a%3D1") == form(b"filter=%61=1&sort=-%61&filter=b") == "filter=a%3D1&sort=-a"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"page=1&perPage=30&skipTotal=false", ""),
        (b"page=0&perPage=-4&skipTotal=0", ""),
        (b"page=%2B2&perPage=07", "page=2&perPage=7"),
        (b"perPage=5000&skipTotal=True", "perPage=1000&skipTotal=1"),
        (b"page=&perPage=&skipTotal=&filter=&sort=&expand=&fields=", ""),
        (b"page=x&perPage=1.0&skipTotal=yes", "page=x&perPage=1.0&skipTotal=yes"),
        (b"page=9999999999999999999", "page=9999999999999999999"),
        (b"page=%D9%A1", "page=%D9%A1"),
        (b"filter=%20", "filter=%20"),
        (b"unknown=1&_=2", ""),
    ],
)
def test_equal_meanings_have_one_form_and_errors_keep_theirs(raw: bytes, expected: str) -> None:
    assert form(raw) == expected


def test_a_view_has_no_use_for_what_orders_a_list() -> None:
    assert form(b"filter=x&sort=y&page=2&skipTotal=1&expand=a&fields=id", "view") == "expand=a&fields=id"


def test_what_a_rule_reads_is_kept_to_the_letter() -> None:
    assert form(b"page=01&q=&unknown=1", "list", "page", "q") == "page=01&q="
    assert form(b"filter=a", "view", "filter") == "filter=a"


def test_a_parameter_nobody_named_never_appears() -> None:
    assert form(b"", "list", "q", "page") == ""
