"""What operators are told of rules and their failures, and how much of it is kept."""

from gateway.core.rule_files.journal import MAX_ENTRIES, Journal
from gateway.core.rule_files.report import report
from gateway.core.rule_files.rule_set import LoadFault, ModeratedFields, Place, Rule, RuleSet

HERE = Place("rules/a.py", 7)


def test_failures_are_counted_by_place_and_kind_the_latest_first() -> None:
    journal = Journal()
    journal.note("first", HERE, "ValueError", now=1)
    journal.note("second", HERE, "KeyError", now=2)
    journal.note("first", HERE, "ValueError", now=3)
    first, second = journal.failures
    assert (first.rule, first.count, first.last_at) == ("first", 2, 3)
    assert (second.rule, second.count, second.last_at) == ("second", 1, 2)


def test_the_failures_longest_unseen_make_room() -> None:
    journal = Journal()
    for line in range(MAX_ENTRIES + 1):
        journal.note("rule", Place("rules/a.py", line), "ValueError", now=line)
        journal.note("kept", HERE, "ValueError", now=line)
    lines = [failure.place.line for failure in journal.failures if failure.rule == "rule"]
    assert len(journal.failures) == MAX_ENTRIES
    assert lines == list(range(MAX_ENTRIES, 1, -1))


def test_the_report_lists_files_with_their_rules_in_the_order_of_their_lines() -> None:
    rule = Rule("before", "rule", HERE, frozenset({"posts"}), frozenset({"create"}), print, is_async=False)
    texts = ModeratedFields(
        "moderate",
        "moderate",
        Place("rules/a.py", 3),
        frozenset({"notes"}),
        frozenset({"update"}),
        frozenset({"*"}),
        None,
    )
    elsewhere = Rule("after", "r", Place("rules/b.py", 1), frozenset({"*"}), frozenset({"view"}), print, is_async=False)
    journal = Journal()
    journal.note("rule", HERE, "ValueError", now=5)
    rules = RuleSet(
        (rule, elsewhere), (texts,), (LoadFault(Place("rules/c.py", 2), "SyntaxError: x"),), ("rules/a.py",)
    )
    assert report(rules, journal.failures, ["posts"]) == {
        "enforcing": False,
        "files": [
            {
                "file": "rules/a.py",
                "rules": [
                    {
                        "name": "moderate",
                        "line": 3,
                        "phase": "moderate",
                        "collections": ["notes"],
                        "actions": ["update"],
                    },
                    {"name": "rule", "line": 7, "phase": "before", "collections": ["posts"], "actions": ["create"]},
                ],
            }
        ],
        "faults": [{"file": "rules/c.py", "line": 2, "reason": "SyntaxError: x"}],
        "failures": [{"rule": "rule", "file": "rules/a.py", "line": 7, "kind": "ValueError", "count": 1, "last_at": 5}],
        "unknown_collections": ["notes"],
    }
    assert report(rules, [])["unknown_collections"] == []
