"""The rules as the operator sees them: what is in force, what does not load, and what went wrong lately."""

from collections.abc import Iterable
from typing import Any

from gateway.core.rule_files.journal import Failure
from gateway.core.rule_files.rule_set import Guard, LoadFault, RuleSet


def report(
    rules: RuleSet, failures: Iterable[Failure], known_collections: Iterable[str] | None = None
) -> dict[str, Any]:
    """Shape: `{"enforcing", "files": [{"file", "rules"}], "faults", "failures", "unknown_collections"}`.

    `enforcing` is false when a file does not load, and every request is refused for it.
    """
    unknown = rules.unknown_collections(known_collections) if known_collections is not None else frozenset[str]()
    return {
        "enforcing": not rules.faults,
        "files": [{"file": file, "rules": list(rules_in(rules, file))} for file in rules.files],
        "faults": [shown_fault(fault) for fault in rules.faults],
        "failures": [shown_failure(failure) for failure in failures],
        "unknown_collections": sorted(unknown),
    }


def rules_in(rules: RuleSet, file: str) -> Iterable[dict[str, Any]]:
    guards: list[Guard] = [*rules.rules, *rules.moderated]
    for guard in sorted(guards, key=lambda guard: guard.place.line):
        if guard.place.file == file:
            yield {
                "name": guard.name,
                "line": guard.place.line,
                "phase": guard.phase,
                "collections": sorted(guard.collections),
                "actions": sorted(guard.actions),
            }


def shown_fault(fault: LoadFault) -> dict[str, Any]:
    return {"file": fault.place.file, "line": fault.place.line, "reason": fault.reason}


def shown_failure(failure: Failure) -> dict[str, Any]:
    return {
        "rule": failure.rule,
        "file": failure.place.file,
        "line": failure.place.line,
        "kind": failure.kind,
        "count": failure.count,
        "last_at": failure.last_at,
    }
