from hypothesis import given
from hypothesis import strategies as st

from natsync.core.deciding.publish_order import waves

NAMES = st.sampled_from("abcdef")
WORLDS = st.dictionaries(NAMES, st.sets(st.sampled_from("abcdefxy")))


def ordered(world: dict[str, set[str]]) -> list[list[str]]:
    return waves(list(world), lambda name: name, lambda name: world[name])


def test_who_exports_comes_before_who_imports() -> None:
    assert ordered({"c": {"b"}, "b": {"a"}, "a": set(), "d": {"elsewhere"}}) == [["a", "d"], ["b"], ["c"]]


def test_accounts_that_import_from_each_other_come_together() -> None:
    assert ordered({"a": {"b"}, "b": {"a"}, "c": {"a"}, "d": set(), "e": {"e"}}) == [["d", "e"], ["a", "b", "c"]]


@given(WORLDS)
def test_everything_is_published_once(world: dict[str, set[str]]) -> None:
    assert sorted(name for wave in ordered(world) for name in wave) == sorted(world)
