"""Which rules apply to what, and in which order."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.operation import ACTIONS, Action, Read, Write
from gateway.core.rule_files.refusals import RulesNotLoaded
from gateway.core.rule_files.rule_set import EVERY, LoadFault, ModeratedFields, Phase, Place, Rule, RuleSet

NAMES = ["posts", "users", "comments"]
PHASES: list[Phase] = ["validate", "before", "after"]


def rule(phase: Phase, collections: set[str], actions: Sequence[Action], line: int = 1) -> Rule:
    place = Place("rules/a.py", line)
    return Rule(phase, f"rule {line}", place, frozenset(collections), frozenset(actions), print, is_async=False)


rules = st.builds(
    rule,
    st.sampled_from(PHASES),
    st.sets(st.sampled_from([*NAMES, EVERY]), min_size=1),
    st.sets(st.sampled_from(ACTIONS), min_size=1).map(list),
    st.integers(1, 999),
)


@given(st.lists(rules, max_size=12), st.sampled_from([*NAMES, "unnamed"]), st.sampled_from(ACTIONS))
def test_every_rule_that_guards_is_found_once_and_in_the_order_of_its_declaration(
    declared: list[Rule], collection: str, action: Action
) -> None:
    found = RuleSet(tuple(declared))
    for phase in PHASES:
        expected = [rule for rule in declared if rule.phase == phase and rule.guards(collection, action)]
        assert list(found.find(phase, collection, action)) == expected


@pytest.mark.parametrize("spelling", ["Posts", "POSTS", "posts"])
def test_a_collection_is_guarded_however_its_case_is_spelt(spelling: str) -> None:
    assert RuleSet((rule("before", {"posts"}, ["create"]),)).find("before", spelling, "create")


def test_reads_are_touched_by_rules_before_and_after_them_alone() -> None:
    found = RuleSet((rule("before", {"posts"}, ["list"]), rule("after", {"users"}, ["view", "update"])))
    assert found.touches_reads("posts", "list")
    assert found.touches_reads("users", "view")
    assert not found.touches_reads("posts", "view")
    assert not found.touches_reads("users", "list")


def test_a_file_that_does_not_load_touches_everything_and_lets_nothing_pass() -> None:
    broken = RuleSet(faults=(LoadFault(Place("rules/a.py", 3), "SyntaxError"),))
    assert broken.touches_reads("anything", "list")
    with pytest.raises(RulesNotLoaded):
        broken.check_loaded()


def test_an_answer_is_left_alone_unless_a_rule_may_have_something_to_do_with_it() -> None:
    found = RuleSet((rule("after", {"users"}, ["view"]),))
    assert not found.redacts(Read("list", "posts"), b'{"items":[]}')
    assert found.redacts(Read("list", "posts"), b'{"items":[{"expand":{}}]}')
    assert found.redacts(Read("view", "users"), b"{}")
    assert not found.redacts(Write("update", "users"), b"{}")


def test_a_write_is_changed_by_models_and_by_rules_before_it() -> None:
    found = RuleSet(
        (rule("validate", {"a"}, ["create"]), rule("before", {"b"}, ["create"]), rule("after", {"c"}, ["create"]))
    )
    changed = [name for name in "abcd" if found.changes(Write("create", name))]
    assert changed == ["a", "b"]
    assert [rule.collections for rule in found.after_answers] == [{"c"}]
    assert not found.find_moderated("a", "create")
    found.check_loaded()


def test_collections_that_only_the_rules_know_are_named() -> None:
    moderated = ModeratedFields(
        "moderate", "m", Place("f", 1), frozenset({"coments"}), frozenset({"create"}), frozenset({"*"}), None
    )
    found = RuleSet((rule("before", {"posts", EVERY}, ["create"]),), (moderated,))
    assert found.unknown_collections(["Posts", "comments"]) == {"coments"}
