import re
from pathlib import Path, PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.route_files.route_path import OTHERS, RESERVED, Pattern, is_reserved, pattern_of

CADDYFILE = Path(__file__).parents[5] / "infra" / "caddy" / "Caddyfile"
SEGMENTS = st.from_regex(r"[A-Za-z0-9_~][A-Za-z0-9_.~-]{0,8}", fullmatch=True)


@pytest.mark.parametrize(
    ("file", "template"),
    [
        ("index.py", "/"),
        ("hello.py", "/hello"),
        ("auth/index.py", "/auth"),
        ("auth/login.py", "/auth/login"),
        ("posts/[id].py", "/posts/{id}"),
        ("posts/[id]/index.py", "/posts/{id}"),
        ("[team]/members/[member_id]/index.py", "/{team}/members/{member_id}"),
        ("v1.2/a-b~c.py", "/v1.2/a-b~c"),
        ("index/index.py", "/index"),
    ],
)
def test_a_file_answers_where_its_path_says(file: str, template: str) -> None:
    assert pattern_of(PurePath(file)).template == template


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_nothing_stands_at_or_below_what_is_the_gateways_own_in_any_case(name: str) -> None:
    for first in (name, name.upper(), name.capitalize()):
        for file in (f"{first}.py", f"{first}/index.py", f"{first}/x/y.py", f"{first}/[id].py"):
            with pytest.raises(ValueError, match=r"own|no part of a path"):
                pattern_of(PurePath(file))
        assert is_reserved([first])


@pytest.mark.parametrize(
    "file",
    ["a b.py", "é.py", "[].py", "[a-b].py", "[...rest].py", "a[id].py", ".x/y.py", "%61pi.py", "a;b.py", "-x.py"],
)
def test_a_name_that_is_no_part_of_a_path_is_refused(file: str) -> None:
    with pytest.raises(ValueError, match="no part of a path"):
        pattern_of(PurePath(file))


def test_a_path_is_bounded_and_names_each_parameter_once() -> None:
    with pytest.raises(ValueError, match="segments"):
        pattern_of(PurePath("/".join(["a"] * 17)))
    with pytest.raises(ValueError, match="once"):
        pattern_of(PurePath("[id]/x/[id].py"))


@given(st.lists(SEGMENTS, min_size=1, max_size=5))
def test_a_path_that_is_spelt_out_matches_itself_alone(segments: list[str]) -> None:
    pattern = Pattern(tuple(segments))
    assert pattern.match(segments) == {}
    assert pattern.match([*segments, "more"]) is None
    assert pattern.match([*segments[:-1], segments[-1] + "x"]) is None


@given(st.lists(st.text(min_size=1, max_size=5), min_size=2, max_size=2))
def test_a_parameter_takes_any_segment_but_an_empty_one(segments: list[str]) -> None:
    pattern = Pattern(("[a]", "[b]"))
    assert pattern.match(segments) == dict(zip("ab", segments, strict=True))
    assert pattern.match([segments[0], ""]) is None


def test_a_pattern_is_described_in_three_ways() -> None:
    pattern = Pattern(("posts", "[id]", "comments"))
    assert pattern.limit_name == "/posts/*/comments"
    assert pattern.shape == ("posts", "[]", "comments")
    assert pattern.parameters == ("id",)


@pytest.mark.parametrize("file", ["auth/oauth2.py", "auth/oauth2/[name]/index.py", "AUTH/OAuth2/x.py"])
def test_what_is_the_gateways_own_below_a_free_segment_is_refused_too(file: str) -> None:
    with pytest.raises(ValueError, match="the gateway's own"):
        pattern_of(PurePath(file))
    assert pattern_of(PurePath("auth/index.py")).template == "/auth"
    assert not is_reserved([])


def test_what_the_front_door_gives_to_others_is_known() -> None:
    found = re.search(r"@chat path (.+)", CADDYFILE.read_text())
    assert found
    assert {path for path in found[1].split() if not path.endswith("*")} | {"/nats/ws"} == OTHERS
